"""What a manifest's source stands for."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.core.run.errors import AvisError

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


class SourceKind(StrEnum):
    """Where a video comes from."""

    FILE = "file"
    FRAMES = "frames"  # a folder of JPEGs in the AVISeg layout
    S3 = "s3"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Source:
    """A source: `text` as written, `path` for FILE and FRAMES, `url` for all but FRAMES."""

    kind: SourceKind
    text: str
    url: str
    path: Path | None = None

    @property
    def is_local(self) -> bool:
        return self.path is not None


def parse_source(text: str) -> Source:
    """Tell what a source stands for: a URL (http, https, file, s3), a YouTube id or a path.

    Raises:
        AvisError: for another scheme, a file URL of another machine, or what is no address or path at all.
    """
    try:
        return _parse(text)
    except (ValueError, OSError) as error:  # a host in half a bracket, a name of 300 letters
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise AvisError(f"the source {text[:200]!r} is no address and no path: {reason}") from None


def _parse(text: str) -> Source:
    scheme = urlsplit(text).scheme.lower() if "://" in text or text.startswith("file:") else ""
    if scheme == "s3":
        return Source(SourceKind.S3, text, text)
    if scheme in ("http", "https"):
        if not urlsplit(text).hostname:
            raise AvisError(f"the source {text[:200]!r} names no host")
        return Source(SourceKind.WEB, text, text)
    if scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise AvisError(f"the source {text[:200]!r} is a file of another machine")
        return _local(text, Path(unquote(parts.path)))
    if scheme:
        raise AvisError(
            f"the source {text[:200]!r} has the unknown scheme {scheme!r}",
            fix="Allowed: http, https, file, s3, a YouTube id, a path.",
        )
    path = Path(text)
    if _YOUTUBE_ID.fullmatch(text) and not path.exists():
        return Source(SourceKind.WEB, text, f"https://www.youtube.com/watch?v={text}")
    return _local(text, path)


def _local(text: str, path: Path) -> Source:
    absolute = path.absolute()
    if absolute.is_dir():
        return Source(SourceKind.FRAMES, text, "", absolute)
    return Source(SourceKind.FILE, text, absolute.as_uri(), absolute)
