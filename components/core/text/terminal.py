"""The way out to terminal and logs: texts of others may move the cursor, hide letters, or tell a secret."""

import logging
import re
import sys
import traceback
import unicodedata
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from typing import Any, TextIO, cast

from components.core.text.redaction import redact

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, formats (also right-to-left), separators
_JOINERS = "\u200c\u200d"  # of letters, in the words of many languages
_OF_PROGRESS = re.compile(r"\r|(?:\x1b\[A)+$")  # how tqdm begins a write: to the line's begin, or lines up
_STYLE = re.compile(r"(\x1b\[[\d;]*m)")  # of rich: colours


@lru_cache(maxsize=4096)
def _seen(sign: str) -> str:
    hidden = unicodedata.category(sign) in _UNSEEN and sign not in _JOINERS
    return f"\\x{ord(sign):02x}" if hidden else sign


def visible(text: str) -> str:
    """Return a text with the codes of signs that would not be shown as letters; lines and tabs stay."""
    if text.isprintable():  # the usual case, and quick
        return text
    return "".join(sign if sign in "\n\t" else _seen(sign) for sign in text)


def plain(text: object) -> str:
    """Return a text on one line, without secrets, with the codes of signs that are no letters."""
    return "".join(map(_seen, redact(str(text))))


class Screen:
    """A stream to the terminal, or to the file in its place: secrets and hidden signs do not pass.

    styled: let pass the colours of rich, which writes its own texts to `rich_proxied_file`.
    """

    def __init__(self, stream: TextIO, *, styled: bool = False) -> None:
        self._stream, self._styled = stream, styled

    def write(self, text: str) -> int:
        """Write a text; its secrets must stand in it as a whole."""
        begin = match[0] if (match := _OF_PROGRESS.match(text)) else ""
        parts = _STYLE.split(redact(text[len(begin) :])) if self._styled else [redact(text[len(begin) :])]
        self._stream.write(
            begin + "".join(visible(part) if n % 2 == 0 else part for n, part in enumerate(parts))
        )
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """As of a file."""
        for line in lines:
            self.write(line)

    @property
    def rich_proxied_file(self) -> "Screen":
        """Where rich writes to."""
        return Screen(self._stream, styled=self._stream.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_terminal() -> None:
    """Let what this process prints, warns and logs pass the redactor; to be called where a process begins."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Screen):
            setattr(sys, name, cast(TextIO, Screen(stream)))
    guard_logs()


def guard_logs() -> None:
    """Redact every record of Python's logging, wherever it goes: a terminal, a file, Prefect's server."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def redacted(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            said = record.getMessage()
        except (TypeError, ValueError):
            return record  # arguments that do not fit: logging says so
        shown = visible(redact(said))
        if shown != said:
            record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return record

    redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacted)


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
    table = Table(
        title=Text(plain(title)) if title else None,
        title_justify="left",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    for name in columns:
        table.add_column(Text(plain(name)), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console.print(table)
