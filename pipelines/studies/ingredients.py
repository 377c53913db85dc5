"""What decides a cell's bytes: parameters, code and files from outside, of all stages up to its scores."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from components.core.run.lineage import file_md5
from pipelines.dvc.graph import address, graph_of, select
from pipelines.dvc.repository import open_repo

Digest = Callable[[Mapping[str, Any], str], str]
_NO_CODE = {"__pycache__"}


class Ingredients:
    """The graph of a workspace, read once for all cells that have the same one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hash = cache(_hash)
        with open_repo(root) as repo:
            stages = {address(stage, root): stage for stage in repo.index.stages}
            outs = {Path(out.fs_path) for stage in stages.values() for out in stage.outs}
            above = {folder for out in outs for folder in out.parents}
            self._of = {name: _of_stage(stage, outs, above) for name, stage in stages.items()}
            self._graph = graph_of(repo, root)

    def digest(self, values: Mapping[str, Any], target: str) -> str:
        """A key for all that a stage is made of.

        Args:
            values: the parameters, whole.
            target: the stage.
        """
        described = [
            [
                name,
                command,
                {parameter: _value(values, parameter) for parameter in parameters},
                {path.relative_to(self._root).as_posix(): self._hash(path) for path in sources},
            ]
            for stage in select(self._graph, [target])
            for name, (command, parameters, sources) in [(stage.name, self._of[stage.name])]
        ]
        text = json.dumps(described, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def _of_stage(stage: Any, outs: set[Path], above: set[Path]) -> tuple[str, list[str], list[Path]]:
    """Its command, the parameters that it names, and the files that no stage makes."""
    from dvc.dependency.param import ParamsDependency

    parameters, sources = [], []
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            parameters += list(dep.params)
        else:
            path = Path(dep.fs_path)
            if path not in above and outs.isdisjoint([path, *path.parents]):
                sources.append(path)
    return str(stage.cmd), sorted(parameters), sorted(sources)


def _value(values: Mapping[str, Any], parameter: str) -> Any:
    found: Any = values
    for part in parameter.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _hash(path: Path) -> str:
    """Of a file's bytes, or of all that a folder holds; "" for what is not there."""
    if path.is_file():
        return file_md5(path)
    files: Sequence[Path] = sorted(
        file for file in path.rglob("*") if file.is_file() and not _NO_CODE & set(file.parts)
    )
    listed = [(file.relative_to(path).as_posix(), file_md5(file)) for file in files]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest() if listed else ""
