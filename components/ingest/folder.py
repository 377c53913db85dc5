"""What lies in data/raw and in the store: what earlier runs know of it, and what must go."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.core.raw.index import RawEntry, raw_table, read_raw_table
from components.core.run.engine import progress_bar
from components.core.run.errors import AvisError
from components.core.run.files import remove, written_s
from components.core.run.journal import read_journal
from components.core.storage.base import Store

INDEX = "index.parquet"
JOURNAL = ".journal"
PARTS = ".parts"  # downloads that are not finished, kept for resuming


@dataclass(frozen=True)
class Known:
    """What earlier runs made, each video once.

    Attributes:
        table: rows, those of the journal first, [K].
        journaled: how many are the journal's.
        checked_s: until when the files of the index's rows are known to be as they were written.
    """

    table: pyarrow.Table
    journaled: int
    checked_s: float

    @property
    def seen_s(self) -> NDArray[np.float64]:
        """As `checked_s` for every row; a journal's are looked at again, [K]."""
        seen = np.full(len(self.table), self.checked_s)
        seen[: self.journaled] = 0.0
        return seen


def known_rows(raw: Path) -> Known:
    """The rows of the journal and, for other videos, of the index."""
    journaled = raw_table(journaled_rows(raw / JOURNAL))
    index = raw / INDEX
    old = old_index(raw)
    if len(journaled):
        ours = pc.is_in(old.column("video_id"), journaled.column("video_id").combine_chunks())
        old = old.filter(pc.invert(ours))
    table = pyarrow.concat_tables([journaled, old]).unify_dictionaries()
    return Known(table, len(journaled), written_s(index))


def old_index(raw: Path) -> pyarrow.Table:
    """The rows of the index, none if there is no index that can be read."""
    try:
        return read_raw_table(raw / INDEX)
    except AvisError:
        return raw_table([])  # everything is looked at again


def journaled_rows(journal: Path) -> Iterator[RawEntry]:
    """Each entry's last row of a journal, which another process may be writing."""
    last = {key: number for number, (key, _) in enumerate(read_journal(journal))}
    for number, (key, value) in enumerate(read_journal(journal)):
        if last[key] == number:
            with suppress(msgspec.ValidationError):  # a damaged line costs its entry only
                yield msgspec.convert(value, RawEntry)  # fields of another version are passed over


def bring_along(raw: Path, store: Store, known: pyarrow.Table) -> None:
    """Move the videos that lie on this machine to a store that is elsewhere."""
    paths = set(known.column("path").to_pylist())
    here = sorted(entry.name for entry in os.scandir(raw) if entry.name in paths)
    if not here:
        return
    with progress_bar(len(here), "move to the store") as bar:
        for name in here:
            store.put(raw, name)
            remove(raw / name)
            bar.update()


def prune(
    raw: Path, store: Store, wanted: pyarrow.ChunkedArray, parts: set[str], known: pyarrow.Table
) -> None:
    """Remove what belongs to no entry.

    In a folder of this machine that is everything else; of a bucket only what earlier runs brought there.

    Args:
        raw: data/raw.
        store: where the videos are.
        wanted: names of videos.
        parts: ids of entries whose unfinished download is kept.
        known: what earlier runs made.
    """
    if not store.is_local:
        paths = known.column("path").drop_null()
        store.remove(sorted(paths.filter(pc.invert(pc.is_in(paths, wanted.combine_chunks()))).to_pylist()))
        wanted = wanted.slice(0, 0)
    here = pyarrow.array([entry.name for entry in os.scandir(raw)], pyarrow.string())
    for name in here.filter(pc.invert(pc.is_in(here, wanted.combine_chunks()))).to_pylist():
        if name == PARTS:
            _prune_parts(raw / PARTS, parts)
        elif name not in (INDEX, JOURNAL):
            remove(raw / name)


def _prune_parts(folder: Path, wanted: set[str]) -> None:
    for part in list(folder.iterdir()):
        if part.name not in wanted:
            remove(part)
    if not any(folder.iterdir()):
        folder.rmdir()
