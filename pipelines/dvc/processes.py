"""Child processes whose output is read as it comes and of which none outlives its run."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from components.core.run.errors import AvisError

PROGRESS_EVERY_S = 10.0
GRACE_S = 10.0
_MOVES = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]")  # of the cursor, between bars
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\r|\n)")


class Children:
    """The running children of one run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    @property
    def stopped(self) -> bool:
        """Whether `end` was called."""
        return self._closed

    @contextmanager
    def start(
        self, command: list[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process in a group of its own; on leaving, that group is gone.

        `environment` is laid over this process's own.

        Output and errors come through one pipe, `stdout`.

        Raises:
            AvisError: if the run was stopped meanwhile.
        """
        with self._lock:
            if self._closed:
                raise AvisError("the run was stopped")
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(child)
        try:
            with child:
                try:
                    yield child
                finally:
                    _end_group(child)
        finally:
            with self._lock:
                self._running.discard(child)

    def end(self) -> None:
        """End all of them, and let no other start."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for child in running:
            _end_group(child)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End a child and all of its group: dvc obeys a signal at once, the stage under it perhaps not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _group_lives(child):
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        deadline_s = time.monotonic() + GRACE_S
        while _group_lives(child) and time.monotonic() < deadline_s:
            time.sleep(0.05)


def _group_lives(child: subprocess.Popen[bytes]) -> bool:
    if child.poll() is None:
        return True
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    for process in psutil.process_iter(["status"]):  # where nobody reaps orphans, they stay as zombies
        with suppress(ProcessLookupError, PermissionError):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == child.pid:
                return True
    return False


@contextmanager
def time_limit(child: subprocess.Popen[bytes], limit_s: float | None) -> Iterator[threading.Event]:
    """End a child and its group when it takes too long; yields what is set when that happened."""
    expired = threading.Event()

    def end() -> None:
        expired.set()
        _end_group(child)

    if limit_s is None:
        yield expired
        return
    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def read_lines(stream: IO[bytes]) -> Iterator[str]:
    """Yield output line by line as it comes; of a bar that redraws its line, one every ten seconds."""
    rest = b""
    shown_s = time.monotonic()
    while chunk := os.read(stream.fileno(), 65536):
        rest += chunk
        while match := _LINE.match(rest):
            rest = rest[match.end() :]
            text, end = _MOVES.sub(b"", match[1]), match[2]
            now_s = time.monotonic()
            redrawn = end == b"\r"
            if text.strip() and (not redrawn or now_s - shown_s >= PROGRESS_EVERY_S):
                yield text.decode(errors="replace")
                if redrawn:
                    shown_s = now_s
    if rest.strip():
        yield rest.decode(errors="replace")
