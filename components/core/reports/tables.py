"""Tables of results as CSV text."""

from collections.abc import Mapping, Sequence

from components.core.run import files


def csv_text(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None, *, decimals: int | None = None
) -> str:
    """Return rows as CSV with a header; None, and what a row does not have, is an empty cell.

    Args:
        rows: column -> value.
        columns: in their order; all that occur, in the order in which they do, if not given.
        decimals: to which floats are rounded; all digits if not given.
    """
    names = dict.fromkeys(name for row in rows for name in row) if columns is None else columns
    if decimals is not None:
        rows = [
            {name: round(cell, decimals) if isinstance(cell, float) else cell for name, cell in row.items()}
            for row in rows
        ]
    return files.csv_text(names, rows)
