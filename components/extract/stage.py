"""Frames, sound and, with an encoder, audio features of every raw video."""

import importlib.metadata
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from components.core.clips.index import (
    FEATURES_OF_SOURCE,
    MediaEntry,
    read_media_index,
    write_media_index,
)
from components.core.raw.index import RawEntry, Status, read_raw_index, status_of
from components.core.records.changes import Changes, changes_of_text
from components.core.run.engine import run_items
from components.core.run.errors import AvisError
from components.core.run.files import remove, remove_leftovers, written_s
from components.core.run.journal import Journal
from components.core.run.output_folder import alone_in, refuse_foreign_files
from components.core.run.params import EngineParams, read_block
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import Outcome
from components.core.storage.base import Store
from components.core.storage.choice import StorageParams, open_store, read_storage
from components.core.storage.names import MediaFinder, all_names, names
from components.core.tracking.run import data_run
from components.extract.extract_video import (
    Task,
    extract_video,
    fingerprint,
    is_frames,
    new_row,
)
from components.extract.params import ExtractParams

INDEX = "index.parquet"
_JOURNAL = ".journal"
_KILLERS = (Status.TIMEOUT, Status.TOO_HEAVY, Status.CRASHED)
_MOST_FILE_BYTES = 2 << 30  # the sound of twelve hours has 1.4 GB
_FOLDERS = {"frames": "", "audio": ".wav", "features": ".npy"}  # with the ending of what they hold


def main() -> None:
    """Run the stage as a process: parameters from params.yaml, tracking, exit code."""
    run_stage("extract", _run)


def _run() -> None:
    params = read_block("extract", ExtractParams)
    engine = read_block("engine", EngineParams)
    paths = Paths()
    with data_run("extract", params=params.model_dump()) as run:
        start = time.monotonic()
        rows = extract(params, engine, paths, read_storage())
        statuses = Counter(row.status for row in rows)
        run.metrics({f"status.{name}": float(count) for name, count in sorted(statuses.items())})
        run.metrics(
            {
                "videos": float(len(rows)),
                "failed": float(sum(row.status != Status.OK for row in rows)),
                "frames": float(sum(row.frames for row in rows)),
                "with_features": float(sum(bool(row.features_from) for row in rows)),
                "stage_duration_s": time.monotonic() - start,
            }
        )
        changes = changes_of(rows)
        run.metrics(changes.metrics())
        run.artifact(paths.media / INDEX)
        if changes:
            print("extract: " + "\n".join(changes.report()), file=sys.stderr)
        check_share(rows, params.max_failed_share, paths.media / INDEX)
        changes.refuse({}, strict=params.strict, max_share=1, where=str(paths.media / INDEX), setting="")


def extract(
    params: ExtractParams, engine: EngineParams, paths: Paths, storage: StorageParams | None = None
) -> list[MediaEntry]:
    """Make the media of every raw video that is ok, and write the index.

    Media of an earlier run that are whole stay as they are; what data/raw no longer holds is removed. Call
    `check_share` on the result: this function does not judge it.

    Returns:
        One row per raw video, in their order; those that ingest could not get keep its status.

    Raises:
        AvisError: there is no index of raw videos, the weights of the audio encoder do not fit, or this
            machine's disk is full.
    """
    entries = read_raw_index(paths.raw / INDEX)
    encoder = _fingerprint_of_encoder(params)  # first: are there such weights at all?
    media = paths.media
    refuse_foreign_files(media, media / INDEX, media / _JOURNAL, stage="extract")
    media.mkdir(parents=True, exist_ok=True)
    with alone_in(media, "extract"):
        return _extract(entries, params, engine, paths, encoder, storage)


def _extract(
    entries: list[RawEntry],
    params: ExtractParams,
    engine: EngineParams,
    paths: Paths,
    encoder: str,
    storage: StorageParams | None,
) -> list[MediaEntry]:
    media = paths.media
    raw_store = open_store(storage.raw if storage else None, paths.raw)
    store = open_store(storage.media if storage else None, media)
    store.check()
    remove_leftovers(media)
    trial = _trial(params, encoder)
    journal = Journal(media / _JOURNAL, "extract 1")
    rows = {
        entry.video_id: new_row(entry, params, entry.status, entry.message)
        for entry in entries
        if entry.status is not Status.OK
    }
    available = [entry for entry in entries if entry.status is Status.OK]
    _prune(media, store, {entry.video_id for entry in available})
    rows |= _finished_before(available, params, trial, media, store, journal)
    waiting = {entry.video_id: entry for entry in available if entry.video_id not in rows}
    tasks = [(video_id, Task(entry, params, raw_store, store)) for video_id, entry in waiting.items()]
    try:
        if tasks:
            for outcome in run_items(
                extract_video,
                tasks,
                engine=engine,
                timeout_s=params.item_timeout_s,
                retries=1,
                limits=_limits(params, raw_store, store),
                label="extract",
            ):
                row = outcome.value or _failed(outcome, waiting[outcome.key], params, trial, store)
                journal.record(row.video_id, asdict(row))
                rows[row.video_id] = row
        had = {entry.video_id: entry for entry in available}
        for row in _features(rows, had, params, encoder, trial, engine, store):
            journal.record(row.video_id, asdict(row))
            rows[row.video_id] = row
    finally:
        journal.close()
    ordered = [
        replace(rows[entry.video_id], license=entry.license, split=entry.split, source_rate_hz=entry.fps)
        for entry in entries
    ]
    write_media_index(media / INDEX, ordered)
    journal.remove()
    return ordered


def _limits(params: ExtractParams, *stores: Store) -> Limits:
    return Limits(
        network=not all(store.is_local for store in stores),
        cpu_s=params.item_timeout_s,  # each works in one thread
        file_bytes=_MOST_FILE_BYTES,
    )


def changes_of(rows: list[MediaEntry]) -> Changes:
    """What was changed on the way from the raw files, of all videos together."""
    changes = Changes()
    for row in rows:
        changes.extend(changes_of_text(row.changes), row.video_id)
    return changes


def check_share(rows: list[MediaEntry], max_failed_share: float, index: Path) -> None:
    """Say which videos extract could not read; raise if they are too many.

    Raises:
        AvisError: with the counts per status, or if no video at all is ok.
    """
    had = [row for row in rows if row.fingerprint]
    failed = [row for row in had if row.status != Status.OK]
    if had and not failed:
        return
    if not had:
        raise AvisError("there is no video to extract from", where=str(index), fix="See the ingest stage.")
    numbers = ", ".join(f"{n} {name}" for name, n in Counter(row.status for row in failed).most_common())
    first = f"{failed[0].video_id!r}: {failed[0].message}"
    share = len(failed) / len(had)
    if share > max_failed_share or len(failed) == len(had):
        raise AvisError(
            f"{len(failed)} of {len(had)} videos failed ({share:.0%}, extract.max_failed_share allows"
            f" {max_failed_share:.0%}): {numbers}; first {first}",
            where=str(index),
            fix="Get these videos again (delete them from data/raw and run ingest), or drop them.",
        )
    print(f"extract: {len(failed)} of {len(had)} videos failed: {numbers}; first {first}.", file=sys.stderr)


def _failed(
    outcome: Outcome[Any], entry: RawEntry, params: ExtractParams, trial: str, store: Store
) -> MediaEntry:
    store.remove(all_names(entry.video_id))
    # an error of ours says what is wrong with the file; any other is one that nobody foresaw
    status = Status.CORRUPT if outcome.raised is not None else status_of(outcome.kind)
    row = new_row(entry, params, status, outcome.message)
    return replace(row, trial=trial if row.status in _KILLERS else "")


def _finished_before(
    entries: list[RawEntry], params: ExtractParams, trial: str, media: Path, store: Store, journal: Journal
) -> dict[str, MediaEntry]:
    """Rows whose media are whole and made from this raw file with these parameters, or would be no better."""
    index = media / INDEX
    checked_s = written_s(index)
    known = {video_id: (row, checked_s) for video_id, row in _old_index(index).items()}
    for key, value in journal.finished.items():
        with suppress(msgspec.ValidationError):  # a damaged line costs its video only
            known[key] = (msgspec.convert(value, MediaEntry), 0.0)
    kept: dict[str, MediaEntry] = {}
    finder = MediaFinder(store)
    for entry in entries:
        row, seen_s = known.get(entry.video_id, (None, 0.0))
        if row is None or row.fingerprint != fingerprint(entry, params):
            continue
        if row.trial == trial:
            kept[entry.video_id] = row
        if row.status != Status.OK:
            continue
        if not finder.has_media(row, seen_s):
            continue
        if finder.has_features(row, seen_s):
            kept[entry.video_id] = row
        elif row.features_from != FEATURES_OF_SOURCE and not is_frames(entry):
            kept[entry.video_id] = replace(row, features_from="", features_sha256=None)
    resting = sum(row.status != Status.OK for row in kept.values())
    if resting:
        print(
            f"extract: {resting} videos are not tried again: they ended their process, or ran over its"
            " limits, and neither they nor extract.item_timeout_s, the weights and PyAV have changed.",
            file=sys.stderr,
        )
    return kept


def _features(
    rows: dict[str, MediaEntry],
    entries: dict[str, RawEntry],
    params: ExtractParams,
    encoder: str,
    trial: str,
    engine: EngineParams,
    store: Store,
) -> Iterator[MediaEntry]:
    """Make the audio features that are still to be made, remove those that no encoder makes any more.

    Yields:
        The rows that changed.
    """
    ours = [row for row in rows.values() if row.status == Status.OK]
    ours = [row for row in ours if row.features_from != FEATURES_OF_SOURCE]
    if params.audio_weights is None:
        store.remove(all_names(row.video_id)[2] for row in ours if store.is_local or row.features_from)
        for row in ours:
            if row.features_from:
                yield replace(row, features_from="", features_sha256=None)
        return
    from components.extract.embed_video import EmbedTask, embed_video  # with it comes PyTorch

    tasks = [
        (row.video_id, EmbedTask(row, Path(params.audio_weights), store))
        for row in ours
        if row.features_from != encoder
    ]
    if not tasks:
        return
    for outcome in run_items(
        embed_video,
        tasks,
        engine=engine,
        timeout_s=params.item_timeout_s,
        retries=1,
        limits=_limits(params, store),
        label="audio features",
    ):
        if outcome.kind == "ok":
            row = rows[outcome.key]
            yield replace(row, features_from=encoder, features_sha256=outcome.value)
        else:
            yield _failed(outcome, entries[outcome.key], params, trial, store)


def _trial(params: ExtractParams, encoder: str) -> str:
    """With what a video is tried, beside what decides its media."""
    return f"{params.item_timeout_s:g} s, av {importlib.metadata.version('av')}, {encoder or 'no encoder'}"


def _fingerprint_of_encoder(params: ExtractParams) -> str:
    if params.audio_weights is None:
        return ""
    from components.core.media.audio_features import encoder_fingerprint  # with it comes PyTorch

    return encoder_fingerprint(Path(params.audio_weights))


def _old_index(index: Path) -> dict[str, MediaEntry]:
    try:
        return read_media_index(index)
    except AvisError:
        return {}  # none, or of another version: everything is looked at again


def _prune(media: Path, store: Store, wanted: set[str]) -> None:
    """Remove the media of videos that are no longer wanted.

    In a folder of this machine also whatever else lies there; of a bucket only what earlier runs brought.
    What lies on this machine when the store is elsewhere is moved there.
    """
    if not store.is_local:
        known = [row for row in _old_index(media / INDEX).values() if row.status == Status.OK]
        store.remove(name for row in known if row.video_id not in wanted for name in names(row))
        here = [row for row in known if row.video_id in wanted and (media / names(row)[0]).is_dir()]
        for name in (name for row in here for name in names(row)):
            store.put(media, name)
        wanted = set()
    for path in media.iterdir():
        if path.name in _FOLDERS and path.is_dir() and store.is_local:
            ending = _FOLDERS[path.name]
            for item in path.iterdir():
                if not item.name.endswith(ending) or item.name.removesuffix(ending) not in wanted:
                    remove(item)
        elif path.name not in (INDEX, _JOURNAL):
            remove(path)
