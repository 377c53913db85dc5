"""How well people agree, a CSV: `avis agree` writes it, the qa stage reads it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.qa.tables.csv_table import read_table, write_table


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


def write_agreements(path: Path, agreements: Iterable[Agreement]) -> None:
    """Write the CSV."""
    write_table(path, Agreement, agreements)


def read_agreements(path: Path) -> list[Agreement]:
    """Read the CSV; raises AvisError where it is missing or a row is wrong."""
    return read_table(path, Agreement, _parse, command="avis agree", setting="qa.agreements")


def _parse(row: dict[str, str]) -> Agreement:
    hota, fsla = (float(row[name]) if row[name] else None for name in ("hota", "fsla"))
    if not all(value is None or 0 <= value <= 100 for value in (hota, fsla)):
        raise ValueError("a score is no percentage")
    return Agreement(row["split"], row["video"], hota, fsla, row["first"], row["second"])
