"""What is kept of a computed cell: data/studies/cells/<key>/, one folder for all studies that have it."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, sha256_file, write_json
from components.core.run.paths import Paths

if TYPE_CHECKING:
    from components.core.metrics.counts_file import CountsFile

ABOUT = "cell.json"
_RUN = "run.json"
_TRAINING = "training.json"
_HISTORY = "history.csv"
_SUMS = "sha256.json"  # of the other files


@dataclass(frozen=True)
class Result:
    """One training of a cell, scored.

    about: settings, seconds by stage, the time, the commit. training, timing: metrics.json of train and
    timing.json of predict. scores: metrics.json of evaluate.
    """

    folder: Path
    about: dict[str, Any]
    training: dict[str, Any]
    timing: dict[str, Any]
    scores: dict[str, Any]
    counts: "CountsFile"

    def validated(self, metric: str) -> list[tuple[int, float]]:
        """Steps and scores on val, percent, in the order of training; none if it was not validated."""
        path = self.folder / _HISTORY
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row.get("step"), row.get(f"val_{metric}")) for row in csv.DictReader(file)]
        return [(int(float(step)), float(score)) for step, score in rows if step and score]

    @property
    def run_file(self) -> Path:
        """Which run of MLflow it is."""
        return self.folder / _RUN


def folder_of(paths: Paths, key: str) -> Path:
    """Where a cell with this key is kept."""
    return paths.root / "studies" / "cells" / key


def keep(paths: Paths, key: str, *, workspace: Paths, variant: str, about: dict[str, Any]) -> None:
    """Keep what a workspace computed; it is there whole or not at all."""
    with replace_folder(folder_of(paths, key)) as folder:
        for source, name in (
            (workspace.model(variant) / "metrics.json", _TRAINING),
            (workspace.model(variant) / _HISTORY, _HISTORY),
            (workspace.model(variant) / _RUN, _RUN),
            (workspace.predictions(variant) / "timing.json", "timing.json"),
            (workspace.evaluation(variant) / "metrics.json", "scores.json"),
            (workspace.evaluation(variant) / "counts.safetensors", "counts.safetensors"),
        ):
            if name != _HISTORY or source.is_file():  # of other people's train stage
                shutil.copyfile(source, folder / name)
        write_json(folder / ABOUT, about)
        write_json(folder / _SUMS, _sums(folder))


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.name != _SUMS}


def read_result(paths: Paths, key: str) -> Result | None:
    """Read what is kept of a cell; None if it was not computed.

    Raises:
        AvisError: what is there is damaged.
    """
    folder = folder_of(paths, key)
    if not (folder / ABOUT).is_file():
        return None
    try:
        if (folder / _SUMS).is_file():  # not of an earlier version
            differ = dict(json.loads((folder / _SUMS).read_text())).items() ^ _sums(folder).items()
            if differ:
                raise ValueError(
                    f"{_SUMS} has other sums of {', '.join(sorted({name for name, _ in differ}))}"
                )
        about, training, timing, scores = (
            json.loads((folder / name).read_text())
            for name in (ABOUT, _TRAINING, "timing.json", "scores.json")
        )
    except (OSError, ValueError, TypeError) as error:
        fix = f"Remove {folder}: the cell is computed anew."
        raise AvisError(f"a cell's result is damaged: {error}", where=str(folder), fix=fix) from None
    # takes as long to import as all the rest of `avis study list` takes
    from components.core.metrics.counts_file import read_counts

    counts = read_counts(folder / "counts.safetensors", stage="evaluate")
    return Result(folder, about, training, timing, scores, counts)


def measured(paths: Paths) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What is known of the time that cells of any study took: `about` and `training` of each."""
    found = []
    for about in sorted(folder_of(paths, "").glob(f"*/{ABOUT}")):
        try:
            found.append((json.loads(about.read_text()), json.loads((about.parent / _TRAINING).read_text())))
        except (OSError, ValueError):
            continue  # whoever wants its scores says what is wrong with it
    return found
