"""data/raw/index.parquet: what the ingest stage made of each entry of the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import AvisError
from components.core.files import replace_file

if TYPE_CHECKING:
    import pyarrow


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


_WHOLE = {"attempts", "width", "height", "size_bytes"}
_FLOATS = {"start_s", "end_s", "duration_s", "fps"}
# Columns in which the same few texts stand again and again: held once each.
_REPEATED = ("status", "message", "fingerprint", "video_codec", "audio_codec", "license", "uploader", "split")
_REQUIRED = tuple(field.name for field in fields(RawEntry) if field.default is MISSING)
_ROWS_AT_ONCE = 50_000


def raw_schema() -> pyarrow.Schema:
    """The columns of the index: the fields of RawEntry."""
    import pyarrow

    kinds = {**dict.fromkeys(_WHOLE, pyarrow.int64()), **dict.fromkeys(_FLOATS, pyarrow.float64())}
    return pyarrow.schema(
        [(field.name, kinds.get(field.name, pyarrow.string())) for field in fields(RawEntry)]
    )


def raw_table(rows: Iterable[RawEntry]) -> pyarrow.Table:
    """Rows as columns."""
    import pyarrow

    schema = raw_schema()
    remaining = iter(rows)
    batches = []
    while chosen := list(islice(remaining, _ROWS_AT_ONCE)):
        columns = [
            pyarrow.array([getattr(row, field.name) for row in chosen], field.type) for field in schema
        ]
        batches.append(pyarrow.record_batch(columns, schema=schema))
    return pyarrow.Table.from_batches(batches, schema=schema)


def rows_of(table: pyarrow.Table) -> Iterator[RawEntry]:
    """Columns as rows, made as they are asked for."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield RawEntry(**{**row, "status": Status(row["status"])})


def write_raw_index(path: Path, entries: Iterable[RawEntry] | pyarrow.Table) -> None:
    """Write the index; the same entries give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    table = entries if isinstance(entries, pyarrow.Table) else raw_table(entries)
    with replace_file(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, raw_schema()) as writer:
        for begin in range(0, len(table), _ROWS_AT_ONCE) or [0]:
            part = table.slice(begin, _ROWS_AT_ONCE)
            writer.write_table(part.cast(raw_schema()).combine_chunks())


def read_raw_table(path: Path, columns: Iterable[str] | None = None) -> pyarrow.Table:
    """The index as columns, all or some; texts that repeat are held once.

    Raises:
        AvisError: the file is missing, is not Parquet, or lacks a column.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise AvisError("there is no index of raw videos", where=str(path), fix="Run the ingest stage first.")
    try:
        with pyarrow.parquet.ParquetFile(path, read_dictionary=list(_REPEATED)) as file:
            there = set(file.schema_arrow.names)
            wanted = [field for field in raw_schema() if columns is None or field.name in set(columns)]
            lacking = [name for name in _REQUIRED if name not in there]
            if lacking:
                raise ValueError(f"the column {lacking[0]!r} is missing")
            table = file.read([field.name for field in wanted if field.name in there])
        for position, field in enumerate(wanted):  # an index written before there was such a column
            if field.name not in there:
                table = table.add_column(position, field, pyarrow.nulls(len(table), field.type))
        if "status" in table.column_names:
            for found in table.column("status").unique().to_pylist():
                Status(found)
    except (pyarrow.ArrowException, OSError, TypeError, KeyError, ValueError) as error:
        raise AvisError(
            f"the index of raw videos cannot be read: {error}",
            where=str(path),
            fix="Delete it and run the ingest stage again.",
        ) from None
    return table


def read_raw_index(path: Path) -> list[RawEntry]:
    """Entries in the manifest's order.

    Raises:
        AvisError: as read_raw_table.
    """
    return list(rows_of(read_raw_table(path)))


class RawIndex:
    """The entries of an index that is too long to be held as rows."""

    def __init__(self, table: pyarrow.Table) -> None:
        self.table = table

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[RawEntry]:
        return rows_of(self.table)

    def counts(self) -> dict[str, int]:
        """How many entries have each status, most first."""
        found = self.table.column("status").value_counts().to_pylist()
        counts = Counter({str(row["values"]): int(row["counts"]) for row in found})
        return dict(counts.most_common())

    def first(self, status: str) -> RawEntry:
        """The first entry with this status."""
        import pyarrow.compute

        found = pyarrow.compute.equal(self.table.column("status"), status)
        position = pyarrow.compute.index(found, True).as_py()
        return next(rows_of(self.table.slice(position, 1)))

    def total_duration_s(self) -> float:
        """Of all videos together."""
        import pyarrow.compute

        return float(pyarrow.compute.sum(self.table.column("duration_s")).as_py() or 0.0)
