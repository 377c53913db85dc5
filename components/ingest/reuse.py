"""Which entries of a manifest keep what an earlier run made of them; a million of them in seconds."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.core.raw.index import ROWS_AT_ONCE, Status
from components.core.raw.manifest_table import sources_kept
from components.core.run.files import sha256_file
from components.core.storage.base import Store, Stored
from components.ingest.address import parse_source
from components.ingest.folder import Known
from components.ingest.params import IngestParams
from components.ingest.status import KILLERS, TRANSIENT

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
NEW = -1  # no row
_DECISIVE = ["source", "start_s", "end_s", "fingerprint", "status", "time", "path", "size_bytes", "sha256"]
_DECISIVE += ["source_sha256"]


def reuse(
    manifest: pyarrow.Table, local: NDArray[np.bool_], known: Known, params: IngestParams, store: Store
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the entries that need no new try, and those that had better keep what they have if it fails.

    Args:
        manifest: MANIFEST_SCHEMA, [N].
        local: as are_local, [N].
        known: what earlier runs made.
        params: of this run.
        store: where the videos are.

    Returns:
        For each entry of the manifest the number of its row in `known.table`, NEW where it must be tried,
        [N]; and for those that must be tried only since the settings changed, the number of the row that is
        there, [N].
    """
    positions = positions_of(manifest, known.table)
    reused, spare = np.full_like(positions, NEW), np.full_like(positions, NEW)
    table, seen_s, find = known.table.select(_DECISIVE), known.seen_s, store.finder()
    for begin in range(0, len(manifest) if len(table) else 0, ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        entries = manifest.slice(begin, ROWS_AT_ONCE)
        found = table.take(pyarrow.array(np.maximum(positions[part], 0)))  # any row where there is none
        asked = (positions[part] != NEW) & _is_asked_for(found, entries)
        ok = _numpy(pc.equal(found.column("status"), Status.OK.value))
        same = _has_fingerprint(found, entries, ok, local[part], params)
        # A site's failure with these settings rests, if it is permanent and recent.
        rests = asked & ~ok & same & ~local[part] & _rests(found, params)
        reused[part][rests] = positions[part][rests]
        # So does a local file that killed its process, as long as it is the same file.
        kills = asked & same & local[part] & _is_one_of(found, KILLERS)
        for number in np.flatnonzero(kills).tolist():
            row = found.slice(number, 1).to_pylist()[0]
            if row["source_sha256"] is not None and _source_is_the_same(row, None):
                reused[begin + number] = positions[begin + number]
        # A video stays if its file is intact, and the local file that it was taken from is the same.
        candidates = np.flatnonzero(asked & ok)
        rows = found.take(pyarrow.array(candidates)).to_pylist()
        for number, row in zip(candidates.tolist(), rows, strict=True):
            position = int(positions[begin + number])
            stored = find(row["path"] or "")
            if not _is_intact(row, stored, float(seen_s[position]), store):
                continue
            if local[begin + number] and not _source_is_the_same(row, stored):
                continue
            (reused if same[number] else spare)[begin + number] = position
    return reused, spare


def positions_of(manifest: pyarrow.Table, known: pyarrow.Table) -> NDArray[np.int64]:
    """For each entry the number of the row with its id, -1 if there is none, [N]."""
    found = pc.index_in(manifest.column("video_id"), known.column("video_id").combine_chunks())
    return _numpy(pc.fill_null(found, NEW)).astype(np.int64)


def are_local(manifest: pyarrow.Table) -> NDArray[np.bool_]:
    """Whether each entry is a file or folder of this machine, or names nothing, [N].

    Looking at those again costs nothing.
    """
    here = {path.name for path in Path().iterdir()}
    local = np.zeros(len(manifest), np.bool_)
    for begin in range(0, len(manifest), ROWS_AT_ONCE):
        sources = manifest.column("source").slice(begin, ROWS_AT_ONCE).to_pylist()
        local[begin : begin + ROWS_AT_ONCE] = [_is_local(source, here) for source in sources]
    return local


def _is_local(source: str, here: set[str]) -> bool:
    scheme, mark, _ = source.partition("://")
    if mark:
        return scheme.lower() not in ("http", "https", "s3")
    return source in here or not _YOUTUBE_ID.fullmatch(source)


def _is_asked_for(found: pyarrow.Table, manifest: pyarrow.Table) -> NDArray[np.bool_]:
    """Whether a row is about what the entry asks for, [N]."""
    sha256, wanted = found.column("source_sha256"), manifest.column("sha256")
    ok = pc.equal(found.column("status"), Status.OK.value)
    right = pc.or_(pc.invert(ok), pc.fill_null(pc.equal(sha256, wanted), True))  # unknown is no contradiction
    return (
        _numpy(right)
        & equal(sources_kept(found.column("source")), sources_kept(manifest.column("source")))
        & equal(found.column("start_s"), manifest.column("start_s"))
        & equal(found.column("end_s"), manifest.column("end_s"))
    )


def _has_fingerprint(
    found: pyarrow.Table,
    manifest: pyarrow.Table,
    ok: NDArray[np.bool_],
    local: NDArray[np.bool_],
    params: IngestParams,
) -> NDArray[np.bool_]:
    """Whether a row was made with settings that decide as these do, [N]."""
    good = {is_local: params.fingerprint(is_local=is_local) for is_local in (True, False)}
    bad = {is_local: params.failure_fingerprint(None, is_local=is_local) for is_local in (True, False)}
    wanted = [
        good[is_local]
        if is_ok
        else bad[is_local]
        if sha256 is None
        else params.failure_fingerprint(sha256, is_local=is_local)
        for is_ok, is_local, sha256 in zip(
            ok.tolist(), local.tolist(), manifest.column("sha256").to_pylist(), strict=True
        )
    ]
    return _numpy(pc.equal(found.column("fingerprint"), pyarrow.array(wanted)))


def equal(one: pyarrow.ChunkedArray, other: pyarrow.ChunkedArray) -> NDArray[np.bool_]:
    """Whether the values of two columns are equal, None being equal to None, [N]."""
    neither = pc.and_(pc.is_null(one), pc.is_null(other))
    return _numpy(pc.or_(neither, pc.fill_null(pc.equal(one, other), False)))


def _rests(found: pyarrow.Table, params: IngestParams) -> NDArray[np.bool_]:
    """Whether a failure is permanent, and it is too early to ask again, [N]."""
    kind, now = pyarrow.timestamp("us", "UTC"), datetime.now(UTC)
    begin = pyarrow.scalar(now - timedelta(days=params.retry_permanent_after_days), kind)
    tried = found.column("time").cast(kind)
    # one in the future is of a clock that was wrong, and would rest for longer than it should
    recent = pc.and_(pc.greater(tried, begin), pc.less_equal(tried, pyarrow.scalar(now, kind)))
    rests: NDArray[np.bool_] = _numpy(pc.fill_null(recent, False)) & ~_is_one_of(found, TRANSIENT)
    return rests


def _is_one_of(found: pyarrow.Table, statuses: Collection[Status]) -> NDArray[np.bool_]:
    """Whether each row has one of these statuses, [N]."""
    values = pyarrow.array(sorted(status.value for status in statuses))
    return _numpy(pc.is_in(found.column("status").cast(pyarrow.string()), values))


def _is_intact(row: dict[str, Any], stored: Stored | None, seen_s: float, store: Store) -> bool:
    """Whether a video is as it was written; hashed only if it changed since it was seen."""
    if stored is None or stored.size_bytes != row["size_bytes"]:
        return False
    return stored.changed_s <= seen_s or store.sha256(row["path"]) == row["sha256"]


def _source_is_the_same(row: dict[str, Any], stored: Stored | None) -> bool:
    """Whether a local file still holds what was taken from it; a source that is gone counts as the same."""
    source = parse_source(row["source"]).path
    if source is None or not source.is_file() or row["source_sha256"] is None:
        return True
    changed_s = max(source.stat().st_mtime, source.stat().st_ctime)
    if stored is not None and changed_s < stored.changed_s:
        return True
    return sha256_file(source) == str(row["source_sha256"])


def _numpy(column: pyarrow.ChunkedArray) -> NDArray[Any]:
    return np.array(column.to_numpy(zero_copy_only=False))  # a copy that may be written to
