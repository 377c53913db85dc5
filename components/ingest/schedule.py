"""The entries that are still to be fetched, and when: a site that wants a rest gets it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from components.core.raw.index import RawEntry, Status
from components.core.raw.manifest import ManifestEntry
from components.core.run.engine import Outcome, run_items
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.storage.base import Store
from components.ingest.fetch import Fetched, Task, fetch, is_local, new_row
from components.ingest.params import IngestParams
from components.ingest.status import PAUSING


def fetch_all(
    entries: Iterator[ManifestEntry], count: int, params: IngestParams, engine: EngineParams, store: Store
) -> Iterator[RawEntry]:
    """Fetch entries; yield their rows as they come. A crashed worker's entry gets a second chance.

    Args:
        entries: taken one by one, as workers become free.
        count: how many they are.

    Raises:
        AvisError: the disk is full, or the store takes no file.
    """
    crashed: set[str] = set()
    pauses = 0
    rested_until_s = 0.0
    taken: dict[str, ManifestEntry] = {}
    again: list[ManifestEntry] = []

    def tasks() -> Iterator[tuple[str, Task]]:
        while (entry := again.pop(0) if again else next(entries, None)) is not None:
            taken[entry.video_id] = entry
            yield entry.video_id, Task(entry, params, store)

    left = count
    while left:
        for outcome in run_items(
            fetch,
            tasks(),
            total=left,
            engine=engine,
            timeout_s=params.item_timeout_s,
            tally=_status,
            label="ingest",
        ):
            entry = taken.pop(outcome.key)
            if outcome.kind == "crash" and outcome.key not in crashed:
                crashed.add(outcome.key)
                again.append(entry)
                continue
            fetched = _fetched(outcome, entry, params)
            if fetched.row.status not in PAUSING:
                left -= 1
                yield fetched.row
                continue
            if pauses >= params.max_pauses:
                if fetched.finished_at_s < rested_until_s:  # was on its way before the rest
                    again.append(entry)
                    continue
                yield fetched.row
                for other in chain(taken.values(), again, entries):
                    message = f"not tried: {fetched.row.message}"
                    yield new_row(other, params, fetched.row.status, message, attempts=0)
                return
            again.append(entry)
            if fetched.finished_at_s >= rested_until_s:
                pauses += 1
                rest_s = params.pause_s if fetched.retry_after_s is None else fetched.retry_after_s
                print(
                    f"ingest: {fetched.row.status} at {outcome.key!r}: {fetched.row.message}."
                    f" All downloads rest for {rest_s:.0f} s ({pauses} of {params.max_pauses}).",
                    file=sys.stderr,
                )
                time.sleep(rest_s)  # meanwhile no task is taken
                rested_until_s = time.time()


def _status(fetched: Fetched) -> str:
    return fetched.row.status.value


def _fetched(outcome: Outcome[Fetched], entry: ManifestEntry, params: IngestParams) -> Fetched:
    if outcome.kind == "ok" and outcome.value is not None:
        return outcome.value
    if outcome.error == "StorageError":
        raise AvisError(f"{entry.video_id!r} could not be stored: {outcome.message}", passing=True)
    if outcome.error == "DiskFullError":
        raise AvisError(f"{entry.video_id!r} could not be fetched: {outcome.message}")
    status = {"timeout": Status.TIMEOUT, "crash": Status.CORRUPT}.get(outcome.kind, Status.UNSUPPORTED)
    row = new_row(entry, params, status, outcome.message)
    return Fetched(replace(row, time=None) if is_local(entry) else row, None, time.time())
