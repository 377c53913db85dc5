"""data/media/index.parquet: what the extract stage made of each video."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from components.core.records.ranges import Bytes, Count, Rate, Seconds, Side
from components.core.run.errors import AvisError
from components.core.run.files import replace_file

FEATURES_OF_SOURCE = "source"  # features that a download brought with it
_REQUIRED = ("video_id", "status", "message", "frames", "width", "height", "audio_samples")


@dataclass(frozen=True, slots=True)
class MediaEntry:
    """One video; the numbers are 0 unless `status` is "ok"."""

    video_id: str
    status: str
    message: str = ""
    frames: Count = 0
    width: Side = 0
    height: Side = 0
    audio_samples: Bytes = 0
    frame_rate_hz: Rate = 1.0
    license: str | None = None
    frames_sha256: str | None = None
    audio_sha256: str | None = None
    duration_s: Seconds = 0.0
    split: str | None = None
    fingerprint: str = ""  # of the raw file and the parameters that the media were made from
    features_from: str = ""  # no audio features, FEATURES_OF_SOURCE, or the fingerprint of their encoder
    features_sha256: str | None = None
    changes: str = ""  # what was changed on the way from the raw file: records/changes.Changes.text
    source_rate_hz: Rate | None = None  # frames a second of the raw file, as ingest read it
    trial: str = ""  # with what it ended its process or ran over its limits: not tried so again


_FIELDS = frozenset(field.name for field in fields(MediaEntry))
_WHOLE = {"frames", "width", "height", "audio_samples"}


def write_media_index(path: Path, entries: Iterable[MediaEntry]) -> None:
    """Write the index; the same entries give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    rows = list(entries)
    columns = {}
    for field in fields(MediaEntry):
        kind = pyarrow.int64() if field.name in _WHOLE else pyarrow.string()
        if field.name in ("frame_rate_hz", "duration_s", "source_rate_hz"):
            kind = pyarrow.float64()
        columns[field.name] = pyarrow.array([getattr(row, field.name) for row in rows], kind)
    with replace_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.table(columns), temporary)


def common_frame_rate_hz(path: Path) -> float:
    """The frame rate at which all videos of the index were extracted; 1 without any.

    Raises:
        AvisError: as read_media_index, and if the rates differ: a model works at one rate.
    """
    rates = {entry.frame_rate_hz for entry in read_media_index(path).values() if entry.status == "ok"}
    if len(rates) > 1:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates))
        raise AvisError(
            f"frames were extracted at different rates: {found} Hz",
            where=f"{path}, field frame_rate_hz",
            fix="Run the extract stage again.",
        )
    return rates.pop() if rates else 1.0


def common_features(path: Path, video_ids: Collection[str]) -> str:
    """`features_from` of these videos; empty if they differ, or have none.

    Raises:
        AvisError: as read_media_index.
    """
    entries = read_media_index(path)
    makers = {entries[name].features_from for name in video_ids if name in entries}
    return makers.pop() if len(makers) == 1 else ""


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
        # what is empty, or a column that an older version did not write, is as MediaEntry has it
        known = {name: value for name, value in row.items() if value is not None and name in _FIELDS}
        try:
            entries[row["video_id"]] = msgspec.convert(known, MediaEntry)
        except msgspec.ValidationError as error:
            raise AvisError(
                f"A row of the media index is damaged: {error}",
                where=f"{path}, row {number}",
                fix="Run the extract stage again.",
            ) from None
    return entries
