"""A study, as params/studies/NAME.yaml has it: what differs from cell to cell, and what is compared."""

import copy
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from components.core.run.errors import AvisError
from components.core.run.params import Block, ParamsFile, parse_params

FOLDER = Path("params") / "studies"
MOST_CELLS = 500
"""With more the file holds a mistake rather than a plan."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ADDRESS = re.compile(r"[a-z_]+(\.[A-Za-z0-9_-]+)*")
Changes = dict[str, Any]
"""Parameter -> value; a parameter is called by its blocks, with dots: train.model.audio."""


@dataclass(frozen=True)
class Cell:
    """One combination of parameters. name: as the report shows it. changes: to the study's base."""

    name: str
    changes: Changes


class StudyParams(Block):
    """The file of a study."""

    title: str = Field(min_length=1, max_length=200)
    question: str = Field(default="", max_length=2000)
    profile: str | None = Field(default=None, description="a file of params/ that is laid over params.yaml")
    variant: str | None = Field(default=None, description="whose settings are changed; null: the first")
    seeds: int = Field(default=1, ge=1, le=100, description="trainings of each cell")
    base: Changes = Field(default={}, description="changes of all cells")
    cells: dict[str, Changes] = Field(default={})
    grid: dict[str, list[Any]] = Field(default={}, description="parameter -> values, of every cell")
    grids: dict[str, dict[str, Annotated[list[Any], Field(min_length=1)]]] = Field(
        default={}, description="the same of one cell, by its name"
    )
    reference: str | None = Field(
        default=None, description="what the others are compared with; null: the first"
    )
    floor: str | None = Field(
        default=None, description="a cell that others are compared with, too: until where are they better?"
    )
    axis: str | list[str] = Field(default=[], description="the parameters along which curves are drawn")
    learning_curves: bool = Field(default=False, description="draw scores on val over steps and time")
    metrics: list[Literal["FSLA", "HOTA", "mAP"]] = Field(default=["FSLA", "HOTA", "mAP"], min_length=1)
    published: dict[str, dict[str, float]] = Field(
        default={}, description="cell -> metric -> what the authors printed (official protocol)"
    )
    profiles: dict[str, Changes] = Field(
        default={}, description="profile -> what stands here instead under that profile"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if unknown := sorted(self.grids.keys() - self.cells):
            raise ValueError(f"grids: no cell is called {unknown[0]!r}; there are: {', '.join(self.cells)}")
        of_cells = [*self.cells.values(), *self.grids.values()]
        for key in [*self.base, *self.grid, *(key for changes in of_cells for key in changes)]:
            if not _ADDRESS.fullmatch(key):
                raise ValueError(f"{key!r} is no parameter: write its blocks with dots, train.model.audio")
            if key.partition(".")[0] == "variants":
                raise ValueError(f"{key}: settings of the variant are changed as train.…")
        count = sum(
            math.prod(map(len, {**self.grid, **self.grids.get(name, {})}.values()))
            for name in self.cells or [""]
        )
        if not 1 <= count <= MOST_CELLS:
            raise ValueError(f"{count} cells: there must be 1 to {MOST_CELLS}")
        names = [cell.name for cell in self.all_cells()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two cells are called {twice[0]!r}")
        for name in [*filter(None, (self.reference, self.floor)), *self.published]:
            if name not in names:
                raise ValueError(f"no cell is called {name!r}; there are: {', '.join(names)}")
        for axis in self.axes:
            if sum(axis in cell.changes for cell in self.all_cells()) < 2:
                raise ValueError(f"axis: no two cells set {axis}")
        return self

    @property
    def axes(self) -> list[str]:
        """The parameters along which curves are drawn."""
        return [self.axis] if isinstance(self.axis, str) else self.axis

    def all_cells(self) -> list[Cell]:
        """Every named cell with every combination of its grids, in the file's order."""
        found = []
        for name, changes in (self.cells or {"": {}}).items():
            grid = {**self.grid, **self.grids.get(name, {})}
            for values in itertools.product(*grid.values()):
                varied = dict(zip(grid, values, strict=True))
                parts = [name, *(_called(key, value) for key, value in varied.items())]
                found.append(Cell(", ".join(filter(None, parts)) or "base", {**changes, **varied}))
        return found


def _called(key: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{key.rpartition('.')[2]} {text}"


def study_names() -> list[str]:
    """The studies that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def study_path(name: str) -> Path:
    """The file of a study.

    Raises:
        AvisError: the name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        raise AvisError(
            f"{name[:100]!r} cannot be the name of a study", fix="Use letters, digits, '-' and '_'."
        )
    return FOLDER / f"{name}.yaml"


def read_study(name: str, profile: str | None = None) -> StudyParams:
    """Read a study's file; profile: in the place of the file's own, which may change the rest of it.

    Raises:
        AvisError: there is none, or it is wrong; with the line and what is allowed.
    """
    path = study_path(name)
    if not path.is_file():
        fix = f"There are: {', '.join(study_names()) or 'none'}. Make one: avis study new {name}"
        raise AvisError(f"there is no study {name!r}", where=str(path), fix=fix)
    file = parse_params(path)
    lines = {("study", *place): line for place, line in file.lines.items()}
    study = ParamsFile(path, {"study": file.values}, lines).block("study", StudyParams)
    wanted = profile or study.profile
    if wanted is None:
        return study
    values = {**file.values, **study.profiles.get(wanted, {}), "profile": wanted}
    return ParamsFile(path, {"study": values}, lines).block("study", StudyParams)


def variant_of(study: StudyParams, values: Mapping[str, Any]) -> str:
    """The variant whose settings a study changes.

    Raises:
        AvisError: params.yaml has none, or none of that name.
    """
    variants = list(values.get("variants") or {})
    if not variants or study.variant not in (None, *variants):
        raise AvisError(
            f"there is no variant {study.variant or ''}".rstrip(),
            where="params.yaml, variants",
            fix=f"There are: {', '.join(variants) or 'none'}.",
        )
    return study.variant or variants[0]


def parameters_of(study: StudyParams, cell: Cell, values: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
    """The whole of params.yaml as a cell has it.

    Args:
        study: whose cell it is.
        cell: what it changes.
        values: params.yaml, with the profile laid over it.
        seed: 0 for the variant's own, else so much more.

    Raises:
        AvisError: a parameter leads through one that is no block.
    """
    found = dict(values)
    variant = variant_of(study, found)
    settings = dict(found["variants"][variant] or {})
    found["variants"] = {variant: settings}
    train = found.get("train") or {}
    if settings.get("seeds", train.get("seeds", 1)) != 1:
        settings["seeds"] = 1  # a study trains each seed as a cell of its own, and keeps each
    if seed:
        settings["seed"] = int(settings.get("seed", train.get("seed", 1))) + seed
    for key, value in {**study.base, **cell.changes}.items():
        first, *rest = key.split(".")
        _set(
            settings if first == "train" else found, rest if first == "train" else [first, *rest], value, key
        )
    return found


def _set(values: dict[str, Any], address: list[str], value: object, key: str) -> None:
    for part in address[:-1]:
        inner = values.get(part)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise AvisError(f"{key}: {part} is no block but {inner!r}", where="the study's file")
        values[part] = dict(inner)
        values = values[part]
    if not address:
        raise AvisError(f"{key} is a block: name a parameter in it", where="the study's file")
    values[address[-1]] = copy.deepcopy(value)
