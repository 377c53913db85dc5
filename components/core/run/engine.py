"""Work over many items: on the processes of one machine (local) or on a Ray cluster (ray).

An item that fails, hangs or kills its process never stops the others: it becomes an Outcome that says so.
"""

import os
import pickle
import queue
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from tqdm import tqdm

from components.core.run.errors import AvisError, MachineError
from components.core.run.params import EngineParams
from components.core.run.process import spin_briefly
from components.core.run.ray_cluster import ray_cluster
from components.core.run.workers.confinement import Limits
from components.core.run.workers.worker import Outcome, Worker

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
_CLUSTER_SIZE_EVERY_S = 5.0  # a cluster grows and shrinks
_KILLED_IN_A_ROW = (
    3  # items whose processes are killed from outside, with no other between: it is the machine
)
_PLAIN_OUTPUT_INTERVAL_S = 10.0  # between lines of progress where stderr is a file or a task log


def run_items(
    function: Callable[[I], R],
    items: Iterable[tuple[str, I]],
    *,
    engine: EngineParams,
    total: int | None = None,
    timeout_s: float | None = None,
    retries: int = 0,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    tally: Callable[[R], str] | None = None,
    label: str,
) -> Iterator[Outcome[R]]:
    """Apply a function to every item in parallel; yield the outcomes as they complete, with a progress bar.

    No more items are taken, and held, than are worked on at the same time.

    Args:
        function: a module-level function (or a functools.partial of one); it runs in other processes.
        items: (key, item) pairs.
        engine: where the work runs.
        total: how many items there are, where `items` has no length.
        timeout_s: longest time for one try of one item; None: no limit.
        retries: further tries of an item that raised or whose process died, on Ray perhaps elsewhere.
        limits: what each worker may take beside its share of the memory.
        tally: as what a result is counted at the progress bar; without it failures are counted.
        label: shown at the progress bar.

    Raises:
        AvisError: if engine.kind is "ray" and Ray is not installed or not reachable; if no process can be
            started; if processes are killed from outside one after the other; and if a function raised a
            MachineError, such as a full disk, or an OSError of that kind.
    """
    backend = _ray_tries if engine.kind == "ray" else _local_tries
    count = len(items) if isinstance(items, Sized) else total or 0
    source = ((key, item, 0) for key, item in items)
    again: deque[tuple[str, I, int]] = deque()
    counts: Counter[str] = Counter()
    with (
        progress_bar(count, label) as bar,
        backend(function, min(engine.workers, count), count, timeout_s, limits) as (submit, finished, room),
    ):
        in_flight: dict[object, tuple[str, I, int]] = {}
        killed: set[str] = set()
        while True:
            while len(in_flight) < room():
                waiting = again.popleft() if again else next(source, None)
                if waiting is None:
                    break
                in_flight[submit(*waiting[:2])] = waiting
            if not in_flight:
                break
            ticket, outcome = finished()
            key, item, tries = in_flight.pop(ticket)
            killed = killed | {key} if outcome.kind == "killed" else set()
            if len(killed) == _KILLED_IN_A_ROW:
                raise AvisError(
                    f"the processes of {len(killed)} items in a row were killed from outside (SIGKILL), as"
                    f" the system does when memory is out; the last was that of {key!r}",
                    fix="Free memory or lower engine.workers, and run it again: what is finished is kept.",
                    passing=True,
                )
            if isinstance(outcome.raised, MachineError):
                raise AvisError(
                    f"{key!r} could not be finished: {outcome.message}", passing=outcome.raised.passing
                )
            if outcome.kind in ("error", "crash", "killed") and tries < retries:
                again.append((key, item, tries + 1))
                continue
            if outcome.kind != "ok":
                counts["failed" if tally is None else outcome.kind] += 1
            elif tally is not None and outcome.value is not None:
                counts[tally(outcome.value)] += 1
            if counts:
                bar.set_postfix(dict(counts.most_common()), refresh=False)
            bar.update()
            yield outcome


def progress_bar(total: int, label: str) -> "tqdm[Any]":
    """A bar with rate and time left on stderr; few lines where that is a file or a task log."""
    return tqdm(
        total=total,
        desc=label,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else _PLAIN_OUTPUT_INTERVAL_S,
    )


# A backend yields submit(key, item) -> ticket, finished() -> (ticket, outcome), room(): how many in flight.
_Backend = tuple[Callable[[str, Any], object], Callable[[], tuple[object, Outcome[Any]]], Callable[[], int]]


@contextmanager
def _local_tries(
    function: Callable[[Any], Any], workers: int, count: int, timeout_s: float | None, limits: Limits
) -> Iterator[_Backend]:
    workers = workers or min(len(os.sched_getaffinity(0)), max(count, 1))
    todo: queue.SimpleQueue[tuple[object, str, Any] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[object, Outcome[Any] | BaseException]] = queue.SimpleQueue()
    crew = [Worker(function, limits=limits, workers=workers) for _ in range(workers)]

    def work(worker: Worker[Any, Any]) -> None:
        while (task := todo.get()) is not None:
            ticket, key, item = task
            try:
                done.put((ticket, worker.attempt(key, item, timeout_s)))
            except BaseException as error:  # or who waits for it would wait for ever
                done.put((ticket, error))

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in crew]
    for thread in threads:
        thread.start()

    def submit(key: str, item: Any) -> object:
        ticket = object()
        todo.put((ticket, key, item))
        return ticket

    def finished() -> tuple[object, Outcome[Any]]:
        ticket, outcome = done.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return ticket, outcome

    is_over = False
    try:
        yield submit, finished, lambda: workers
        is_over = True
    finally:
        for _ in crew:
            todo.put(None)
        for worker in crew:
            worker.stop(kill=not is_over)
        for thread in threads:
            thread.join()


@cache  # a Ray worker keeps its process: starting one and its imports take longer than many an item
def _own_worker(function: bytes, limits: Limits) -> Worker[Any, Any]:
    return Worker(pickle.loads(function), limits=limits)  # noqa: S301 - the stage's


def _isolated_attempt(
    function: bytes, key: str, item: Any, timeout_s: float | None, limits: Limits
) -> Outcome[Any]:
    """Run in a Ray worker, in a process of its own: hanging and crashing end as they do locally."""
    spin_briefly()  # the cluster was started by hand
    return _own_worker(function, limits).attempt(key, item, timeout_s)


@contextmanager
def _ray_tries(
    function: Callable[[Any], Any], workers: int, count: int, timeout_s: float | None, limits: Limits
) -> Iterator[_Backend]:
    with ray_cluster(workers) as ray:
        remote = ray.remote(num_cpus=1, max_retries=2)(_isolated_attempt)  # Ray's own: a node that goes away
        shared = ray.put(pickle.dumps(function))
        in_flight: dict[object, tuple[str, float]] = {}

        def submit(key: str, item: Any) -> object:
            reference: object = remote.remote(shared, key, item, timeout_s, limits)
            in_flight[reference] = (key, time.monotonic())
            return reference

        def finished() -> tuple[object, Outcome[Any]]:
            reference = ray.wait(list(in_flight), num_returns=1)[0][0]
            key, start = in_flight.pop(reference)
            try:
                return reference, ray.get(reference)
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1]
                return reference, Outcome(key, None, "crash", reason, time.monotonic() - start)

        size, measured_s = 0, -_CLUSTER_SIZE_EVERY_S

        def room() -> int:
            nonlocal size, measured_s
            if workers:
                return workers
            if time.monotonic() - measured_s >= _CLUSTER_SIZE_EVERY_S:
                size, measured_s = max(1, int(ray.cluster_resources().get("CPU", 1))), time.monotonic()
            return size

        try:
            yield submit, finished, room
        finally:
            for reference in in_flight:
                ray.cancel(reference, force=True)
