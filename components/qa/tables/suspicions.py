"""Labels that a trained model doubts, a CSV: `avis suspect` writes it, the qa stage reads it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.qa.tables.csv_table import read_table, write_table


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One doubt.

    track: the annotation's id; None where the model sees an object that nobody labelled.
    frame, last_frame: where the disagreement is.
    loss: of the label under the model, in nats; the larger, the more it surprises the model.
    """

    split: str
    video: str
    track: int | None
    frame: int
    last_frame: int
    loss: float
    message: str


def write_suspicions(path: Path, suspicions: Iterable[Suspicion]) -> None:
    """Write the CSV; the largest losses first."""
    ordered = sorted(suspicions, key=lambda one: (-one.loss, one.split, one.video, one.track or 0))
    write_table(path, Suspicion, ordered)


def read_suspicions(path: Path) -> list[Suspicion]:
    """Read the CSV; raises AvisError where it is missing or a row is wrong."""
    return read_table(path, Suspicion, _parse, command="avis suspect", setting="qa.suspicions")


def _parse(row: dict[str, str]) -> Suspicion:
    loss = float(row["loss"])
    if not math.isfinite(loss):
        raise ValueError("the loss is not finite")
    track = int(row["track"]) if row["track"] else None
    frames = int(row["frame"]), int(row["last_frame"])
    return Suspicion(row["split"], row["video"], track, *frames, loss, row["message"])
