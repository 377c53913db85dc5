"""The manifest, CSV or Parquet: which videos to get; checked when read, messages name row and field."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.records.annotations import SPLITS
from components.core.records.ranges import LATEST_S
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, safe_name, write_text

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One video to get: from where, which part of it, and under which terms."""

    video_id: str
    source: str  # a URL, a YouTube id, or a path
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None
    license: str | None = None
    sha256: str | None = None  # of the source file, if known
    uploader: str | None = None


_COLUMNS = tuple(column.name for column in fields(ManifestEntry))


def manifest_schema() -> "pyarrow.Schema":
    """The columns of a manifest: the fields of ManifestEntry."""
    import pyarrow

    return pyarrow.schema(
        [(name, pyarrow.float64() if name.endswith("_s") else pyarrow.string()) for name in _COLUMNS]
    )


def table_of(entries: Sequence[ManifestEntry]) -> "pyarrow.Table":
    """Entries as columns, manifest_schema()."""
    import pyarrow

    columns = {name: [getattr(entry, name) for entry in entries] for name in _COLUMNS}
    return pyarrow.table(columns, schema=manifest_schema())


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Read a manifest, CSV (columns as the fields of ManifestEntry) or parquet.

    Raises:
        AvisError: if the file is missing, empty or malformed; it names file, row (the line in CSV) and field.
    """
    if not path.is_file():
        raise AvisError(
            "the manifest does not exist", where=str(path), fix="Correct ingest.manifest in params.yaml."
        )
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    entries: list[ManifestEntry] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        entry = _entry(row, path, number)
        if entry.video_id in seen:
            raise AvisError(
                f"video_id {entry.video_id!r} stands twice",
                where=f"{path}, rows {seen[entry.video_id]} and {number}, field video_id",
                fix="Give each clip an id of its own.",
            )
        seen[entry.video_id] = number
        entries.append(entry)
    if not entries:
        raise AvisError("the manifest is empty", where=str(path), fix="Add a row for each video.")
    return entries


def write_manifest(path: Path, entries: Sequence[ManifestEntry]) -> None:
    """Write a manifest as CSV or parquet, after the name's ending."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        with replace_file(path) as temporary:
            pyarrow.parquet.write_table(table_of(entries), temporary)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")  # noqa: TID251 (the user's own: read back as it is)
    writer.writerow(_COLUMNS)
    writer.writerows(astuple(entry) for entry in entries)  # of None, csv makes an empty cell
    write_text(path, text.getvalue())


def _csv_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AvisError(f"the manifest is not UTF-8 text: {error.reason}", where=str(path)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(header, path)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise AvisError(
                    f"the row has {len(row)} cells, the header has {len(header)}",
                    where=f"{path}, row {reader.line_num}",
                )
            yield (
                reader.line_num,
                {name: cell.strip() or None for name, cell in zip(header, row, strict=True)},
            )
    except csv.Error as error:
        raise AvisError(f"not valid CSV: {error}", where=f"{path}, row {reader.line_num}") from None


def _parquet_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise AvisError(f"not a readable parquet file: {error}", where=str(path)) from None
    _check_columns(table.column_names, path)
    return list(enumerate(table.to_pylist(), start=1))


def _check_columns(header: list[str], path: Path) -> None:
    if not header:
        raise AvisError(
            "the manifest is empty", where=str(path), fix=f"Its columns are {', '.join(_COLUMNS)}."
        )
    for name in ("video_id", "source"):
        if name not in header:
            raise AvisError(
                f"the column {name!r} is missing",
                where=f"{path}, row 1",
                fix=f"Its columns are {', '.join(_COLUMNS)}.",
            )
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            problem = "is unknown" if name not in _COLUMNS else "stands twice"
            raise AvisError(
                f"the column {name!r} {problem}",
                where=f"{path}, row 1",
                fix=f"Allowed: {', '.join(_COLUMNS)}.",
            )


def _entry(row: dict[str, Any], path: Path, number: int) -> ManifestEntry:
    def fail(name: str, what: str, fix: str | None = None) -> AvisError:
        return AvisError(what, where=f"{path}, row {number}, field {name}", fix=fix)

    values: dict[str, Any] = {name: None if value == "" else value for name, value in row.items()}
    for name in ("start_s", "end_s"):
        value = values.get(name)
        if value is None:
            continue
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise fail(name, f"{value!r} is not a number of seconds") from None
        if not 0 <= values[name] <= LATEST_S:
            raise fail(name, f"{value} is not a time in a video", "Give seconds from the start, 0 or more.")
    for name, value in values.items():
        if value is not None and not name.endswith("_s") and not isinstance(value, str):
            raise fail(name, f"{value!r} is not text")
    for name in ("video_id", "source"):
        if not values.get(name):
            raise fail(name, f"{name} is missing")
    try:
        safe_name(values["video_id"])
    except AvisError as error:
        raise fail("video_id", error.what, error.fix) from None
    if values.get("end_s") is not None and (values.get("start_s") or 0.0) >= values["end_s"]:
        raise fail(
            "end_s", f"the end {values['end_s']} s is not after the start {values.get('start_s') or 0.0} s"
        )
    if values.get("split") is not None and values["split"] not in SPLITS:
        raise fail("split", f"{values['split']!r} is no split", f"Allowed: {', '.join(SPLITS)}, or nothing.")
    if values.get("sha256") is not None:
        values["sha256"] = values["sha256"].lower()
        if not re.fullmatch(r"[0-9a-f]{64}", values["sha256"]):
            raise fail("sha256", f"{values['sha256'][:80]!r} is no SHA-256", "It has 64 hexadecimal digits.")
    return ManifestEntry(**values)
