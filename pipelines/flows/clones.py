"""A clone of its own for an unattended run: a named revision in, a commit on a branch and pushed data out.

Nobody's checkout is touched, and what a run made can be had again: `git checkout COMMIT && dvc pull`. The
clone uses the DVC cache of the checkout that it is made from, so data that is there costs no second copy. It
is kept while its run has not ended well; the next run for the same revision goes on in it.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.git import git, identity, refuse_password
from components.core.run.paths import Paths
from components.core.tracking.address import NO_TRACKING, tracking_uri
from components.core.tracking.run import continue_run, send_pending
from components.core.tracking.spool import pending
from pipelines.dvc.command import dvc
from pipelines.dvc.lock import begin_with, take_what_is_there
from pipelines.dvc.repository import open_repo, share_cache
from pipelines.dvc.workspace_lock import hold_workspace

_PLACE = Path(".dvc") / "tmp" / "workspaces"  # what is below .dvc/tmp neither git nor DVC looks at
_BRANCH = Path(".dvc") / "tmp" / "avis-branch"
_LATEST = "avis/latest"  # a branch that moves to the newest commit of any unattended run
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,199}")
_HASH = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class Workspace:
    """A clone at a revision.

    root: its folder. base: the checkout whose DVC cache it uses. repository: where it was cloned from and
    pushes to. start: the commit that it began with. branch: what its commits go to.
    purpose: which kind of run it is for.
    """

    root: Path
    base: Path
    repository: str
    start: str
    branch: str
    purpose: str

    def commit(self, message: str) -> str:
        """Commit all that git tracks here on the branch; return the commit, the last one if nothing changed.

        Raises:
            AvisError: git refuses.
        """
        git(self.root, "add", "--all")
        if git(self.root, "status", "--porcelain"):
            git(self.root, *identity(self.root), "commit", "--quiet", "--no-verify", "-m", message)
        return git(self.root, "rev-parse", "HEAD")

    def is_as_last_run_left(self, *paths: str) -> bool:
        """Whether these files are what the newest unattended run, of whatever kind, pushed."""
        if git(self.root, "rev-parse", "HEAD") != self.start:
            return False  # an earlier try committed, and perhaps could not push
        if not _fetch(self.root, _LATEST):
            return False
        git(self.root, "add", "--intent-to-add", "--all")
        return not git(self.root, "diff", "--name-only", f"origin/{_LATEST}", "--", *paths)

    def push(self) -> None:
        """Push the data to the DVC remote, then the branch: a commit that can be seen has its data.

        Raises:
            AvisError: one of the two refuses.
        """
        dvc(self.root, "push", fix="Is the DVC remote reachable? See `dvc status --cloud`.")
        latest = (_LATEST, f"{_LATEST}-{self.purpose}")
        self._push(f"HEAD:refs/heads/{self.branch}", *(f"+HEAD:refs/heads/{name}" for name in latest))

    def newest(self) -> str | None:
        """The newest commit that a run of this purpose pushed, unless this revision descends from it."""
        name = f"{_LATEST}-{self.purpose}"
        if not _fetch(self.root, name):
            return None
        if not git(self.root, "rev-list", "--max-count=1", f"{self.start}..origin/{name}"):
            return None
        return git(self.root, "rev-parse", f"origin/{name}")

    def note_commit(self, commit: str, variants: Sequence[str]) -> None:
        """Write into the MLflow runs of these variants' trainings where their files can be had."""
        here = Paths(self.root / "data")
        for variant in variants:
            with continue_run(here.model(variant) / "run.json", paths=here) as run:
                run.tags({"avis.commit": commit, "avis.branch": self.branch})

    def tag(self, name: str) -> None:
        """Name the commit for good, so that it outlives its branch."""
        git(self.root, "tag", "--force", name)
        self._push(f"+refs/tags/{name}")

    def _push(self, *what: str) -> None:
        where, fix = self.repository, "May this machine push there?"
        git(self.root, "push", "--quiet", "origin", *what, where=where, fix=fix)


@contextmanager
def own_clone(
    base: Path, *, revision: str, purpose: str, repository: str | None = None, wait: bool = False
) -> Iterator[Workspace]:
    """Clone a revision, hold the clone while the run goes on, and remove it when it ended well.

    Args:
        base: a checkout of the pipeline on this machine.
        revision: a branch, a tag or a commit of the repository.
        purpose: begins the branch's name, `avis/<purpose>-<commit>`.
        repository: what to clone; by default where `base` was cloned from, else `base` itself.
        wait: wait for another run that works in the same clone, instead of saying who holds it.

    Raises:
        AvisError: there is no such revision, git or DVC refuses, or another run works on it.
    """
    source = _whole_address(base, refuse_password(repository) or _origin(base))
    start = _resolve(base, source, revision)
    name = f"{purpose}-{start[:12]}"
    root = base / _PLACE / name
    remove_kept(base, purpose=purpose, but=name)  # of other revisions: a newer one is wanted now
    # held by a file outside, which stays when the clone goes
    with hold_workspace(base / _PLACE / "holds" / name, purpose=purpose, wait=wait):
        root.mkdir(parents=True, exist_ok=True)
        # new, or killed while being made
        if not (root / ".git").is_dir() or not (root / _BRANCH).is_file() or not (root / _BRANCH).read_text():
            _clone(base, root, source, start)
            branch = f"avis/{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
            git(root, "checkout", "--quiet", "-B", branch)
            write_text(root / _BRANCH, branch)
        else:
            for lock in (root / ".git").glob("*.lock"):  # of a git that was killed: nobody else is in here
                lock.unlink()
            # What was wrong with an earlier try may have been an address or a password.
            git(root, "remote", "set-url", "origin", source)
            share_cache(base, root)
        yield Workspace(root, base, source, start, (root / _BRANCH).read_text(), purpose)
        _keep_untold(root, base)
        shutil.rmtree(root)


def kept(base: Path, purpose: str = "") -> list[Path]:
    """The clones that are there: of runs that failed, or that work in them."""
    return sorted((base / _PLACE).glob(f"{purpose}*-*"))


def remove_kept(base: Path, *, purpose: str = "", but: str = "") -> list[str]:
    """Remove the clones that failed runs left; what MLflow was not told goes to the base.

    Args:
        base: their checkout.
        purpose: only of such runs; empty: of all.
        but: the name of one that stays.

    Returns:
        the names of those that stay because a run works in them.
    """
    in_use = []
    for left in kept(base, purpose):
        if left.name == but:
            continue
        try:
            with hold_workspace(base / _PLACE / "holds" / left.name, purpose="tidying up", wait=False):
                _keep_untold(left, base)
                shutil.rmtree(left)
        except AvisError:
            in_use.append(left.name)
    return in_use


def _origin(base: Path) -> str:
    """Where a checkout was cloned from; its own folder if from nowhere."""
    try:
        return git(base, "remote", "get-url", "origin")
    except AvisError:
        return os.fspath(base)


def _whole_address(base: Path, address: str) -> str:
    """A folder relative to the base would be another one in the clone."""
    folder = base / address
    return os.fspath(folder.resolve()) if folder.exists() else address


def _resolve(base: Path, source: str, revision: str) -> str:
    where = source
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise AvisError(f"{revision!r} is no branch, tag or commit")
    fix = "Name a branch, a tag or a commit that was pushed there."
    listed = git(
        base,
        "ls-remote",
        "--quiet",
        "--",
        source,
        where=source,
        fix="Is the address right?",
    )
    commits: dict[str, str] = {}
    for line in listed.splitlines():
        commit, _, name = line.partition("\t")
        commits[name] = commit
    for name in (f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", revision):
        if name in commits:
            return commits[name]
    if _HASH.fullmatch(revision):
        try:
            return git(base, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except AvisError:
            if len(revision) == 40:
                return revision  # the clone will show whether it is there
    raise AvisError(f"there is no revision {revision!r}", where=where, fix=fix)


def _clone(base: Path, root: Path, source: str, start: str) -> None:
    shutil.rmtree(root)  # of a clone that was not finished
    root.mkdir()
    git(root, "init", "--quiet")
    git(root, "remote", "add", "origin", source)
    where = f"{source}, {start[:12]}"
    git(root, "fetch", "--quiet", "--tags", "origin", where=source)
    git(root, "checkout", "--quiet", "--force", start, where=where, fix="Was the commit pushed there?")
    if not (root / ".dvc" / "config").is_file():
        raise AvisError("this revision is no checkout of the pipeline", where=where)
    share_cache(base, root)
    if _fetch(root, _LATEST):
        begin_with(root, f"origin/{_LATEST}")
    command = "pull" if remotes(root) else "checkout"
    try:
        dvc(root, command, "--allow-missing", "--force")
    except AvisError:  # of a folder files are missing: a video was forgotten, say
        take_what_is_there(root)


def _fetch(root: Path, branch: str) -> bool:
    """Bring a branch of the origin as it is now; whether there is one."""
    try:
        git(root, "fetch", "--quiet", "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}")
    except AvisError:
        return False
    return True


def remotes(root: Path) -> list[str]:
    """The names of the DVC remotes of a repository, the default one first."""

    with open_repo(root) as repo:
        default = repo.config["core"].get("remote")
        return sorted(repo.config["remote"], key=lambda name: (name != default, name)) if default else []


def require_remote(root: Path) -> None:
    """Refuse to begin where what is made could not be kept.

    Raises:
        AvisError: there is no default DVC remote.
    """
    if not remotes(root):
        raise AvisError(
            "there is no DVC remote, so nobody could have what this run makes",
            where=str(root / ".dvc" / "config"),
            fix="Run `dvc remote add --default storage FOLDER_OR_BUCKET` (s3://…, or a folder), then commit"
            " .dvc/config and push.",
        )


def _keep_untold(root: Path, base: Path) -> None:
    """Send what MLflow has not been told; what it cannot take now waits in the base for its next command."""
    here, there = Paths(root / "data"), Paths(base / "data")
    uri = tracking_uri(base)
    if uri == NO_TRACKING or not send_pending(here, uri=uri):
        return
    there.tracking.mkdir(parents=True, exist_ok=True)
    for session in pending(here.tracking):
        session.rename(there.tracking / session.name)


@contextmanager
def environment_of_stages(workspace: Workspace, *, trigger: str) -> Iterator[None]:
    """Tell the stages of a clone, by environment variables, where runs are tracked and what started them."""
    from prefect.runtime import flow_run

    told = {
        "MLFLOW_TRACKING_URI": tracking_uri(workspace.base),
        "AVIS_TRIGGER": trigger,
        "AVIS_FLOW_RUN": str(flow_run.id or ""),
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
