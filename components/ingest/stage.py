"""Download, cut and verify the videos of a manifest."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.core.raw.forgotten import ForgottenVideos
from components.core.raw.index import ROWS_AT_ONCE, RawEntry, RawIndex, Status, write_raw_index
from components.core.raw.manifest_table import entries_of, read_manifest_table
from components.core.run.errors import AvisError
from components.core.run.files import remove_leftovers
from components.core.run.journal import Journal
from components.core.run.output_folder import alone_in, refuse_foreign_files, refuse_other_downloads
from components.core.run.params import EngineParams, read_block
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.core.storage.base import Store
from components.core.storage.choice import StorageParams, open_store, read_storage
from components.core.tracking.run import data_run
from components.ingest.address import parse_source
from components.ingest.download import check_cookies, check_format
from components.ingest.folder import INDEX, JOURNAL, Known, bring_along, known_rows, old_index, prune
from components.ingest.params import IngestParams
from components.ingest.reuse import NEW, are_local, equal, finished_before, positions_of
from components.ingest.schedule import fetch_all
from components.ingest.status import ADVICE, TRANSIENT

_KEEP_TIME = sorted(status.value for status in {Status.OK, *TRANSIENT})


def main() -> None:
    """Run the stage as a process: parameters from params.yaml, tracking, exit code."""
    run_stage("ingest", _run)


def _run() -> None:
    params = read_block("ingest", IngestParams)
    engine = read_block("engine", EngineParams)
    paths = Paths()
    with data_run("ingest", params=params.model_dump(exclude={"proxy", "cookies_file"})) as run:
        start = time.monotonic()
        index = ingest(params, engine, paths, read_storage())
        counts = index.counts()
        run.metrics({f"status.{name}": float(count) for name, count in counts.items()})
        run.metrics(
            {
                "videos": float(len(index)),
                "failed": float(len(index) - counts.get(Status.OK.value, 0)),
                "hours_of_video": index.total_duration_s() / 3600,
                "stage_duration_s": time.monotonic() - start,
            }
        )
        run.artifact(paths.raw / INDEX)
        check_share(index, params.max_failed_share)


def ingest(
    params: IngestParams, engine: EngineParams, paths: Paths, storage: StorageParams | None = None
) -> RawIndex:
    """Bring every entry of the manifest to data/raw, or to the store, and write the index.

    What an earlier run finished stays as it is, what the manifest no longer holds is removed. Call
    `check_share` on the result: this function does not judge it.

    Returns:
        One row per entry, in the manifest's order.

    Raises:
        AvisError: the manifest is not readable, the output folder holds what is not ours or another
            dataset's downloads, the store is not reachable, or this machine's disk is full.
    """
    check_format(params.format)
    check_cookies(params.cookies_file)
    manifest = read_manifest_table(Path(params.manifest))
    manifest = _without_forgotten(manifest, paths)
    raw = paths.raw
    local = are_local(manifest)
    _refuse_own_output(manifest.filter(pyarrow.array(local)), raw)
    refuse_foreign_files(raw, raw / INDEX, raw / JOURNAL, stage="ingest")
    raw.mkdir(parents=True, exist_ok=True)
    with alone_in(raw, "ingest"):
        store = open_store(storage.raw if storage else None, raw)
        store.check()
        remove_leftovers(raw)
        known = known_rows(raw)
        if (positions_of(manifest, known.table) == NEW).all():
            refuse_other_downloads(raw, raw / INDEX, known.table)
        after = _fetch_missing(manifest, local, known, params, engine, raw, store)
        before = old_index(raw) if after is not known or known.journaled else known.table
        rows = positions_of(manifest, after.table)
        prune(raw, store, after.table.column("path").take(pyarrow.array(rows)), set(), known.table)
        write_raw_index(raw / INDEX, _index(manifest, rows, after, before))
        (raw / JOURNAL).unlink(missing_ok=True)
    return RawIndex(raw / INDEX)


def _fetch_missing(
    manifest: pyarrow.Table,
    local: NDArray[np.bool_],
    known: Known,
    params: IngestParams,
    engine: EngineParams,
    raw: Path,
    store: Store,
) -> Known:
    """Fetch what earlier runs have not; returns the rows of all."""
    if not store.is_local:
        bring_along(raw, store, known.table)
    rows, spare = finished_before(manifest, local, known.table, known.seen_s, params, store)
    todo = manifest.filter(pyarrow.array(rows == NEW))
    there = np.concatenate((rows[rows != NEW], spare[spare != NEW]))
    kept = known.table.column("path").take(pyarrow.array(there))
    prune(raw, store, kept, set(todo.column("video_id").to_pylist()), known.table)
    if not len(todo):
        return known
    had = set(manifest.filter(pyarrow.array(spare != NEW)).column("video_id").to_pylist())
    stayed = 0
    journal = Journal(raw / JOURNAL, "ingest 1", in_memory=False)
    try:
        for row in fetch_all(entries_of(todo), len(todo), params, engine, store):
            if row.status is not Status.OK and row.video_id in had:
                stayed += 1  # better the video of other settings than none
            else:
                journal.record(row.video_id, {**asdict(row), "status": row.status.value})
    finally:
        journal.close()
    if stayed:
        print(
            f"ingest: {stayed} videos could not be fetched anew with the changed settings; they stay as they"
            " were.",
            file=sys.stderr,
        )
    return known_rows(raw)


def check_share(index: RawIndex, max_failed_share: float) -> None:
    """Say how the entries fared; raise if too many failed.

    Raises:
        AvisError: with the counts per status and what to do about each.
    """
    failed = {name: count for name, count in index.counts().items() if name != Status.OK.value}
    if not failed:
        return
    firsts = {name: index.first(name) for name in failed}
    advice = "; ".join(
        f"{name}: {ADVICE[Status(name)]} (first: {video_id!r}: {message})"
        for name, (video_id, message) in firsts.items()
    )
    numbers = ", ".join(f"{count} {name}" for name, count in failed.items())
    count = sum(failed.values())
    share = count / len(index)
    if share > max_failed_share or count == len(index):
        raise AvisError(
            f"{count} of {len(index)} videos failed ({share:.0%}, ingest.max_failed_share allows"
            f" {max_failed_share:.0%}): {numbers}",
            where=str(index.path),
            fix=f"What to do: {advice}.",
            passing=2 * sum(failed.get(status.value, 0) for status in TRANSIENT) > count,
        )
    print(f"ingest: {count} of {len(index)} videos failed: {numbers}. {advice}.", file=sys.stderr)


def _index(
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


def _without_forgotten(manifest: pyarrow.Table, paths: Paths) -> pyarrow.Table:
    """The manifest without what was removed on request (`avis forget`)."""
    forgotten = ForgottenVideos(paths.root / "forgotten.csv")
    if not len(forgotten):
        return manifest
    ids, sources = manifest.column("video_id").to_pylist(), manifest.column("source").to_pylist()
    kept = [not forgotten.has(*entry) for entry in zip(ids, sources, strict=True)]
    if all(kept):
        return manifest
    print(f"ingest: {kept.count(False)} entries are left out: {forgotten.path} names them.", file=sys.stderr)
    if not any(kept):
        raise AvisError("every video of the manifest is forgotten", where=str(forgotten.path))
    return manifest.filter(pyarrow.array(kept))


def _refuse_own_output(local: pyarrow.Table, raw: Path) -> None:
    """A source inside data/raw would be pruned."""
    output = raw.absolute()
    for video_id, text in zip(
        local.column("video_id").to_pylist(), local.column("source").to_pylist(), strict=True
    ):
        if raw.name not in text:
            continue  # quick, since they may be many
        try:
            source = parse_source(text)
        except AvisError:
            continue  # becomes a bad_entry
        if source.path is not None and output in (source.path, *source.path.parents):
            raise AvisError(
                f"the source of {video_id!r} lies in the stage's own output folder",
                where=str(source.path),
                fix="Move it elsewhere: that folder is rewritten.",
            )
