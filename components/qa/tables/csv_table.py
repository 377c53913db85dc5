"""Small tables of records, as CSV: what a command computed and the checks read."""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from components.core.run.errors import AvisError
from components.core.run.files import write_csv

R = TypeVar("R")


def write_table(path: Path, kind: type[Any], records: Iterable[Any]) -> None:
    """Write records of a dataclass, a column per field; None is an empty cell."""
    columns = [field.name for field in fields(kind)]
    write_csv(path, columns, map(asdict, records))


def read_table(
    path: Path, kind: type[Any], parse: Callable[[dict[str, str]], R], *, command: str, setting: str
) -> list[R]:
    """Read what `write_table` wrote.

    Args:
        parse: makes a record of a row's cells; raises ValueError where a cell is wrong.
        command: that writes the table. setting: that names the file.

    Raises:
        AvisError: it is missing, has other columns, or a row is wrong; it names the row.
    """
    again = f"Run `{command}` again."
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AvisError(
            "There is no such table", where=str(path), fix=f"Run `{command}`, or set {setting} to null."
        ) from None
    except UnicodeDecodeError:
        raise AvisError("The table is not UTF-8 text", where=str(path), fix=again) from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [field.name for field in fields(kind)]
    if reader.fieldnames != columns:
        raise AvisError(f"The columns are not {', '.join(columns)}", where=f"{path}, row 1", fix=again)
    found = []
    for row in reader:
        try:
            found.append(parse(row))
        except (TypeError, ValueError) as error:
            where = f"{path}, row {reader.line_num}"
            raise AvisError(f"The row is wrong: {error}", where=where, fix=again) from None
    return found
