"""The cells of a score table: value, whether it is the best, and how it differs from the first row."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.core.metrics.paired import Difference


@dataclass(frozen=True)
class Cell:
    """One score of one model.

    value: None where there is none.
    best: whether no other row has a better one (never marked with a single row).
    reference: whether it stands in the first row, which the others are compared with.
    change: value minus the first row's.
    direction: "up" if that is clearly better, "down" if clearly worse, else "".
    interval: how sure the change is, where the score is made of clips.
    deviation: standard deviation over seeds, where there are several.
    """

    value: float | None
    best: bool = False
    reference: bool = False
    change: float | None = None
    direction: str = ""
    interval: Difference | None = None
    deviation: float | None = None


def column(
    values: Sequence[float | None],
    intervals: Sequence[Difference | None] | None = None,
    *,
    deviations: Sequence[float | None] | None = None,
    less_is_better: bool = False,
    compare: bool = True,
) -> list[Cell]:
    """The cells of one column.

    Args:
        values: one per row; the first row is the reference.
        intervals: of the change of each row, None where it is not known.
        deviations: of each row over seeds, None with one seed.
        less_is_better: for errors.
        compare: whether to show changes.
    """
    known = [value for value in values if value is not None]
    best = (min(known) if less_is_better else max(known)) if len(known) > 1 else None
    reference = values[0] if values else None
    cells = []
    for row, value in enumerate(values):
        change, direction = None, ""
        interval = intervals[row] if intervals is not None and row > 0 else None
        if compare and row > 0 and value is not None and reference is not None:
            change = value - reference
            if interval is None or interval.is_clear:
                gain = -change if less_is_better else change
                direction = "up" if gain > 0.05 else "down" if gain < -0.05 else ""
        cells.append(
            Cell(
                value=value,
                best=value is not None and value == best,
                reference=compare and row == 0 and len(values) > 1,
                change=change,
                direction=direction,
                interval=interval if change is not None else None,
                deviation=None if deviations is None else deviations[row],
            )
        )
    return cells


def rows(columns: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """The same cells, row by row."""
    return [list(row) for row in zip(*columns, strict=True)]
