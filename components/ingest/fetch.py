"""One entry of the manifest: get it, cut it, verify it, put it in its place."""

from __future__ import annotations

import os
import random
import shutil
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from components.core.media.container import MediaError
from components.core.raw.frame_folder import FRAMES_SUFFIX, sha256_folder
from components.core.raw.index import RawEntry, Status
from components.core.raw.manifest import ManifestEntry
from components.core.run.disk import DiskFullError, noticing_full_disk
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, sha256_file
from components.core.storage.base import Store
from components.ingest.address import Source, SourceKind, parse_source
from components.ingest.download import DownloadError, download
from components.ingest.frames import take_frames
from components.ingest.params import IngestParams
from components.ingest.remux import Settled, settle, suffix_of
from components.ingest.status import RETRIED

PARTS = ".parts"  # below data/raw: downloads that are not finished, kept for resuming


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs for one entry; the store receives the video."""

    entry: ManifestEntry
    params: IngestParams
    store: Store


@dataclass(frozen=True, slots=True)
class Fetched:
    """The entry's row, and what the queue needs to know."""

    row: RawEntry
    retry_after_s: float | None
    finished_at_s: float  # time.time()


def new_row(
    entry: ManifestEntry, params: IngestParams, status: Status, message: str, attempts: int = 1
) -> RawEntry:
    """An entry's row, so far without a file."""
    return RawEntry(
        video_id=entry.video_id,
        status=status,
        message=message,
        attempts=attempts,
        source=entry.source,
        start_s=entry.start_s,
        end_s=entry.end_s,
        fingerprint=(
            params.fingerprint(is_local=is_local(entry))
            if status is Status.OK
            else params.failure_fingerprint(entry.sha256, is_local=is_local(entry))
        ),
        license=entry.license,
        uploader=entry.uploader,
        split=entry.split,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def fetch(task: Task) -> Fetched:
    """Bring one entry to data/raw, trying again after a passing failure. Every reason becomes a status.

    Raises:
        DiskFullError: this machine's disk is.
        OSError: of this machine.
        StorageError: the store does not take the video.
    """
    name = repr(task.entry.video_id)
    with task.store.workspace() as raw, noticing_full_disk(raw, name, lambda: None):
        fetched = _fetch(task, raw)
        if fetched.row.path is not None:
            task.store.put(raw, fetched.row.path)
    return fetched


def _fetch(task: Task, raw: Path) -> Fetched:
    entry, params = task.entry, task.params
    parts = raw / PARTS / entry.video_id
    attempt, wait_s = 0, None
    while True:
        attempt += 1
        try:
            row = _fetch_once(task, parse_source(entry.source), raw, parts)
            row = replace(row, attempts=attempt)
        except DownloadError as failure:
            row = new_row(entry, params, failure.status, failure.message, attempt)
            wait_s = failure.retry_after_s
        except MediaError as error:
            row = new_row(entry, params, Status(error.problem.value), error.what, attempt)
        except DiskFullError:
            raise
        except AvisError as error:
            row = new_row(entry, params, Status.BAD_ENTRY, str(error), attempt)
        if row.status not in RETRIED or attempt >= params.attempts:
            break
        jitter = random.uniform(0.5, 1.5)  # noqa: S311 (so that many do not knock together again)
        time.sleep(wait_s if wait_s is not None else params.backoff_s * 2 ** (attempt - 1) * jitter)
    if row.status not in RETRIED:
        shutil.rmtree(parts, ignore_errors=True)
    if is_local(entry):
        row = replace(row, time=None)
    return Fetched(row, wait_s, time.time())


def is_local(entry: ManifestEntry) -> bool:
    """Whether the entry is a file or folder of this machine."""
    try:
        return parse_source(entry.source).is_local
    except AvisError:
        return True  # a bad entry: looking again costs nothing


def _fetch_once(task: Task, source: Source, raw: Path, parts: Path) -> RawEntry:
    entry, params = task.entry, task.params
    if source.kind is SourceKind.FRAMES:
        return _take_frames(task, source, raw)
    parts.mkdir(parents=True, exist_ok=True)
    downloaded = download(source, parts, params)
    files = downloaded.files
    source_sha256 = sha256_file(files[0]) if len(files) == 1 else None
    if entry.sha256 is not None and source_sha256 is not None and source_sha256 != entry.sha256:
        shutil.rmtree(parts)
        raise MediaError(f"the file's SHA-256 is {source_sha256}, the manifest says {entry.sha256}")
    settled = settle(
        files, parts, start_s=entry.start_s, end_s=entry.end_s, min_duration_s=params.min_duration_s
    )
    target = raw / f"{entry.video_id}{suffix_of(settled.path)}"
    untouched = settled.path == files[0]
    digest = source_sha256 if untouched and source_sha256 is not None else sha256_file(settled.path)
    with settled.path.open("rb+") as file:  # on disk before it gets its name
        os.fsync(file.fileno())
    settled.path.replace(target)
    row = _ok_row(task, settled, target, digest, source_sha256, target.stat().st_size)
    return replace(
        row,
        site_license=downloaded.license,
        site_uploader=downloaded.uploader,
        license=entry.license or downloaded.license,
        uploader=entry.uploader or downloaded.uploader,
    )


def _take_frames(task: Task, source: Source, raw: Path) -> RawEntry:
    entry = task.entry
    if entry.start_s or entry.end_s is not None:
        raise AvisError("start_s and end_s cannot cut a folder of frames", fix="Leave them empty.")
    if source.path is None:
        raise AvisError("a folder of frames needs a path")
    target = raw / f"{entry.video_id}{FRAMES_SUFFIX}"
    with replace_folder(target) as temporary:
        settled = take_frames(source.path, temporary, min_duration_s=task.params.min_duration_s)
    digest = sha256_folder(target)
    if entry.sha256 is not None and digest != entry.sha256:
        shutil.rmtree(target)
        raise MediaError(f"the folder's SHA-256 is {digest}, the manifest says {entry.sha256}")
    size = sum(file.stat().st_size for file in target.iterdir())
    return _ok_row(task, settled, target, digest, digest, size)


def _ok_row(
    task: Task, settled: Settled, target: Path, digest: str, source_sha256: str | None, size_bytes: int
) -> RawEntry:
    row = new_row(task.entry, task.params, Status.OK, "")
    asked_s = None if task.entry.end_s is None else task.entry.end_s - (task.entry.start_s or 0.0)
    message = ""
    if asked_s is not None and settled.duration_s < asked_s - 1.0:
        message = f"ends after {settled.duration_s:.3f} s; {asked_s:g} s were asked for"
    return replace(
        row,
        message=message,
        path=target.name,
        sha256=digest,
        source_sha256=source_sha256,
        size_bytes=size_bytes,
        **{key: value for key, value in asdict(settled).items() if key != "path"},
    )
