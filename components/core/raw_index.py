"""data/raw/index.parquet: what the ingest stage made of each entry of the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from components.core.errors import AvisError
from components.core.files import replace_file


class Status(StrEnum):
    """What became of an entry; the stages after ingest use those that are ok."""

    OK = "ok"
    PRIVATE = "private"
    REMOVED = "removed"
    GEO_BLOCKED = "geo_blocked"
    LOGIN_REQUIRED = "login_required"
    BOT_CHECK = "bot_check"
    RATE_LIMITED = "rate_limited"
    LIVE_OR_UPCOMING = "live_or_upcoming"
    UNSUPPORTED = "unsupported"
    NETWORK = "network"
    TIMEOUT = "timeout"
    CORRUPT = "corrupt"
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    TOO_SHORT = "too_short"
    BAD_ENTRY = "bad_entry"


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry; the fields from `path` to `size_bytes` are None unless `status` is ok."""

    video_id: str
    status: Status
    message: str
    attempts: int  # tries in the run that last tried
    source: str
    start_s: float | None
    end_s: float | None
    fingerprint: str  # of what decides the result: source, cut, expected hash, limits
    path: str | None = None  # inside data/raw: a file, or a folder of frames with its sound
    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sha256: str | None = None  # of the file (of a folder: of its files in order)
    source_sha256: str | None = None  # of what was downloaded, before cutting
    size_bytes: int | None = None
    license: str | None = None
    uploader: str | None = None
    split: str | None = None
    time: str | None = None  # UTC, when it was fetched or last tried; None for local files, which may always
    # be fetched again, so that the same files give the same bytes of this index


_KINDS = {"attempts": int, "width": int, "height": int, "size_bytes": int}
_FLOATS = {"start_s", "end_s", "duration_s", "fps"}


def write_raw_index(path: Path, entries: Iterable[RawEntry]) -> None:
    """Write the index; the same entries give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    rows = list(entries)
    columns = {}
    for field in fields(RawEntry):
        kind = pyarrow.string()
        if field.name in _FLOATS:
            kind = pyarrow.float64()
        elif field.name in _KINDS:
            kind = pyarrow.int64()
        columns[field.name] = pyarrow.array([getattr(row, field.name) for row in rows], kind)
    with replace_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)


def read_raw_index(path: Path) -> list[RawEntry]:
    """Entries in the manifest's order.

    Raises:
        AvisError: the file is missing, is not Parquet, or its columns are not those of RawEntry.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise AvisError("there is no index of raw videos", where=str(path), fix="Run the ingest stage first.")
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
        return [RawEntry(**{**row, "status": Status(row["status"])}) for row in rows]
    except (pyarrow.ArrowException, OSError, TypeError, KeyError, ValueError) as error:
        raise AvisError(
            f"the index of raw videos cannot be read: {error}",
            where=str(path),
            fix="Delete it and run the ingest stage again.",
        ) from None
