"""The new index: each entry's row, with what the manifest says about it now."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.core.raw.index import ROWS_AT_ONCE, RawEntry, Status
from components.core.raw.manifest_table import sources_kept
from components.ingest.folder import Known
from components.ingest.reuse import NEW, equal, positions_of
from components.ingest.status import TRANSIENT

_KEEP_TIME = sorted(status.value for status in {Status.OK, *TRANSIENT})


def index_tables(
    manifest: pyarrow.Table, rows: NDArray[np.int64], known: Known, old: pyarrow.Table
) -> Iterator[pyarrow.Table]:
    """The new index in parts: for each entry its row, with what the manifest says about it now."""
    for begin in range(0, len(manifest), ROWS_AT_ONCE):
        chosen = rows[begin : begin + ROWS_AT_ONCE]
        part = known.table.take(pyarrow.array(chosen))
        said = manifest.slice(begin, ROWS_AT_ONCE)
        for name in ("license", "uploader", "split"):  # where the manifest says nothing, the site is heard
            value = said.column(name)
            if name != "split":
                value = pc.coalesce(value, part.column(f"site_{name}").cast(pyarrow.string()))
            part = part.set_column(part.schema.get_field_index(name), name, value)
        kept = sources_kept(said.column("source"))  # an older version kept passwords, too
        part = part.set_column(part.schema.get_field_index("source"), "source", kept)
        if (chosen < known.journaled).any() and len(old):
            times = pyarrow.array(_times(part, old), pyarrow.string())
            part = part.set_column(part.schema.get_field_index("time"), "time", times)
        yield part


def _times(fresh: pyarrow.Table, old: pyarrow.Table) -> list[str | None]:
    """Keep the time of the first such result, so that a run that changes nothing changes no byte.

    A permanent failure that was asked for again has its new time, from which the days are counted.
    """
    positions = positions_of(fresh, old)
    before = old.take(pyarrow.array(np.maximum(positions, 0)))
    same = positions != NEW
    for field in fields(RawEntry):
        if field.name not in ("time", "attempts"):
            same &= equal(fresh.column(field.name), before.column(field.name))
    lasting = pc.is_in(fresh.column("status").cast(pyarrow.string()), pyarrow.array(_KEEP_TIME))
    kept = pc.and_(pyarrow.array(same), lasting.combine_chunks())
    times: list[str | None] = pc.if_else(kept, before.column("time"), fresh.column("time")).to_pylist()
    return times
