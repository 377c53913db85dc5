"""A disk that is full from a moment on, without a disk: what is written does not reach it."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def full_at_each_place(work: Callable[[], object], patch: pytest.MonkeyPatch) -> Iterator[OSError]:
    """Do work again and again, the disk full from the first, second, third file on, until it is done.

    Yields what was raised each time; the last time nothing is full.
    """
    sync, room = os.fsync, 0
    while True:
        left = room

        def no_room(descriptor: int) -> None:
            nonlocal left
            if not left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= 1
            sync(descriptor)

        with patch.context() as patched:
            patched.setattr(os, "fsync", no_room)
            try:
                work()
            except OSError as error:
                yield error
            else:
                return
        room += 1


def files_below(folder: Path) -> dict[str, bytes]:
    """All of them, hidden ones included."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
