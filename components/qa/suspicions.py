"""Labels that a trained model doubts, a CSV: `avis suspect` writes it, the qa stage reads it."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from components.core.errors import AvisError
from components.core.files import write_text


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


_COLUMNS = [field.name for field in fields(Suspicion)]


def write_suspicions(path: Path, suspicions: Iterable[Suspicion]) -> None:
    """Write the CSV; the largest losses first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for suspicion in sorted(suspicions, key=lambda s: (-s.loss, s.split, s.video, s.track or 0)):
        writer.writerow(["" if value is None else value for value in astuple(suspicion)])
    write_text(path, text.getvalue())


def read_suspicions(path: Path) -> list[Suspicion]:
    """Read the CSV.

    Raises:
        AvisError: it is missing or a row is wrong; it names the row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AvisError(
            "There is no file of suspicions",
            where=str(path),
            fix="Run `avis suspect`, or set qa.suspicions to null.",
        ) from None
    except UnicodeDecodeError:
        raise AvisError("The suspicions are not UTF-8 text", where=str(path)) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames != _COLUMNS:
        raise AvisError(
            f"The columns are not {', '.join(_COLUMNS)}",
            where=f"{path}, row 1",
            fix="Run `avis suspect` again.",
        )
    found = []
    for row in reader:
        try:
            loss = float(row["loss"])
            if not math.isfinite(loss):
                raise ValueError("the loss is not finite")
            found.append(
                Suspicion(
                    row["split"],
                    row["video"],
                    int(row["track"]) if row["track"] else None,
                    int(row["frame"]),
                    int(row["last_frame"]),
                    loss,
                    row["message"],
                )
            )
        except (TypeError, ValueError) as error:
            raise AvisError(
                f"The row is wrong: {error}",
                where=f"{path}, row {reader.line_num}",
                fix="Run `avis suspect` again.",
            ) from None
    return found
