"""Download, cut and verify the videos of a manifest.

The way of an entry: read the manifest, leave out the forgotten, reuse what is there, schedule, fetch, remux,
verify, write the index. Each of these is a module of that name beside this one, or in core/raw.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow

from components.core.media.container import MediaError, tracks_taken
from components.core.raw.forgotten import ForgottenVideos
from components.core.raw.index import RawEntry, RawIndex, Status, write_raw_index
from components.core.raw.manifest import ManifestEntry
from components.core.raw.manifest_table import entries_of, read_manifest_table
from components.core.run.disk import noticing_full_disk
from components.core.run.errors import AvisError, MachineError
from components.core.run.files import is_case_sensitive, remove_leftovers, sha256_file
from components.core.run.journal import Journal
from components.core.run.output_folder import alone_in, refuse_foreign_files, refuse_other_downloads
from components.core.run.params import EngineParams, read_block
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import ItemError, Worker
from components.core.storage.base import Store
from components.core.storage.choice import StorageParams, open_store, read_storage
from components.core.tracking.run import data_run
from components.ingest.address import SourceKind, parse_source
from components.ingest.entry_row import fault_row, is_local, new_row, ok_row
from components.ingest.fetch import check_cookies, check_format, fetch
from components.ingest.folder import INDEX, JOURNAL, PARTS, bring_along, known_rows, old_index, prune
from components.ingest.frames import take_frames
from components.ingest.new_index import index_tables
from components.ingest.params import IngestParams
from components.ingest.remux import remux, suffix_of
from components.ingest.reuse import NEW, are_local, positions_of, reuse
from components.ingest.schedule import Task, Tried, schedule
from components.ingest.status import ADVICE, RETRIED, TRANSIENT, DownloadError
from components.ingest.verify import verify

_SHARE_OF_READING = 0.9  # of ingest.item_timeout_s: what takes longer is the file's fault, and no network's


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
        changes = index.changes()
        run.metrics(changes.metrics())
        if changes:
            print("ingest: " + "\n".join(changes.report()), file=sys.stderr)
        check_share(index, params.max_failed_share)
        changes.refuse({}, strict=params.strict, max_share=1, where=str(paths.raw / INDEX), setting="")


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

    # Read the manifest, and leave out the forgotten.
    manifest = _without_forgotten(read_manifest_table(Path(params.manifest)), paths)
    local = are_local(manifest)

    raw = paths.raw
    _refuse_own_output(manifest.filter(pyarrow.array(local)), raw)
    refuse_foreign_files(raw, raw / INDEX, raw / JOURNAL, stage="ingest")
    raw.mkdir(parents=True, exist_ok=True)
    with alone_in(raw, "ingest"):
        _refuse_equal_names(manifest, raw)
        store = open_store(storage.raw if storage else None, raw)
        store.check()
        remove_leftovers(raw)
        known = known_rows(raw)
        if (positions_of(manifest, known.table) == NEW).all():
            refuse_other_downloads(raw, raw / INDEX, known.table)
        if not store.is_local:
            bring_along(raw, store, known.table)

        # Reuse what is there. What belongs to no entry goes first: the disk may need its room.
        reused, spare = reuse(manifest, local, known, params, store)
        todo = manifest.filter(pyarrow.array(reused == NEW))
        there = np.concatenate((reused[reused != NEW], spare[spare != NEW]))
        kept = known.table.column("path").take(pyarrow.array(there))
        prune(raw, store, kept, set(todo.column("video_id").to_pylist()), known.table)

        # Schedule, fetch, remux, verify: `_bring` below, in workers.
        after = known
        if len(todo):
            had = set(manifest.filter(pyarrow.array(spare != NEW)).column("video_id").to_pylist())
            _bring_all(todo, had, params, engine, raw, store)
            after = known_rows(raw)

        # Write the index.
        before = old_index(raw) if after is not known or known.journaled else known.table
        rows = positions_of(manifest, after.table)
        prune(raw, store, after.table.column("path").take(pyarrow.array(rows)), set(), known.table)
        write_raw_index(raw / INDEX, index_tables(manifest, rows, after, before))
        (raw / JOURNAL).unlink(missing_ok=True)
    return RawIndex(raw / INDEX)


def _refuse_equal_names(manifest: pyarrow.Table, raw: Path) -> None:
    """Refuse ids that differ in case alone where the disk takes their files for one (macOS, some shares)."""
    if is_case_sensitive(raw):
        return
    like: dict[str, str] = {}
    for name in manifest.column("video_id").to_pylist():
        if like.setdefault(name.lower(), name) != name:
            raise AvisError(
                f"video_id {like[name.lower()]!r} and {name!r} differ in case alone, which this disk ignores",
                where=str(raw),
                fix="Give one of them another id, or keep data/ on a disk that tells them apart.",
            )


def _bring_all(
    todo: pyarrow.Table, had: set[str], params: IngestParams, engine: EngineParams, raw: Path, store: Store
) -> None:
    """Bring entries; their rows go to the journal, so that a run that is killed loses nothing.

    had: ids of entries of which a video of other settings is there: better that than none.
    """
    stayed = 0
    journal = Journal(raw / JOURNAL, "ingest 1", in_memory=False)
    try:
        for row in schedule(_bring, entries_of(todo), len(todo), params, engine, store):
            if row.status is not Status.OK and row.video_id in had:
                stayed += 1
            else:
                journal.record(row.video_id, asdict(row))
    finally:
        journal.close()
    if stayed:
        print(
            f"ingest: {stayed} videos could not be fetched anew with the changed settings; they stay as they"
            " were.",
            file=sys.stderr,
        )


def _bring(task: Task) -> Tried:
    """Bring one entry to data/raw, trying again after a passing failure. Every reason becomes a status.

    Raises:
        DiskFullError: this machine's disk is.
        OSError: of this machine.
        StorageError: the store does not take the video.
        ItemError: the process that reads the file died: the schedule tries it once more.
    """
    entry, params = task.entry, task.params
    with task.store.workspace() as raw, noticing_full_disk(raw, repr(entry.video_id), lambda: None):
        parts = raw / PARTS / entry.video_id
        attempt, wait_s = 0, None
        while True:
            attempt += 1
            try:
                row = replace(_bring_once(entry, params, raw, parts), attempts=attempt)
            except DownloadError as failure:
                row = new_row(entry, params, failure.status, failure.message, attempt)
                wait_s = failure.retry_after_s
            except MediaError as error:
                row = new_row(entry, params, Status(error.problem.value), error.what, attempt)
            except ItemError as error:
                if error.kind in ("crash", "killed"):
                    raise
                status = Status.UNEXPECTED if error.kind == "error" else Status.TOO_HEAVY
                row = replace(fault_row(entry, params, status, error.what), attempts=attempt)
            except MachineError:
                raise
            except AvisError as error:
                row = new_row(entry, params, Status.BAD_ENTRY, str(error), attempt)
            if row.status not in RETRIED or attempt >= params.attempts:
                break
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 (so that many do not knock together again)
            time.sleep(wait_s if wait_s is not None else params.backoff_s * 2 ** (attempt - 1) * jitter)
        if row.status not in RETRIED:  # else the next run goes on with what is there
            shutil.rmtree(parts, ignore_errors=True)
        if is_local(entry):
            row = replace(row, time=None)
        tried = Tried(row, wait_s)
        if row.path is not None:
            task.store.put(raw, row.path)
    return tried


def _bring_once(entry: ManifestEntry, params: IngestParams, raw: Path, parts: Path) -> RawEntry:
    """Fetch, remux and verify one entry, and give it its name in data/raw."""
    source = parse_source(entry.source)
    if source.kind is SourceKind.FRAMES:
        return _apart(partial(take_frames, source, entry, params, raw), params)
    parts.mkdir(parents=True, exist_ok=True)
    fetched = fetch(source, parts, params)
    source_sha256 = sha256_file(fetched.files[0]) if len(fetched.files) == 1 else None
    if entry.sha256 is not None and source_sha256 is not None and source_sha256 != entry.sha256:
        shutil.rmtree(parts)
        raise MediaError(f"the file's SHA-256 is {source_sha256}, the manifest says {entry.sha256}")
    row = _apart(partial(_keep, fetched.files, source_sha256, entry, params, raw, parts), params)
    return replace(
        row,
        site_license=fetched.license,
        site_uploader=fetched.uploader,
        license=entry.license or fetched.license,
        uploader=entry.uploader or fetched.uploader,
    )


def _apart(work: Callable[[], RawEntry], params: IngestParams) -> RawEntry:
    """Do what reads a stranger's file in a process of this worker's own, which has no network.

    Raises:
        ItemError: what became of that process.
        AvisError: as `work`.
    """
    most_s = _SHARE_OF_READING * params.item_timeout_s
    reader = _reader(Limits(network=False, cpu_s=most_s, file_bytes=2 * params.most_bytes))  # two are joined
    return reader.attempt("", work, most_s).result()


@cache
def _reader(limits: Limits) -> Worker[Callable[[], RawEntry], RawEntry]:
    return Worker(_call, limits=limits, start="fork")


def _call(work: Callable[[], RawEntry]) -> RawEntry:
    return work()


def _keep(
    files: list[Path],
    source_sha256: str | None,
    entry: ManifestEntry,
    params: IngestParams,
    raw: Path,
    parts: Path,
) -> RawEntry:
    """Remux and verify what was fetched, and give it its name in data/raw."""
    changes = tracks_taken(files)
    path, frame_s = remux(files, parts, start_s=entry.start_s, end_s=entry.end_s, changes=changes)
    verified = verify(path, min_duration_s=params.min_duration_s, frame_s=frame_s)
    verified = replace(verified, changes=changes.text() or None)
    target = raw / f"{entry.video_id}{suffix_of(path)}"
    untouched = path == files[0]
    digest = source_sha256 if untouched and source_sha256 is not None else sha256_file(path)
    with path.open("rb+") as file:  # on disk before it gets its name
        os.fsync(file.fileno())
    path.replace(target)
    return ok_row(
        entry,
        params,
        verified,
        path=target.name,
        sha256=digest,
        source_sha256=source_sha256,
        size_bytes=target.stat().st_size,
    )


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
