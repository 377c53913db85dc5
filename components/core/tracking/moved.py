"""A database file that was moved with its checkout, or copied: where its runs' files lie stands in it.

MLflow keeps whole paths, also of files beside the database (`mlruns/`), and shows runs whose files it does
not find as runs without files.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.core.text.terminal import plain

_FILES = "/mlruns"  # beside the database: MLflow's name
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_LOCKED_S = 60.0


def follow_move(uri: str) -> None:
    """Let the paths in an MLflow database lead to the files beside it, where they led beside another; say so.

    Args:
        uri: of the store; only files of SQLite that exist are looked at.
    """
    file = Path(unquote(urlsplit(uri).path)[1:])
    if not uri.startswith("sqlite:///") or not (file.is_file() and (file.parent / _FILES[1:]).is_dir()):
        return
    here = file.parent.resolve()
    with closing(sqlite3.connect(file, timeout=_LOCKED_S)) as database:
        for before, after in _moves(database, here).items():
            changed = _replace(database, before, after)
            print(
                f"{plain(file)} was moved: {changed} paths led to {plain(before)}, now to {plain(after)}.",
                file=sys.stderr,
            )


def _moves(database: sqlite3.Connection, here: Path) -> dict[str, str]:
    """What the paths of experiments begin with, up to mlruns, and what they shall begin with."""
    try:
        rows = database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    except sqlite3.DatabaseError:  # not MLflow's, or damaged: who opens it next says so
        return {}
    moves = {}
    for (location,) in rows:
        path = unquote(urlsplit(location).path) if (location or "").startswith("file:") else location or ""
        folder, files, rest = path.rpartition(_FILES)
        if not files or not path.startswith("/") or not rest.startswith("/"):
            continue
        if Path(folder).resolve() != here and (here / (_FILES[1:] + rest)).is_dir():
            before = location[: len(location) - len(location.rpartition(_FILES)[2])]
            moves[before] = f"{here.as_uri() if location.startswith('file:') else here}{_FILES}"
    return moves


def _replace(database: sqlite3.Connection, before: str, after: str) -> int:
    with database:
        database.execute("BEGIN IMMEDIATE")
        changed = 0
        for table, column in _COLUMNS:
            if column in {row[1] for row in database.execute(f"PRAGMA table_info({table})")}:
                where = f"substr({column}, 1, :length) = :before"
                done = database.execute(
                    f"UPDATE {table} SET {column} = :after || substr({column}, :length + 1) WHERE {where}",  # noqa: S608
                    {"before": before, "after": after, "length": len(before)},
                )
                changed += done.rowcount
    return changed
