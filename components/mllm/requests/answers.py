"""What was answered, in SQLite: no answer is paid twice, not after a kill either."""

import json
import sqlite3
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

from components.core.run.errors import AvisError
from components.core.run.journal import read_journal

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    model TEXT, prompt TEXT, clip TEXT, modality TEXT, sampling TEXT,
    text TEXT NOT NULL, finish_reason TEXT NOT NULL, input_tokens INTEGER, output_tokens INTEGER,
    latency_s REAL NOT NULL, retries INTEGER NOT NULL, video TEXT NOT NULL DEFAULT '',
    checksum INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (model, prompt, clip, modality, sampling)
) STRICT"""
_GET = """
SELECT text, finish_reason, input_tokens, output_tokens, latency_s, retries FROM answers
WHERE model = ? AND prompt = ? AND clip = ? AND modality = ? AND sampling = ?"""
_PUT = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Key:
    """All that makes an answer the answer to this question; each text names or is a hash of it."""

    model: str
    prompt: str
    clip: str
    """The pictures and the sound that were handed over."""
    modality: str
    sampling: str


@dataclass(frozen=True)
class Reply:
    """What came back, without what is secret in it, and what it took."""

    text: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None
    """None where the server says something that is no count of tokens."""
    latency_s: float
    """With the pauses of all tries."""
    retries: int


class Answers:
    """The answers of one model; a context that closes the file. Damaged ones are taken out, which is said.

    Raises:
        AvisError: the file is no such database, or so damaged that it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = sqlite3.connect(path, isolation_level=None)  # each statement is a transaction
        self._database.text_factory = lambda text: text.decode(errors="replace")  # damaged, too
        self._run("PRAGMA synchronous = EXTRA")  # what `put` returned from outlives a loss of power
        self._run(_SCHEMA)
        columns = {column[1] for column in self._run("PRAGMA table_info(answers)")}
        if "video" not in columns:
            self._run("ALTER TABLE answers ADD COLUMN video TEXT NOT NULL DEFAULT ''")
        if "checksum" not in columns:  # of an earlier version
            self._run("BEGIN")
            self._run("ALTER TABLE answers ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
            for number, *values, _ in self._run("SELECT rowid, * FROM answers"):
                self._run("UPDATE answers SET checksum = ? WHERE rowid = ?", (_checksum(values), number))
            self._run("COMMIT")
        self._take_out_damaged()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, key: Key) -> Reply | None:
        """The answer to a question, None if there is none yet."""
        rows = self._run(_GET, astuple(key))
        return Reply(*rows[0]) if rows else None

    def put(self, key: Key, reply: Reply, video: str) -> None:
        """Keep an answer about a clip, "" where it is about parts of several. On return it is on disk."""
        values = (*astuple(key), *astuple(reply), video)
        self._run(_PUT, (*values, _checksum(values)))

    def forget(self, is_gone: Callable[[str], bool]) -> int:
        """Take out what was said of clips by name, and of parts of several; returns how many answers."""
        known = [name for (name,) in self._run("SELECT DISTINCT video FROM answers")]
        gone = [name for name in known if not name or is_gone(name)]
        deleted = [self._run("DELETE FROM answers WHERE video = ? RETURNING 1", (name,)) for name in gone]
        self._run("VACUUM")  # else their text stays in the file's free pages
        return sum(map(len, deleted))

    def _take_out_damaged(self) -> None:
        is_whole = self._run("PRAGMA integrity_check") == [("ok",)]
        if not is_whole:
            self._run("REINDEX")
        rows = self._run("SELECT rowid, * FROM answers")
        damaged = [number for number, *values, checksum in rows if _checksum(values) != checksum]
        for number in damaged:
            self._run("DELETE FROM answers WHERE rowid = ?", (number,))
        if damaged:
            print(f"mllm: {len(damaged)} damaged answers in {self._path} are asked again", flush=True)
        if not is_whole and (found := self._run("PRAGMA integrity_check")) != [("ok",)]:
            raise self._unusable(found[0][0])

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of damaged names
            raise self._unusable(error) from error

    def _unusable(self, why: object) -> AvisError:
        return AvisError(
            f"the answers cannot be read or written: {why}",
            where=str(self._path),
            fix="Free some room if the disk is full; if the file is damaged, move it away: its answers "
            "are then asked, and paid, again.",
        )


def _checksum(values: Sequence[object]) -> int:
    """Of a row's values as the database gives them back."""
    plain = [float(value) if isinstance(value, int) else value for value in values]
    return zlib.crc32(repr(plain).encode(errors="replace"))


def earlier_answers(path: Path, fingerprint: str) -> dict[tuple[str, str, int], Reply]:
    """Of an answers.jsonl from before there was a database: by modality, clip (16 digits) and take.

    None where it is no such file, or its questions were others than those with this fingerprint.
    """
    found = {}
    with suppress(OSError, ValueError, TypeError, KeyError):
        with path.open("rb") as file:
            known = json.loads(file.readline())["fingerprint"]
        for key, record in read_journal(path) if known == fingerprint else ():
            with suppress(TypeError, KeyError):  # a question without reply, or damaged
                reply = Reply(**{name: record[name] for name in Reply.__dataclass_fields__})
                take = 2 if record["purpose"] == "probe again" else 1
                found[record["modality"], key.rpartition("/")[2], take] = reply
    return found
