"""The pipeline's graph as DVC knows it: nothing here is written a second time."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from pipelines.dvc.repository import open_repo

_BUSY_S, _BUSY_POLL_S = 30.0, 0.5


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of dvc.yaml."""

    name: str
    """Its address in DVC, such as `train@avism`."""
    needs: tuple[str, ...]
    """Names of the stages whose outputs it reads, in the order in which they run."""

    @property
    def group(self) -> str:
        """The name without the variant: `train` for `train@avism`."""
        return self.name.partition("@")[0]


def find_root(start: Path) -> Path:
    """Return the folder at or above `start` that DVC works in.

    Raises:
        AvisError: if there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / ".dvc").is_dir():
            return folder
    raise AvisError(
        "this is no checkout of the pipeline",
        where=str(start),
        fix="Run inside the repository, where dvc.yaml and params.yaml are.",
    )


def read_graph(root: Path) -> list[Stage]:
    """Read all stages, each after the ones it needs, in the order in which `dvc repro` runs them.

    Raises:
        AvisError: if dvc.yaml or params.yaml cannot be read as a graph.
    """
    with open_repo(root) as repo:
        return graph_of(repo, root)


def graph_of(repo: Any, root: Path) -> list[Stage]:
    """As read_graph, of a repository that is open."""
    from dvc.exceptions import DvcException
    from dvc.repo.reproduce import get_active_graph, plan_repro

    try:
        graph = get_active_graph(repo.index.graph)
        order = [(address(stage, root), stage) for stage in plan_repro(graph)]
        needs = {name: {address(need, root) for need in graph.successors(stage)} for name, stage in order}
    except DvcException as error:
        raise AvisError(f"DVC cannot read the graph: {error}", where=str(root / "dvc.yaml")) from error
    return [Stage(name, tuple(need for need, _ in order if need in needs[name])) for name, _ in order]


def unchanged(root: Path, stages: Sequence[Stage]) -> set[str]:
    """Ask DVC which of the stages `dvc repro` would skip, as things are.

    Raises:
        AvisError: if DVC cannot tell.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    wanted = {stage.name for stage in stages}
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            with open_repo(root, wait_for_lock=True) as repo, repo.lock:
                named = ((address(stage, root), stage) for stage in repo.index.stages)
                return {name for name, stage in named if name in wanted and not stage.changed()}
        except DvcException as error:
            # The stages of a run that was killed take a moment to end, and DVC waits for the whole
            # repository only, not for single files.
            if not isinstance(error, LockError) or time.monotonic() > deadline_s:
                raise AvisError(f"DVC cannot tell what has changed: {error}", where=str(root)) from error
        time.sleep(_BUSY_POLL_S)


def select(stages: Sequence[Stage], targets: Sequence[str] | None) -> list[Stage]:
    """Return the targets and all that they need, in the given order.

    Args:
        stages: the graph, as read_graph returns it.
        targets: names of stages, or of groups for all their variants; None: all stages.

    Raises:
        AvisError: if a target is no stage.
    """
    if targets is None:
        return list(stages)
    unknown = sorted(set(targets) - {stage.name for stage in stages} - {stage.group for stage in stages})
    if unknown:
        raise AvisError(
            f"no stage is called {', '.join(unknown)}",
            where="targets",
            fix=f"There are: {', '.join(stage.name for stage in stages)}.",
        )
    wanted: set[str] = set()
    for stage in reversed(stages):
        if stage.name in wanted or stage.name in targets or stage.group in targets:
            wanted |= {stage.name, *stage.needs}
    return [stage for stage in stages if stage.name in wanted]


def address(stage: Any, root: Path) -> str:
    """Return the address of a DVC stage from the root (its own `addressing` follows the current folder)."""
    path = os.path.relpath(stage.path, root)
    name: str | None = getattr(stage, "name", None)
    if name is None:
        return path  # a .dvc file
    return name if path == "dvc.yaml" else f"{path}:{name}"


def locked_stages(root: Path) -> list[str]:
    """Return the names in dvc.lock, in the file's order; none when there is no dvc.lock yet."""
    import yaml

    try:
        lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return list((lock or {}).get("stages") or {})


def order_lock(root: Path, before: Sequence[str], stages: Sequence[Stage]) -> None:
    """Put the stages that are new in dvc.lock in the order in which `dvc repro` adds them.

    Stages that ran side by side stand there in the order in which they happened to end; the same work
    must leave the same file.

    Args:
        root: the repository.
        before: names in dvc.lock before the run.
        stages: the graph, as read_graph returns it.
    """
    after = locked_stages(root)
    known = set(before)
    new = [stage.name for stage in stages if stage.name in after and stage.name not in known]
    wanted = [name for name in after if name not in new] + new
    if wanted == after:
        return
    from dvc.utils.serialize import modify_yaml

    with open_repo(root) as repo, repo.lock, modify_yaml(os.fspath(root / "dvc.lock")) as lock:
        lock["stages"] = {name: lock["stages"][name] for name in wanted}
