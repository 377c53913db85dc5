"""Text of others on a terminal: run names, tags and paths may hold what moves the cursor or hides letters."""

import unicodedata
from collections.abc import Container, Iterable, Sequence

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formats (also right-to-left), separators


def plain(text: object) -> str:
    """Return a text on one line; what a terminal would not show as a letter is written as its code."""
    return "".join(
        f"\\x{ord(sign):02x}" if unicodedata.category(sign) in _UNSEEN else sign for sign in str(text)
    )


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Container[str] = (), title: str = ""
) -> None:
    """Print a table; text of others in it may hold what rich takes for markup.

    Args:
        columns: headings.
        rows: as many cells as there are columns.
        numbers: the columns that are aligned at the right.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=300)  # a file or a pipe has no edge to wrap at
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)
