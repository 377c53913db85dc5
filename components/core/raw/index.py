"""data/raw/index.parquet: what the ingest stage made of each entry of the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec.inspect

from components.core.records.changes import Changes, changes_of_text
from components.core.records.ranges import Bytes, Count, Rate, Seconds, Side
from components.core.run.errors import AvisError
from components.core.run.files import replace_file
from components.core.run.workers.worker import Kind

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
    CRASHED = "crashed"  # its process died of it
    TOO_HEAVY = "too_heavy"  # it wanted more memory, or more time to be read, than a worker may have
    KILLED = "killed"  # its process was killed from outside, as when the machine has no memory left
    UNEXPECTED = "unexpected"  # an exception that nobody foresaw
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    TOO_SHORT = "too_short"
    TOO_LARGE = "too_large"
    NO_ROOM = "no_room"
    BAD_ENTRY = "bad_entry"


_OF_KIND: dict[Kind, Status] = {
    "timeout": Status.TIMEOUT,
    "memory": Status.TOO_HEAVY,
    "crash": Status.CRASHED,
    "killed": Status.KILLED,
}


def status_of(kind: Kind) -> Status:
    """The status of an item that gave no result."""
    return _OF_KIND.get(kind, Status.UNEXPECTED)


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry; the fields from `path` to `size_bytes` are None unless `status` is ok."""

    video_id: str
    status: Status
    message: str
    attempts: Count  # tries in the run that last tried
    source: str
    start_s: Seconds | None
    end_s: Seconds | None
    fingerprint: str  # of what decides the result: source, cut, expected hash, limits
    path: str | None = None  # inside data/raw: a file, or a folder of frames with its sound
    duration_s: Seconds | None = None
    width: Side | None = None
    height: Side | None = None
    fps: Rate | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sha256: str | None = None  # of the file (of a folder: of its files in order)
    source_sha256: str | None = None  # of what was downloaded, before cutting
    size_bytes: Bytes | None = None
    license: str | None = None  # the manifest's word, else the site's
    uploader: str | None = None
    split: str | None = None
    site_license: str | None = None  # what the site said when the video was downloaded
    site_uploader: str | None = None
    changes: str | None = None  # what was changed on the way from the source: records/changes.Changes.text
    time: str | None = None  # UTC, when it was fetched or last tried; None for local files, which may always
    # be fetched again, so that the same files give the same bytes of this index


_WHOLE = {"attempts", "width", "height", "size_bytes"}
_FLOATS = {"start_s", "end_s", "duration_s", "fps"}
# Columns in which the same few texts stand again and again: held once each.
_REPEATED = (
    *("status", "message", "fingerprint", "video_codec", "audio_codec"),
    *("license", "uploader", "split", "site_license", "site_uploader", "changes"),
)
_REQUIRED = tuple(field.name for field in fields(RawEntry) if field.default is MISSING)
ROWS_AT_ONCE = 20_000  # so that little is held twice


def raw_schema() -> pyarrow.Schema:
    """The columns of the index: the fields of RawEntry."""
    import pyarrow

    kinds = {**dict.fromkeys(_WHOLE, pyarrow.int64()), **dict.fromkeys(_FLOATS, pyarrow.float64())}
    return pyarrow.schema(
        [(field.name, kinds.get(field.name, pyarrow.string())) for field in fields(RawEntry)]
    )


def raw_table(rows: Iterable[RawEntry]) -> pyarrow.Table:
    """Rows as columns; texts that repeat are held once."""
    import pyarrow

    held = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    schema = pyarrow.schema(
        [(field.name, held if field.name in _REPEATED else field.type) for field in raw_schema()]
    )
    remaining = iter(rows)
    batches = []
    while chosen := list(islice(remaining, ROWS_AT_ONCE)):
        columns = [
            pyarrow.array([getattr(row, field.name) for row in chosen], field.type) for field in schema
        ]
        batches.append(pyarrow.record_batch(columns, schema=schema))
    return pyarrow.Table.from_batches(batches, schema=schema)


def rows_of(table: pyarrow.Table) -> Iterator[RawEntry]:
    """Columns as rows, made as they are asked for."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield RawEntry(**{**row, "status": Status(row["status"])})


def write_raw_index(path: Path, entries: Iterable[RawEntry] | Iterable[pyarrow.Table]) -> None:
    """Write rows, or tables of them, one after the other; the same entries give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    with replace_file(path) as temporary, pyarrow.parquet.ParquetWriter(temporary, raw_schema()) as writer:
        for table in _tables(entries):
            writer.write_table(table.cast(raw_schema()).combine_chunks())


def _tables(entries: Iterable[RawEntry] | Iterable[pyarrow.Table]) -> Iterator[pyarrow.Table]:
    remaining = iter(entries)
    first = next(remaining, None)
    if first is None or isinstance(first, RawEntry):
        yield raw_table([] if first is None else chain([first], remaining))
    else:
        yield from chain([first], remaining)


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
        there = set(pyarrow.parquet.read_schema(path).names)
        repeated = [name for name in _REPEATED if name in there]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=repeated) as file:
            wanted = [field for field in raw_schema() if columns is None or field.name in set(columns)]
            lacking = [name for name in _REQUIRED if name not in there]
            if lacking:
                raise ValueError(f"the column {lacking[0]!r} is missing")
            names = [field.name for field in wanted if field.name in there]
            parts = [file.read_row_group(number, names) for number in range(file.num_row_groups)]
            table = pyarrow.concat_tables(parts).unify_dictionaries() if parts else file.read(names)
        for position, field in enumerate(wanted):  # an index written before there was such a column
            if field.name not in there:
                table = table.add_column(position, field, pyarrow.nulls(len(table), field.type))
        if "status" in table.column_names:
            for found in table.column("status").unique().to_pylist():
                Status(found)
        _require_ranges(table)
    except (pyarrow.ArrowException, OSError, TypeError, KeyError, ValueError) as error:
        raise AvisError(
            f"the index of raw videos cannot be read: {error}",
            where=str(path),
            fix="`dvc checkout --force data/raw` brings back what DVC holds.",
        ) from None
    return table


def _require_ranges(table: pyarrow.Table) -> None:
    """Raise ValueError where a number is not what its field may be."""
    import pyarrow.compute

    kinds = msgspec.inspect.type_info(RawEntry).fields  # type: ignore[attr-defined]
    for field in kinds:
        if field.name not in _WHOLE | _FLOATS or field.name not in table.column_names:
            continue
        (kind,) = (one for one in getattr(field.type, "types", [field.type]) if hasattr(one, "ge"))
        column = table.column(field.name).drop_null()
        inside = pyarrow.compute.and_(
            pyarrow.compute.greater_equal(column, kind.ge), pyarrow.compute.less_equal(column, kind.le)
        )
        if pyarrow.compute.all(inside).as_py() is False:
            raise ValueError(f"{field.name} is outside of {kind.ge:g} to {kind.le:g} somewhere")


def read_raw_index(path: Path) -> list[RawEntry]:
    """Entries in the manifest's order.

    Raises:
        AvisError: as read_raw_table.
    """
    return list(rows_of(read_raw_table(path)))


class RawIndex:
    """The entries of an index that may be too long to be held as rows: read from the file when asked for.

    Raises:
        AvisError: as read_raw_table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return len(read_raw_table(self.path, ["status"]))

    def __iter__(self) -> Iterator[RawEntry]:
        return rows_of(read_raw_table(self.path))

    def counts(self) -> dict[str, int]:
        """How many entries have each status, most first."""
        found = read_raw_table(self.path, ["status"]).column("status").value_counts().to_pylist()
        counts = Counter({str(row["values"]): int(row["counts"]) for row in found})
        return dict(counts.most_common())

    def first(self, status: str) -> tuple[str, str]:
        """Id and message of the first entry with this status."""
        import pyarrow.compute

        table = read_raw_table(self.path, ["video_id", "status", "message"])
        found = table.filter(pyarrow.compute.equal(table.column("status"), status)).slice(0, 1).to_pylist()[0]
        return str(found["video_id"]), str(found["message"])

    def changes(self) -> Changes:
        """What was changed on the way from the sources, of all entries together."""
        together = Changes()
        table = read_raw_table(self.path, ["video_id", "changes"])
        for row in table.filter(table.column("changes").is_valid()).to_pylist():
            together.extend(changes_of_text(row["changes"]), row["video_id"])
        return together

    def total_duration_s(self) -> float:
        """Of all videos together."""
        import pyarrow.compute

        durations = read_raw_table(self.path, ["duration_s"]).column("duration_s")
        return float(pyarrow.compute.sum(durations).as_py() or 0.0)
