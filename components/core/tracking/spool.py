"""The session folders below `data/.tracking/`: what stages said and is not yet sent.

A stage appends to a session of its own, `operations.jsonl`, one operation a line, and copies the files that
it keeps into `artifacts/`. It holds `writer.lock` as long as it runs. The sender remembers in `offset` how
far it came, tells the stage in `identity.json` which run it is, or in `away` why it cannot send, and removes
the folder when all is sent.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from components.core.text.redaction import redact, redact_all
from components.core.tracking.address import store_name

STAND_IN = "pending-"  # begins the reference of a run that has no MLflow id yet
Operation = dict[str, Any]  # {"operation": its kind, …}


class WrittenSession:
    """A session as the stage has it that writes it."""

    def __init__(self, folder: Path, start: Mapping[str, object], uri: str) -> None:
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}"
        new = folder / f".{name}"  # nobody looks at it before it is locked and has its first operation
        new.mkdir(parents=True)
        self._lock = (new / "writer.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # as long as it is held, no other command sends this session
        first = {"operation": "start", "store": store_name(uri), "time_ms": now_ms(), **start}
        try:
            (new / "operations.jsonl").write_text(json.dumps(redact_all(first)) + "\n")
        except OSError:
            shutil.rmtree(new)
            raise
        self.folder = new.rename(folder / name)
        self._file = (self.folder / "operations.jsonl").open("ab", buffering=0)
        self._artifacts = 0

    def append(self, operation: str, **values: object) -> bool:
        """Add an operation, without secrets, all of it or nothing; a full disk is a warning, and False."""
        line = json.dumps(redact_all({"operation": operation, **values})).encode() + b"\n"
        written, reason = 0, os.strerror(errno.ENOSPC)
        try:
            written = self._file.write(line)
        except OSError as error:
            reason = str(error)
        if written == len(line):
            return True
        if written:
            self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
        warn(f"{operation} was not recorded: {reason}")
        return False

    def keep(self, path: Path) -> int | None:
        """Copy a file or folder for the sender; return the copy's number, None if that did not work."""
        if not path.exists():
            warn(f"{path} is not there and was not kept with the run")
            return None
        self._artifacts += 1
        kept = self.folder / "artifacts" / str(self._artifacts)
        try:
            if path.is_dir():
                shutil.copytree(path, kept)
            else:
                kept.mkdir(parents=True)
                shutil.copy2(path, kept / path.name)
        except OSError as error:
            warn(f"{path} was not kept with the run: {error}")
            return None
        return self._artifacts

    def identity(self) -> tuple[str, str | None] | None:
        """MLflow's ids of the run and its experiment, None as long as the sender has not told them."""
        try:
            told = json.loads((self.folder / "identity.json").read_text())
        except FileNotFoundError:
            return None
        return told["run_id"], told["experiment_id"]

    def away(self) -> str | None:
        """Why MLflow takes nothing now, None if it does or nobody has tried."""
        try:
            return (self.folder / "away").read_text()
        except FileNotFoundError:
            return None

    def is_sent(self) -> bool:
        return not self.folder.exists()

    def close(self) -> None:
        """Say that nothing will follow: the lock is free when this is done."""
        self._file.close()
        self._lock.close()


class SentSession:
    """A session as the sender has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start = start_of(folder)
        self._lines = (folder / "operations.jsonl").open("rb")
        offset = folder / "offset"
        self._position = int(offset.read_text()) if offset.exists() else 0

    def next_group(self, limit: int) -> tuple[list[Operation], int]:
        """Return what was said and is not sent, and where what follows begins.

        One operation, or up to `limit` metrics that follow each other: MLflow takes them in one request.
        """
        group: list[Operation] = []
        end = self._position
        self._lines.seek(end)
        for line in self._lines:
            if not line.endswith(b"\n"):
                break  # it is just being written
            operation = json.loads(line)
            if group and not operation["operation"] == group[0]["operation"] == "metrics":
                break
            group.append(operation)
            end += len(line)
            if len(group) == limit:
                break
        return group, end

    def sent(self, end: int) -> None:
        """Remember that all before `end` is sent."""
        self._position = end
        _put(self.folder / "offset", str(end))

    def tell_identity(self, run_id: str, experiment_id: str) -> None:
        """Tell the stage which run it is: MLflow is there."""
        _put(self.folder / "identity.json", json.dumps({"run_id": run_id, "experiment_id": experiment_id}))
        (self.folder / "away").unlink(missing_ok=True)

    def remove(self) -> None:
        self._lines.close()
        shutil.rmtree(self.folder)


def tell_away(session: Path, reason: str) -> None:
    """Tell the stage that nothing is sent now; on a full disk without a reason, lest it waits for nothing."""
    try:
        _put(session / "away", redact(reason))
    except OSError:
        (session / "away").touch()


def pending(folder: Path) -> list[Path]:
    """The sessions under a tracking folder, oldest first."""
    return sorted(path.parent for path in folder.glob("[0-9]*/operations.jsonl"))


def start_of(session: Path) -> Operation:
    """Return a session's first operation: which run it belongs to."""
    with (session / "operations.jsonl").open("rb") as file:
        start: Operation = json.loads(file.readline())
    return start


def take_lock(path: Path) -> IO[str] | None:
    """Return the open, locked file, None if another process holds the lock."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def is_locked(path: Path) -> bool:
    lock = take_lock(path)
    if lock is not None:
        lock.close()
    return lock is None


def writer_lock(session: Path) -> Path:
    """The file that a stage holds locked while it runs."""
    return session / "writer.lock"


def sender_lock(folder: Path, uri: str) -> Path:
    """The file that a store's sender holds locked."""
    return folder / f"sender-{store_name(uri)}.lock"


def left_behind(folder: Path) -> list[Path]:
    """The sessions whose stages have ended."""
    return [session for session in pending(folder) if not _is_written(session)]


def _is_written(session: Path) -> bool:
    """Whether the stage that began a session still runs: its process is there, and holds the lock."""
    writer = int(session.name.split("-")[1])
    if writer == os.getpid():
        return False
    try:
        os.kill(writer, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    try:
        return is_locked(writer_lock(session))
    except FileNotFoundError:
        return False  # just sent
    except OSError:
        return True


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def warn(message: str) -> None:
    print(f"tracking: {redact(message)}.", file=sys.stderr, flush=True)


def _put(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
