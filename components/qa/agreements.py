"""How well people agree, a CSV: `avis agree` writes it, the qa stage reads it."""

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from components.core.errors import AvisError
from components.core.files import write_text


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two annotations of a clip; the row with an empty video is about all clips together.

    hota, fsla: of the second against the first, corrected protocol, percent; None where there is nothing to
        score.
    first, second: who drew them; "" where nobody knows.
    """

    split: str
    video: str
    hota: float | None
    fsla: float | None
    first: str
    second: str


_COLUMNS = [field.name for field in fields(Agreement)]
_AGAIN = "Run `avis agree` again."


def write_agreements(path: Path, agreements: Iterable[Agreement]) -> None:
    """Write the CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for agreement in agreements:
        writer.writerow(["" if value is None else value for value in astuple(agreement)])
    write_text(path, text.getvalue())


def read_agreements(path: Path) -> list[Agreement]:
    """Read the CSV.

    Raises:
        AvisError: it is missing or a row is wrong; it names the row.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AvisError(
            "There is no file of agreements",
            where=str(path),
            fix="Run `avis agree`, or set qa.agreements to null.",
        ) from None
    except UnicodeDecodeError:
        raise AvisError("The agreements are not UTF-8 text", where=str(path)) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if reader.fieldnames != _COLUMNS:
        raise AvisError(f"The columns are not {', '.join(_COLUMNS)}", where=f"{path}, row 1", fix=_AGAIN)
    found = []
    for row in reader:
        try:
            hota, fsla = (float(row[name]) if row[name] else None for name in ("hota", "fsla"))
            if not all(value is None or 0 <= value <= 100 for value in (hota, fsla)):
                raise ValueError("a score is no percentage")
            found.append(Agreement(row["split"], row["video"], hota, fsla, row["first"], row["second"]))
        except (TypeError, ValueError) as error:
            raise AvisError(
                f"The row is wrong: {error}", where=f"{path}, row {reader.line_num}", fix=_AGAIN
            ) from None
    return found
