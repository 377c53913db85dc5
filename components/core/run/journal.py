"""A stage's list of finished items, so that a killed stage, started again, does only what is left."""

import json
import os
import sys
import zlib
from collections.abc import Iterator
from operator import ne
from pathlib import Path
from typing import Any

from components.core.run.files import write_bytes
from components.core.text.redaction import redact_all


class Journal:
    """One line of JSON per finished item, appended and synced: its key, its entry and a checksum of both.

    The first line holds the fingerprint of what decides the items' results (the stage's parameters), with a
    checksum; a journal with another fingerprint is started anew. One wrong byte of it is mended, with more
    all is done anew, and both are said. A last line that was cut by a crash is dropped; a damaged line costs
    its item only.

    Args:
        path: the journal's file.
        fingerprint: text that changes when finished items are no longer valid.
        in_memory: whether `finished` is filled; without it a journal of any length needs no memory.

    Attributes:
        finished: each item's last entry by its key.
    """

    def __init__(self, path: Path, fingerprint: str, *, in_memory: bool = True) -> None:
        self.path = path
        self.finished: dict[str, dict[str, Any]] = {}
        self._in_memory = in_memory
        if kept := _known_beginning(path, fingerprint):
            for entry, length in _lines(path):
                kept += length
                if in_memory and entry is not None:
                    self.finished[entry[0]] = entry[1]
            os.truncate(path, kept)
        else:
            write_bytes(path, _header(fingerprint))
        self._file = path.open("ab")

    def record(self, key: str, value: dict[str, Any]) -> None:
        """Note that an item is finished, without what is secret in it. On return the line is on disk."""
        value = redact_all(value)
        pair = json.dumps([key, value]).encode()
        try:
            self._file.write(pair[:-1] + b", %d]\n" % zlib.crc32(pair))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            error.filename = os.fspath(self.path)
            raise
        if self._in_memory:
            self.finished[key] = value

    def close(self) -> None:
        """Close the file; the journal stays for the next start."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the journal: the stage is complete."""
        self.close()
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a journal, none if there is none; another process may be writing it."""
    if path.exists():
        for entry, _ in _lines(path):
            if entry is not None:
                yield entry


def _header(fingerprint: str) -> bytes:
    said = json.dumps({"fingerprint": fingerprint, "checksum": zlib.crc32(fingerprint.encode())})
    return f"{said}\n".encode()


def _earlier_header(fingerprint: str) -> bytes:
    return f"{json.dumps({'fingerprint': fingerprint})}\n".encode()


def _known_beginning(path: Path, fingerprint: str) -> int:
    """The length of the first line if it has this fingerprint, else 0."""
    if not path.exists():
        return 0
    header = _header(fingerprint)
    with path.open("r+b") as file:
        found = file.read(len(header))
        wrong = sum(map(ne, found, header)) + len(header) - len(found)
        if wrong == 1:  # with another fingerprint the checksum would be another, too
            file.seek(0)
            file.write(header)
            print(f"{path}: a wrong byte of its first line was mended", file=sys.stderr)
        if wrong <= 1:
            return len(header)
        file.seek(0)
        line = file.readline()
    if line == _earlier_header(fingerprint):
        return len(line)
    if not _is_whole(line):
        print(f"{path}: its first line is damaged, so all is done anew that it had finished", file=sys.stderr)
    return 0


def _is_whole(line: bytes) -> bool:
    try:
        fingerprint = str(json.loads(line)["fingerprint"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return line in (_header(fingerprint), _earlier_header(fingerprint))


def _lines(path: Path) -> Iterator[tuple[tuple[str, dict[str, Any]] | None, int]]:
    """The lines after the first: entry, None if the line is damaged, and length in bytes.

    A last line without its end was being written.
    """
    with path.open("rb") as file:
        file.readline()
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield _entry(line), len(line)


def _entry(line: bytes) -> tuple[str, dict[str, Any]] | None:
    pair, _, checksum = line.rpartition(b", ")
    pair += b"]"
    try:
        if checksum != b"%d]\n" % zlib.crc32(pair):
            pair = line  # of an earlier version, without a checksum, or damaged
        key, value = json.loads(pair)
    except (ValueError, TypeError, RecursionError):
        return None
    return (key, value) if isinstance(key, str) and isinstance(value, dict) else None
