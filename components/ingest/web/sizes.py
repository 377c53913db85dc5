"""How much a server may send."""

from pathlib import Path

from components.core.raw.index import Status
from components.core.run.disk import free_bytes
from components.ingest.status import DownloadError

_LARGEST = 10**18  # some servers write numbers of a thousand digits, which no float holds


def refuse_size(size_bytes: int, most_bytes: int, folder: Path | None = None, there_bytes: int = 0) -> None:
    """Give up a download by the size that has come, or that its server claims.

    Whoever promises a petabyte must not stop the stage for all others: a full disk does, a promise does not.

    Args:
        folder: where the file is to be, if its size is a claim.
        there_bytes: of the file, which are in that folder already.

    Raises:
        DownloadError: too_large, or no_room.
    """
    size_bytes = min(size_bytes, _LARGEST)
    if size_bytes > most_bytes:
        raise DownloadError(
            Status.TOO_LARGE,
            f"the file is larger than the {most_bytes / 1e9:g} GB that ingest.max_file_gb allows"
            + (f": {size_bytes / 1e9:.6g} GB, says the server" if folder else ""),
        )
    if folder is not None and size_bytes - there_bytes > (free := free_bytes(folder)):
        raise DownloadError(
            Status.NO_ROOM,
            f"the server says that {(size_bytes - there_bytes) / 1e6:.1f} MB are to come, "
            f"and {free / 1e6:.1f} MB are free in {folder}",
        )
