"""One run at a time in one workspace, held by a lock that the kernel frees when its holder dies."""

import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from components.core.run.errors import AvisError

POLL_S = 1.0


@contextmanager
def hold_workspace(root: Path, *, purpose: str, wait: bool) -> Iterator[None]:
    """Keep other flows out of a workspace, also those of other processes, until the block is left.

    Args:
        root: the repository; the lock is a file under its `.dvc/tmp`.
        purpose: what the holder does, for whoever finds the workspace held.
        wait: whether to wait for a holder to end, looking every second.

    Raises:
        AvisError: if somebody holds it and `wait` is false.
    """
    path = root / ".dvc" / "tmp" / "avis.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not inherited by children: of a holder that was killed, nothing else may keep the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take(descriptor, path, wait)
        try:
            _write(descriptor, json.dumps(_holder(purpose)).encode())
            yield
        finally:
            _write(descriptor, b"")  # stays only when the holder is killed
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool) -> None:
    said = ""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _describe(path)
        if not wait:
            raise AvisError(
                f"the workspace is in use by {holder}",
                where=str(path),
                fix="Wait until it has ended, or cancel it.",
            )
        if holder != said:
            _logger().info("Waits for the workspace, which is in use by %s", holder)
            said = holder
        time.sleep(POLL_S)


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _holder(purpose: str) -> dict[str, str | int | None]:
    name = None
    if "prefect" in sys.modules:  # else there is no flow run, and to import it takes seconds
        from prefect.runtime import flow_run

        name = flow_run.get_name()
    return {
        "purpose": purpose,
        "flow_run": name,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _describe(path: Path) -> str:
    try:
        holder = json.loads(path.read_text())
        run = f"run {holder['flow_run']}, " if holder["flow_run"] else ""
        return (
            f"{holder['purpose']} ({run}process {holder['pid']} on {holder['host']}, since {holder['since']})"
        )
    except (ValueError, KeyError, TypeError):  # it has only just taken it, or is about to give it back
        return "another run"


def _logger() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
