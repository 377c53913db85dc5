"""data/media/index.parquet: what the extract stage made of each video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.core.errors import AvisError

_REQUIRED = ("video_id", "status", "message", "frames", "width", "height", "audio_samples")


@dataclass(frozen=True, slots=True)
class MediaEntry:
    """One video; the numbers are 0 unless `status` is "ok"."""

    video_id: str
    status: str
    message: str
    frames: int
    width: int
    height: int
    audio_samples: int
    frame_rate_hz: float
    license: str | None
    frames_sha256: str | None
    audio_sha256: str | None


def read_media_index(path: Path) -> dict[str, MediaEntry]:
    """Entries by video id, in the file's order.

    Raises:
        AvisError: the file is missing, is not Parquet, or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise AvisError("There is no media index", where=str(path), fix="Run the extract stage first.")
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise AvisError(f"The media index cannot be read: {error}", where=str(path)) from error
    entries: dict[str, MediaEntry] = {}
    for number, row in enumerate(rows, start=1):
        missing = [name for name in _REQUIRED if name not in row]
        if missing:
            raise AvisError(
                f"The media index lacks the column {missing[0]!r}",
                where=str(path),
                fix="Run the extract stage again.",
            )
        if row["video_id"] in entries:
            raise AvisError(f"{row['video_id']!r} occurs twice", where=f"{path}, row {number}")
        entries[row["video_id"]] = MediaEntry(
            video_id=row["video_id"],
            status=row["status"],
            message=row["message"] or "",
            frames=int(row["frames"] or 0),
            width=int(row["width"] or 0),
            height=int(row["height"] or 0),
            audio_samples=int(row["audio_samples"] or 0),
            frame_rate_hz=float(row.get("frame_rate_hz") or 1.0),
            license=row.get("license"),
            frames_sha256=row.get("frames_sha256"),
            audio_sha256=row.get("audio_sha256"),
        )
    return entries
