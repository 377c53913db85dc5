"""A full disk: how much is missing, and where."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.run.errors import MachineError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(MachineError):
    """There is no room for a file."""


def free_bytes(folder: Path) -> int:
    """What may still be written there."""
    return shutil.disk_usage(folder).free


def disk_full(folder: Path, what: str, needed_bytes: int | None) -> DiskFullError:
    """The error that says how much is missing.

    Args:
        folder: where the file was to be.
        what: whose file it is.
        needed_bytes: how much more it needs, as far as that is known.
    """
    room, state = free_bytes(folder), os.statvfs(folder)
    message = f"the disk is full: {_mb(room)} are free, and {what} needs "
    if state.f_files and not state.f_favail:
        message += "a further file, and its inodes are used up"
    elif needed_bytes is None or needed_bytes <= room:  # a quota may leave less than is free
        message += "more"
    else:
        message += f"{_mb(needed_bytes)}: {_mb(needed_bytes - room)} are missing"
    return DiskFullError(
        message,
        where=str(folder),
        fix="Make room and run the stage again: what is finished is kept.",
    )


def make_sure_of_room(folder: Path, what: str, needed_bytes: int) -> None:
    """Before a file of known size is written.

    Raises:
        DiskFullError: it will not fit.
    """
    if needed_bytes > free_bytes(folder):
        raise disk_full(folder, what, needed_bytes)


@contextmanager
def noticing_full_disk(folder: Path, what: str, needed_bytes: Callable[[], int | None]) -> Iterator[None]:
    """Turn a full disk, whichever library met it, into an error that says how much is missing.

    Args:
        folder, what: as for `disk_full`.
        needed_bytes: called then, while the unfinished file is still there.

    Raises:
        DiskFullError: instead of the library's error.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise disk_full(folder, what, needed_bytes()) from None


def is_disk_full(error: Exception) -> bool:
    """Whether that is what an error means; libraries wrap the system's, or keep its words only."""
    return getattr(error, "errno", None) in _FULL or any(os.strerror(code) in str(error) for code in _FULL)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
