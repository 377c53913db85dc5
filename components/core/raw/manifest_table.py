"""A manifest as columns: a million rows in a second, by the rules of manifest.read_manifest.

Whatever is unusual about a file is left to the reader that goes row by row, which knows what to say about it.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from components.core.raw.manifest import ManifestEntry, manifest_schema, read_manifest, table_of
from components.core.records.annotations import SPLITS
from components.core.records.ranges import LATEST_S
from components.core.text.redaction import redacted_address

MANIFEST_SCHEMA = manifest_schema()
_SAFE_ID = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$"  # as files.safe_name
_ROWS_AT_ONCE = 50_000
_TELLING = "(?i)://.*@|[?&;#][^=]*(?:signature|token|secret|pass|key|credential|session|jwt|auth|pwd|sig)"


def read_manifest_table(path: Path) -> pyarrow.Table:
    """Read a manifest, CSV or Parquet, as MANIFEST_SCHEMA.

    Raises:
        AvisError: as read_manifest.
    """
    table = _quick(path)
    pyarrow.default_memory_pool().release_unused()  # reading takes some times the table
    return table_of(read_manifest(path)) if table is None else table


def sources_kept(sources: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray:
    """Sources as the index has them, to compare with its own: without passwords and keys."""
    found = pc.match_substring_regex(sources, _TELLING)
    if not pc.any(found).as_py():
        return sources  # the usual case, and quick
    kept = [redacted_address(source) for source in sources.filter(found).to_pylist()]
    return pc.replace_with_mask(sources, found.combine_chunks(), pyarrow.array(kept, pyarrow.string()))


def entries_of(table: pyarrow.Table) -> Iterator[ManifestEntry]:
    """Columns as entries, made as they are asked for."""
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield ManifestEntry(**row)


def _quick(path: Path) -> pyarrow.Table | None:
    """The manifest, None unless every row is plainly right."""
    try:
        table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else _read_csv(path)
        names = table.column_names
        if not len(table) or len(set(names)) < len(names) or not {"video_id", "source"} <= set(names):
            return None
        columns = {name: _column(table, name) for name in MANIFEST_SCHEMA.names}
    except (pyarrow.ArrowException, OSError, ValueError):
        return None
    found = pyarrow.table(columns, schema=MANIFEST_SCHEMA)
    return found if set(names) <= set(MANIFEST_SCHEMA.names) and _is_right(found) else None


def _read_csv(path: Path) -> pyarrow.Table:
    with path.open("rb") as file:
        first = file.readline().decode("utf-8-sig")
        if '"' in first or any(b'"' in block for block in iter(lambda: file.read(2**20), b"")):
            raise ValueError("quotes, and what is inside them, are for the careful reader")
    names = [name.strip() for name in first.rstrip("\r\n").split(",")]
    options = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pyarrow.string()), strings_can_be_null=True, null_values=[""]
    )
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=True, quote_char=False),
        convert_options=options,
    )


def _column(table: pyarrow.Table, name: str) -> pyarrow.ChunkedArray | pyarrow.Array:
    if name not in table.column_names:
        return pyarrow.nulls(len(table), MANIFEST_SCHEMA.field(name).type)
    column = table.column(name)
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), None, column)
    elif MANIFEST_SCHEMA.field(name).type == pyarrow.string() and not pyarrow.types.is_null(column.type):
        raise ValueError(f"{name} is not text")
    return column.cast(MANIFEST_SCHEMA.field(name).type)


def _is_right(table: pyarrow.Table) -> bool:
    """Whether every row keeps every rule of read_manifest; None counts as kept."""
    start_s, end_s = table.column("start_s"), table.column("end_s")
    identities = table.column("video_id")
    rules = [
        pc.and_(pc.greater_equal(times, 0), pc.less_equal(times, LATEST_S)) for times in (start_s, end_s)
    ]
    rules += [
        pc.less(pc.fill_null(start_s, 0.0), end_s),
        pc.is_in(table.column("split"), pyarrow.array([*SPLITS, None], pyarrow.string())),
        pc.match_substring_regex(table.column("sha256"), r"^[0-9a-f]{64}$"),
        pc.match_substring_regex(identities, _SAFE_ID),
        pc.invert(pc.match_substring(identities, "..")),
    ]
    complete = all(table.column(name).null_count == 0 for name in ("video_id", "source"))
    return (
        complete
        and all(pc.all(rule).as_py() in (True, None) for rule in rules)
        and pc.count_distinct(identities).as_py() == len(table)
    )
