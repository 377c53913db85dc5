"""A stage's list of finished items, so that a killed stage, started again, does only what is left."""

import json
import os
from pathlib import Path
from typing import Any

from components.core.files import write_text


class Journal:
    """One line of JSON per finished item, appended and synced.

    The first line holds the fingerprint of what decides the items' results (the stage's parameters); a
    journal with another fingerprint is started anew. A last line that was cut by a crash is dropped.

    Args:
        path: the journal's file.
        fingerprint: text that changes when finished items are no longer valid.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.finished: dict[str, dict[str, Any]] = {}
        header = json.dumps({"fingerprint": fingerprint}) + "\n"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = len(header)
        if lines and lines[0] == header.encode():
            for line in lines[1:]:
                entry = _entry(line)
                if entry is None:
                    break
                self.finished[entry[0]] = entry[1]
                kept += len(line)
            os.truncate(path, kept)
        else:
            write_text(path, header)
        self._file = path.open("ab")

    def record(self, key: str, value: dict[str, Any]) -> None:
        """Note that an item is finished. On return the line is on disk."""
        self._file.write(json.dumps([key, value]).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.finished[key] = value

    def close(self) -> None:
        """Close the file; the journal stays for the next start."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete the journal: the stage is complete."""
        self.close()
        self.path.unlink(missing_ok=True)


def _entry(line: bytes) -> tuple[str, dict[str, Any]] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        key, value = json.loads(line)
    except ValueError:
        return None
    return (key, value) if isinstance(key, str) and isinstance(value, dict) else None
