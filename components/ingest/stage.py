"""Download, cut and verify the videos of a manifest."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from components.core.engine import Outcome, run_items
from components.core.errors import AvisError
from components.core.files import remove_leftovers, sha256_file
from components.core.journal import Journal
from components.core.params import EngineParams, read_block
from components.core.paths import Paths
from components.core.raw_index import RawEntry, Status, read_raw_index, write_raw_index
from components.core.records import ManifestEntry, read_manifest
from components.core.stage import run_stage
from components.core.tracking import data_run
from components.ingest.fetch import PARTS, Fetched, Task, fetch, fingerprint, is_local, new_row
from components.ingest.params import IngestParams
from components.ingest.source import parse_source
from components.ingest.status import ADVICE, PAUSING, TRANSIENT

INDEX = "index.parquet"
_JOURNAL = ".journal"


def main() -> None:
    """Run the stage as a process: parameters from params.yaml, tracking, exit code."""
    run_stage("ingest", _run)


def _run() -> None:
    params = read_block("ingest", IngestParams)
    engine = read_block("engine", EngineParams)
    paths = Paths()
    with data_run("ingest", params=params.model_dump(exclude={"proxy", "cookies_file"})) as run:
        start = time.monotonic()
        rows = ingest(params, engine, paths)
        run.metrics({f"status.{name}": float(count) for name, count in counts(rows).items()})
        run.metrics(
            {
                "videos": float(len(rows)),
                "failed": float(sum(row.status is not Status.OK for row in rows)),
                "hours_of_video": sum(row.duration_s or 0.0 for row in rows) / 3600,
                "stage_duration_s": time.monotonic() - start,
            }
        )
        run.artifact(paths.raw / INDEX)
        check_share(rows, params.max_failed_share, paths.raw / INDEX)


def ingest(params: IngestParams, engine: EngineParams, paths: Paths) -> list[RawEntry]:
    """Bring every entry of the manifest to data/raw, and write the index.

    What an earlier run finished stays as it is, what the manifest no longer holds is removed. Call
    `check_share` on the result: this function does not judge it.

    Returns:
        One row per entry, in the manifest's order.

    Raises:
        AvisError: the manifest is not readable, or this machine's disk is full.
    """
    entries = read_manifest(Path(params.manifest))
    raw = paths.raw
    _refuse_own_output(entries, raw)
    raw.mkdir(parents=True, exist_ok=True)
    remove_leftovers(raw)
    journal = Journal(raw / _JOURNAL, "ingest 1")
    rows = _finished_before(entries, params, raw, journal)
    _prune(raw, {row.path for row in rows.values()} | {entry.video_id for entry in entries})
    waiting = [entry for entry in entries if entry.video_id not in rows]
    try:
        for row in _fetch_all(waiting, params, engine, raw):
            journal.record(row.video_id, _plain(row))
            rows[row.video_id] = row
    finally:
        journal.close()
    old = {row.video_id: row for row in _old_index(raw)}
    ordered = [_keep_time(_refresh(rows[entry.video_id], entry), old) for entry in entries]
    _prune(raw, {row.path for row in ordered})
    write_raw_index(raw / INDEX, ordered)
    journal.remove()
    return ordered


def counts(rows: Iterable[RawEntry]) -> dict[str, int]:
    """How many entries have each status, most first."""
    return dict(Counter(str(row.status) for row in rows).most_common())


def check_share(rows: list[RawEntry], max_failed_share: float, index: Path) -> None:
    """Say how the entries fared; raise if too many failed.

    Raises:
        AvisError: with the counts per status and what to do about each.
    """
    failed = [row for row in rows if row.status is not Status.OK]
    if not failed:
        return
    firsts = {name: next(row for row in failed if row.status == name) for name in counts(failed)}
    advice = "; ".join(
        f"{name}: {ADVICE[Status(name)]} (first: {first.video_id!r}: {first.message})"
        for name, first in firsts.items()
    )
    numbers = ", ".join(f"{count} {name}" for name, count in counts(failed).items())
    share = len(failed) / len(rows)
    if share > max_failed_share or len(failed) == len(rows):
        raise AvisError(
            f"{len(failed)} of {len(rows)} videos failed ({share:.0%}, ingest.max_failed_share allows"
            f" {max_failed_share:.0%}): {numbers}",
            where=str(index),
            fix=f"What to do: {advice}.",
        )
    print(f"ingest: {len(failed)} of {len(rows)} videos failed: {numbers}. {advice}.", file=sys.stderr)


def _fetch_all(
    waiting: list[ManifestEntry], params: IngestParams, engine: EngineParams, raw: Path
) -> Iterable[RawEntry]:
    """Rows as they come. A site that wants a rest gets it, and a crashed worker's entry a second chance."""
    crashed: set[str] = set()
    pauses = 0
    rested_until_s = 0.0
    while waiting:
        entries = {entry.video_id: entry for entry in waiting}
        waiting = []
        left = dict(entries)
        tasks = [(entry.video_id, Task(entry, params, raw)) for entry in entries.values()]
        for outcome in run_items(
            fetch, tasks, engine=engine, timeout_s=params.item_timeout_s, label="ingest"
        ):
            entry = entries[outcome.key]
            if outcome.kind == "crash" and outcome.key not in crashed:
                crashed.add(outcome.key)
                waiting.append(entry)
                continue
            fetched = _fetched(outcome, entry, params)
            if fetched.row.status not in PAUSING:
                left.pop(outcome.key)
                yield fetched.row
                continue
            if pauses >= params.max_pauses:
                if fetched.finished_at_s < rested_until_s:  # was on its way before the rest
                    waiting.append(entry)
                    continue
                left.pop(outcome.key)
                yield fetched.row
                for other in [*left.values()]:
                    yield new_row(
                        other, params, fetched.row.status, f"not tried: {fetched.row.message}", attempts=0
                    )
                return
            waiting.append(entry)
            if fetched.finished_at_s >= rested_until_s:
                pauses += 1
                rest_s = params.pause_s if fetched.retry_after_s is None else fetched.retry_after_s
                print(
                    f"ingest: {fetched.row.status} at {outcome.key!r}: {fetched.row.message}."
                    f" All downloads rest for {rest_s:.0f} s ({pauses} of {params.max_pauses}).",
                    file=sys.stderr,
                )
                time.sleep(rest_s)
                rested_until_s = time.time()


def _fetched(outcome: Outcome[Fetched], entry: ManifestEntry, params: IngestParams) -> Fetched:
    if outcome.kind == "ok" and outcome.value is not None:
        return outcome.value
    if "No space left on device" in outcome.message:
        raise AvisError(
            "the disk is full",
            where=f"{params.manifest}, {entry.video_id!r}",
            fix="Make room and run the stage again: what is finished is kept.",
        )
    status = {"timeout": Status.TIMEOUT, "crash": Status.CORRUPT}.get(outcome.kind, Status.UNSUPPORTED)
    row = new_row(entry, params, status, outcome.message)
    return Fetched(replace(row, time=None) if is_local(entry) else row, None, time.time())


def _finished_before(
    entries: list[ManifestEntry], params: IngestParams, raw: Path, journal: Journal
) -> dict[str, RawEntry]:
    """Rows of an earlier run, finished or killed, that need no new download."""
    index = raw / INDEX
    checked_s = index.stat().st_mtime if index.is_file() else 0.0
    known = {row.video_id: (row, checked_s) for row in _old_index(raw)}
    for key, value in journal.finished.items():
        known[key] = (RawEntry(**{**value, "status": Status(value["status"])}), 0.0)
    kept = {}
    for entry in entries:
        row, seen_s = known.get(entry.video_id, (None, 0.0))
        if row is None or row.fingerprint != fingerprint(entry, params):
            continue
        if row.status is Status.OK:
            if _is_intact(raw, row, seen_s) and _source_is_the_same(entry, row, raw):
                kept[entry.video_id] = row
        elif not is_local(entry) and row.status not in TRANSIENT and row.time is not None:
            again = datetime.fromisoformat(row.time) + timedelta(days=params.retry_permanent_after_days)
            if datetime.now(UTC) < again:
                kept[entry.video_id] = row
    return kept


def _is_intact(raw: Path, row: RawEntry, checked_s: float) -> bool:
    """Whether the video is as it was written; hashed only if it changed since `checked_s`."""
    if row.path is None:
        return False
    path = raw / row.path
    if path.is_dir():
        return sum(file.stat().st_size for file in path.iterdir()) == row.size_bytes
    if not path.is_file() or path.stat().st_size != row.size_bytes:
        return False
    return path.stat().st_mtime <= checked_s or sha256_file(path) == row.sha256


def _source_is_the_same(entry: ManifestEntry, row: RawEntry, raw: Path) -> bool:
    """Whether a local file still holds what was taken from it; a source that is gone counts as the same."""
    source = parse_source(entry.source)
    if source.path is None or not source.path.is_file() or row.path is None:
        return True
    changed_s = max(source.path.stat().st_mtime, source.path.stat().st_ctime)
    return changed_s < (raw / row.path).stat().st_mtime or sha256_file(source.path) == row.source_sha256


def _old_index(raw: Path) -> list[RawEntry]:
    try:
        return read_raw_index(raw / INDEX)
    except AvisError:
        return []  # none, or of another version: everything is looked at again


def _refresh(row: RawEntry, entry: ManifestEntry) -> RawEntry:
    """What the manifest says about a video may change without a new download."""
    return replace(row, license=entry.license, uploader=entry.uploader, split=entry.split)


def _keep_time(row: RawEntry, old: dict[str, RawEntry]) -> RawEntry:
    """Keep the time of the first such result, so that a run that changes nothing changes no byte.

    A permanent failure that was asked for again has its new time, from which the days are counted.
    """
    before = old.get(row.video_id)
    if before is None or replace(before, time=row.time, attempts=row.attempts) != row:
        return row
    return (
        row if row.status is not Status.OK and row.status not in TRANSIENT else replace(row, time=before.time)
    )


def _plain(row: RawEntry) -> dict[str, object]:
    return {**asdict(row), "status": str(row.status)}


def _prune(raw: Path, wanted: set[str | None]) -> None:
    """Remove what belongs to no entry; `wanted` holds names, or ids of entries still to be fetched."""
    for path in raw.iterdir():
        if path.name in (INDEX, _JOURNAL) or path.name in wanted:
            continue
        if path.name == PARTS:
            for part in path.iterdir():
                if part.name not in wanted:
                    shutil.rmtree(part)
            if not any(path.iterdir()):
                path.rmdir()
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _refuse_own_output(entries: list[ManifestEntry], raw: Path) -> None:
    """A source inside data/raw would be pruned."""
    output = raw.absolute()
    for entry in entries:
        try:
            source = parse_source(entry.source)
        except AvisError:
            continue  # becomes a bad_entry
        if source.path is not None and output in (source.path, *source.path.parents):
            raise AvisError(
                f"the source of {entry.video_id!r} lies in the stage's own output folder",
                where=str(source.path),
                fix="Move it elsewhere: that folder is rewritten.",
            )
