"""Where cells are computed: checkouts beside the user's, with its files as they are and its DVC cache."""

import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.git import git
from components.core.run.params import PARAMS
from pipelines.dvc.command import dvc
from pipelines.dvc.repository import share_cache
from pipelines.dvc.workspace_lock import hold_workspace

PLACE = Path(".dvc") / "tmp" / "studies"  # what is below .dvc/tmp neither git nor DVC looks at
_LOCK = Path("dvc.lock")


def alone_with_cells(base: Path, purpose: str) -> AbstractContextManager[None]:
    """Let no other study compute here, and nobody take away what one is computing.

    Raises:
        AvisError: on entering, if somebody does.
    """
    return hold_workspace(base / PLACE / "holds" / "cells", purpose=purpose, wait=False)


def left(base: Path) -> list[Path]:
    """The workspaces that are there: those of a study that did not end well, or that is at work."""
    return sorted((base / PLACE).glob("[0-9]*"))


def prepare(base: Path, name: str, *, data: bool = True) -> Path:
    """Make or refresh a workspace; return its folder. Data that the checkout has is linked, not copied.

    Code is the checkout's as it is, changes that are not committed included: MLflow keeps them with each run.

    Args:
        base: the checkout.
        name: of the workspace; one cell at a time is computed in each.
        data: whether the checkout's data is wanted in it.

    Raises:
        AvisError: git or DVC refuses.
    """
    root = base / PLACE / name
    fresh = not (root / ".git" / "avis-ready").is_file()
    if fresh:
        shutil.rmtree(root, ignore_errors=True)  # of one that was killed while it was made
        root.parent.mkdir(parents=True, exist_ok=True)
        git(base, "clone", "--quiet", "--shared", "--no-checkout", os.fspath(base), os.fspath(root))
    for lock in (root / ".git").glob("*.lock"):  # of a git that was killed: nobody else is in here
        lock.unlink()
    kept = None if fresh else _read(root / _LOCK)  # what the last cell left, which saves stages
    if fresh or git(root, "rev-parse", "HEAD") != git(base, "rev-parse", "HEAD"):
        git(root, "fetch", "--quiet", os.fspath(base), "HEAD")
        git(root, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
    _copy_changes(base, root)
    share_cache(base, root)
    if kept is not None:
        write_text(root / _LOCK, kept)
        return root
    if (base / _LOCK).is_file():
        shutil.copyfile(base / _LOCK, root / _LOCK)
        if data:
            dvc(root, "checkout", "--allow-missing", "--force", "--quiet")
    (root / ".git" / "avis-ready").touch()
    return root


def write_parameters(root: Path, values: Mapping[str, Any]) -> None:
    """Write a cell's params.yaml."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
    if _read(root / PARAMS) != text:
        write_text(root / PARAMS, text)


def _copy_changes(base: Path, root: Path) -> None:
    """Bring what differs from the last commit, and what is new and not ignored; take back what is gone."""
    changed = git(base, "diff", "--name-only", "-z", "--no-renames", "HEAD").split("\0")
    new = git(base, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    # what stages make is each cell's own, also where git has it
    own = {str(PARAMS), str(_LOCK), "data/studies", *_outputs(base)}
    wanted = sorted(
        name
        for name in {*changed, *new} - {""}
        if own.isdisjoint([name, *map(str, PurePosixPath(name).parents)])
    )
    brought = root / ".git" / "avis-brought"
    for name in {*wanted, *(_read(brought) or "").split("\0")} - {""}:
        source, target = base / name, root / name
        if not source.is_file():
            target.unlink(missing_ok=True)
        elif not target.is_file() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    write_text(brought, "\0".join(wanted))


def _outputs(base: Path) -> list[str]:
    stages = (yaml.safe_load(_read(base / _LOCK) or "") or {}).get("stages", {})
    return [out["path"] for stage in stages.values() for out in stage.get("outs", [])]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def refuse_other_places(base: Path) -> None:
    """Refuse to begin where there is no git repository with a commit to start from.

    Raises:
        AvisError: there is none.
    """
    try:
        git(base, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except AvisError:
        raise AvisError(
            "a study needs a git repository with a commit", where=str(base), fix="git add --all && git commit"
        ) from None
