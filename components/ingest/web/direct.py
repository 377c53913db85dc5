"""A media file straight from a web server: one request, no look at the page first, resumed by range."""

from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import yt_dlp
from yt_dlp.networking.common import Request, Response
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, TransportError

from components.core.run.disk import noticing_full_disk
from components.core.text.redaction import redacted_address
from components.ingest.remux import SUFFIXES
from components.ingest.web.sizes import refuse_size

_PIECE_BYTES = 1 << 14  # what a broken connection costs at most
_BROKEN_CONNECTIONS = 20  # that a download survives as long as each of them brought something
_LONGEST_LENGTH = 19  # digits of a number of bytes: more than any file has
_KINDS = ("video/", "audio/", "application/octet-stream", "binary/octet-stream", "application/mp4",
          "application/ogg", "application/x-matroska")  # fmt: skip


def take_file(web: yt_dlp.YoutubeDL, url: str, folder: Path, most_bytes: int) -> Path | None:
    """Download the file at an address that ends like a video's.

    What an earlier try left in the folder is continued if the server still has that very file.

    Returns:
        The file; None if the address does not end so, or the server answers with something else, such as a
        page: yt-dlp's extractors may know what it is.

    Raises:
        yt_dlp.networking.exceptions.RequestError: the server's answer, or none.
        DownloadError: it has, or says that it has, more than `most_bytes`, or will not fit.
        DiskFullError: the disk became full.
    """
    suffix = Path(urlsplit(url).path).suffix.lower()
    if suffix not in SUFFIXES:
        return None
    part, note = folder / "direct.part", folder / "direct.note"
    for _ in range(_BROKEN_CONNECTIONS):
        before = _size(part)
        try:
            is_media = _take_on(web, url, part, note, most_bytes)
            break
        except HTTPError as error:
            if error.status != 416 or not before:  # the part is no longer a part of what lies there
                raise
            part.unlink()
        except TransportError:
            if _size(part) <= before:
                raise
    else:
        raise IncompleteRead(_size(part))
    note.unlink(missing_ok=True)
    if not is_media:
        part.unlink(missing_ok=True)
        return None
    return part.rename(folder / f"direct{suffix}")


def _take_on(web: yt_dlp.YoutubeDL, url: str, part: Path, note: Path, most_bytes: int) -> bool:
    """One request that begins where `part` ends; False if the answer is no media file."""
    headers = {"Accept-Encoding": "identity"}  # what is compressed cannot be resumed
    known = note.read_text().split("\n") if note.is_file() else []
    first = _size(part) if known[:1] == [redacted_address(url)] else 0
    if first:
        headers["Range"] = f"bytes={first}-"
        if known[1]:
            headers["If-Range"] = known[1]
    with closing(web.urlopen(Request(url, headers=headers))) as response:
        kind = (response.headers.get("Content-Type") or _KINDS[0]).lower()
        if not kind.startswith(_KINDS):
            return False
        is_rest = response.status == 206 and _begins_at(response) == first
        if response.status == 206 and not is_rest:
            part.unlink(missing_ok=True)
            raise TransportError("the server sent another range than it was asked for")
        promised = response.headers.get("Content-Length") or ""
        if not is_rest:
            part.unlink(missing_ok=True)
        begin = _size(part)
        end = begin + _length(promised) if promised.isdigit() else None
        if end is not None:
            refuse_size(end, most_bytes, part.parent, begin)
        note.write_text(f"{redacted_address(url)}\n{_validator(response)}")
        with (
            noticing_full_disk(part.parent, url, lambda: None if end is None else end - _size(part)),
            part.open("ab" if is_rest else "wb") as file,
        ):
            while piece := response.read(_PIECE_BYTES):
                file.write(piece)
                refuse_size(file.tell(), most_bytes)
        received = _size(part) - begin
        is_plain = (response.headers.get("Content-Encoding") or "identity").lower() == "identity"
        if end is not None and is_plain and begin + received < end:
            raise IncompleteRead(received, end - begin - received)
    if not _size(part):
        raise TransportError("the server did not send any data")
    return True


def _length(digits: str) -> int:
    """What Content-Length says; Python refuses to read a number of thousands of digits."""
    return int(digits) if len(digits) < _LONGEST_LENGTH else 10**_LONGEST_LENGTH


def _begins_at(response: Response) -> int | None:
    """Where the sent range begins, from `Content-Range: bytes 5-9/10`."""
    first = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None


def _validator(response: Response) -> str:
    """What tells whether the server still has the same file: a strong ETag, or when it last changed."""
    tag = response.headers.get("ETag") or ""
    value = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified") or ""
    return str(value).replace("\n", " ")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
