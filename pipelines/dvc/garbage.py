"""What nothing needs of DVC's cache: no checkout, no commit of a branch or tag, no registered version."""

from collections.abc import Collection
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.git import git
from pipelines.dvc.repository import open_repo


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
        # with the checkout as it is; experiments of `dvc exp` are commits, too
        used = repo.used_objs(all_branches=True, all_tags=True, all_commits=True, all_experiments=True)
        kept = {obj.value for objects in used.values() for obj in objects} | set(hashes)
        cache = repo.cache.local
        return [Path(cache.oid_to_path(oid)) for oid in cache.all() if oid not in kept]
