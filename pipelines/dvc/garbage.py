"""What nothing needs of DVC's cache: no checkout, no commit of a branch or tag, no registered version."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from components.core.run.errors import AvisError
from components.core.run.git import git
from pipelines.dvc.repository import open_repo

_NAMES_OBJECTS = {".dvc", ".lock"}  # ends of files: of `dvc add`, and of the stages that ran
_DECIDES = {*_NAMES_OBJECTS, ".yaml", ".yml", ".json", ".toml"}  # … and of the graph and its parameters


def commits_to_read(root: Path) -> list[str]:
    """A commit for each state of DVC's files in all branches, tags and experiments, if it names objects.

    DVC takes half a second to read a commit, and most commits change nothing that it would read.
    """
    # with full history, of a merge, too, that took one file from here and another from there
    patterns = [f"*{end}" for end in sorted(_DECIDES)]
    states = {}
    for commit in git(root, "rev-list", "--all", "--full-history", "--", *patterns).split():
        lines = git(root, "ls-tree", "-r", "-z", commit).split("\0")
        ends = {line: PurePosixPath(line).suffix for line in lines}  # a line: mode, kind, hash, path
        if _NAMES_OBJECTS & set(ends.values()):
            states[frozenset(line for line, end in ends.items() if end in _DECIDES)] = commit
    return list(states.values())


def unused_objects(root: Path, commits: Collection[str], hashes: Collection[str]) -> list[Path]:
    """The files of the objects that may go.

    Args:
        root: the checkout.
        commits: of registered versions: each has to be in this clone, so that what it needs is known.
        hashes: MD5s that stay whatever else is found.

    Raises:
        AvisError: a commit is not on any branch or tag here, or git or DVC refuses.
    """
    for commit in commits:
        fix = "Bring it first: git fetch origin '+refs/*:refs/remotes/origin/*' --tags."
        if not git(root, "for-each-ref", "--count=1", "--contains", commit, where=commit, fix=fix):
            raise AvisError(
                "no branch or tag here holds a registered version's commit", where=commit, fix=fix
            )
    with open_repo(root) as repo, repo.lock:
        used = repo.used_objs(revs=commits_to_read(root))  # and the checkout as it is
        kept = {obj.value for objects in used.values() for obj in objects} | set(hashes)
        cache = repo.cache.local
        return [Path(cache.oid_to_path(oid)) for oid in cache.all() if oid not in kept]
