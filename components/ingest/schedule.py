"""The entries that are still to be fetched, and when: a site that wants a rest gets it."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from components.core.raw.index import RawEntry, status_of
from components.core.raw.manifest import ManifestEntry
from components.core.run.engine import run_items
from components.core.run.params import EngineParams
from components.core.run.workers.worker import Outcome
from components.core.storage.base import Store
from components.ingest.entry_row import fault_row, is_local, new_row
from components.ingest.params import IngestParams
from components.ingest.status import PAUSING


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs for one entry; the store receives the video."""

    entry: ManifestEntry
    params: IngestParams
    store: Store


@dataclass(frozen=True, slots=True)
class Tried:
    """The entry's row, and what the schedule needs to know."""

    row: RawEntry
    retry_after_s: float | None


def schedule(
    work: Callable[[Task], Tried],
    entries: Iterator[ManifestEntry],
    count: int,
    params: IngestParams,
    engine: EngineParams,
    store: Store,
) -> Iterator[RawEntry]:
    """Try entries; yield their rows as they come. A crashed worker's entry gets a second chance.

    Args:
        work: tries one entry, in a worker.
        entries: taken one by one, as workers become free.
        count: how many they are.

    Raises:
        AvisError: as run_items; the disk is full, or the store takes no file.
    """
    crashed: set[str] = set()
    pauses = 0
    taken: dict[str, ManifestEntry] = {}
    before: dict[str, int] = {}  # how many pauses there had been when an entry was taken: clocks jump
    again: list[ManifestEntry] = []

    def tasks() -> Iterator[tuple[str, Task]]:
        while (entry := again.pop(0) if again else next(entries, None)) is not None:
            taken[entry.video_id], before[entry.video_id] = entry, pauses
            yield entry.video_id, Task(entry, params, store)

    left = count
    while left:
        for outcome in run_items(
            work,
            tasks(),
            total=left,
            engine=engine,
            timeout_s=params.item_timeout_s,
            tally=_status,
            label="ingest",
        ):
            entry, is_early = taken.pop(outcome.key), before.pop(outcome.key) < pauses
            if outcome.kind in ("crash", "killed") and outcome.key not in crashed:
                crashed.add(outcome.key)
                again.append(entry)
                continue
            tried = _tried(outcome, entry, params)
            if tried.row.status not in PAUSING:
                left -= 1
                yield tried.row
                continue
            if pauses >= params.max_pauses:
                if is_early:  # was on its way before the rest
                    again.append(entry)
                    continue
                yield tried.row
                for other in chain(taken.values(), again, entries):
                    message = f"not tried: {tried.row.message}"
                    yield new_row(other, params, tried.row.status, message, attempts=0)
                return
            again.append(entry)
            if not is_early:
                pauses += 1
                rest_s = params.pause_s if tried.retry_after_s is None else tried.retry_after_s
                print(
                    f"ingest: {tried.row.status} at {outcome.key!r}: {tried.row.message}."
                    f" All downloads rest for {rest_s:.0f} s ({pauses} of {params.max_pauses}).",
                    file=sys.stderr,
                )
                time.sleep(rest_s)  # meanwhile no task is taken


def _status(tried: Tried) -> str:
    return tried.row.status.value


def _tried(outcome: Outcome[Tried], entry: ManifestEntry, params: IngestParams) -> Tried:
    if outcome.kind == "ok" and outcome.value is not None:
        return outcome.value
    row = fault_row(entry, params, status_of(outcome.kind), outcome.message)
    return Tried(replace(row, time=None) if is_local(entry) else row, None)
