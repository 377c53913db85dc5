"""Work over many items: on the processes of one machine (local) or on a Ray cluster (ray).

An item that fails, hangs or kills its process never stops the others: it becomes an Outcome that says so.
"""

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.process import spin_briefly
from components.core.run.ray_cluster import ray_cluster

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")
Kind = Literal["ok", "error", "timeout", "crash"]
_CLUSTER_SIZE_EVERY_S = 5.0  # a cluster grows and shrinks
_PLAIN_OUTPUT_INTERVAL_S = 10.0  # between lines of progress where stderr is a file or a task log


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What became of one item.

    kind: "ok"; "error": the function raised; "timeout": it took longer than timeout_s and was ended; "crash":
    its process died (a signal, out of memory). `value` is the function's result if ok, `message` the reason
    if not, `error` the exception's class if the function raised one.
    """

    key: str
    value: R | None
    kind: Kind
    message: str
    duration_s: float
    error: str = ""


def run_items(
    function: Callable[[I], R],
    items: Iterable[tuple[str, I]],
    *,
    engine: EngineParams,
    total: int | None = None,
    timeout_s: float | None = None,
    retries: int = 0,
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
        retries: further tries of an item that did not end "ok", on Ray perhaps on another machine.
        tally: as what a result is counted at the progress bar; without it failures are counted.
        label: shown at the progress bar.

    Raises:
        AvisError: if engine.kind is "ray" and Ray is not installed or not reachable.
    """
    backend = _ray_tries if engine.kind == "ray" else _local_tries
    count = len(items) if isinstance(items, Sized) else total or 0
    source = ((key, item, 0) for key, item in items)
    again: deque[tuple[str, I, int]] = deque()
    counts: Counter[str] = Counter()
    with (
        progress_bar(count, label) as bar,
        backend(function, min(engine.workers, count), count, timeout_s) as (submit, finished, room),
    ):
        in_flight: dict[object, tuple[str, I, int]] = {}
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
            if outcome.kind != "ok" and tries < retries:
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


def _start_worker(environment: dict[str, str]) -> None:
    threading.Thread(target=_end_with_stage, daemon=True).start()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the parent ends the workers
    os.environ.update(environment)  # the fork server has the environment of its own start


def _end_with_stage() -> None:
    # The kernel's parent is the fork server, which lives as long as its workers: wait for the stage.
    stage = multiprocessing.parent_process()
    if stage is not None:
        stage.join()
        os._exit(1)


def _attempt(function: Callable[[Any], Any], key: str, item: Any) -> bytes:
    """Run in the worker; return the pickled Outcome.

    Exceptions become messages here, and values are pickled here, since not every one survives it.
    """
    start = time.monotonic()
    try:
        value = function(item)
        return pickle.dumps(Outcome(key, value, "ok", "", time.monotonic() - start))
    except (Exception, SystemExit) as error:
        message = str(error) if isinstance(error, AvisError) else f"{type(error).__name__}: {error}"
        duration_s = time.monotonic() - start
        return pickle.dumps(Outcome(key, None, "error", message, duration_s, type(error).__name__))


def _pool(module: str, workers: int) -> ProcessPool:
    # Forking a process that has threads (torch, MLflow, Arrow) may deadlock: a server forks that has none.
    context = multiprocessing.get_context("forkserver")
    if module != "__main__":
        context.set_forkserver_preload([module])  # its imports are then paid once, not per worker
    return ProcessPool(
        max_workers=workers, initializer=_start_worker, initargs=(dict(os.environ),), context=context
    )


def _module_of(function: Callable[[Any], Any]) -> str:
    return str(getattr(getattr(function, "func", function), "__module__", "__main__"))


def _outcome_of(future: "Future[Any]", key: str, duration_s: float, timeout_s: float | None) -> Outcome[Any]:
    error = future.exception()
    if error is None:
        outcome: Outcome[Any] = pickle.loads(future.result())  # noqa: S301 (our own worker's bytes)
        return outcome
    if isinstance(error, TimeoutError) and timeout_s is not None:
        return Outcome(key, None, "timeout", f"took longer than {timeout_s:g} s and was ended", timeout_s)
    if isinstance(error, ProcessExpired):
        return Outcome(key, None, "crash", f"its process died ({_exit_reason(error.exitcode)})", duration_s)
    return Outcome(key, None, "error", f"{type(error).__name__}: {error}", duration_s)


def _exit_reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"{name}, perhaps out of memory" if -exit_code == signal.SIGKILL else name


@contextmanager
def _local_tries(
    function: Callable[[Any], Any], workers: int, count: int, timeout_s: float | None
) -> Iterator[_Backend]:
    workers = workers or min(len(os.sched_getaffinity(0)), max(count, 1))
    pool = _pool(_module_of(function), workers)
    done: queue.SimpleQueue[tuple[object, Outcome[Any]]] = queue.SimpleQueue()

    def submit(key: str, item: Any) -> object:
        start = time.monotonic()
        future = pool.schedule(_attempt, args=(function, key, item), timeout=timeout_s)
        ticket = object()
        future.add_done_callback(
            lambda finished: done.put(
                (ticket, _outcome_of(finished, key, time.monotonic() - start, timeout_s))
            )
        )
        return ticket

    try:
        yield submit, done.get, lambda: workers
        pool.close()
    finally:
        if pool.active:
            pool.stop()
        pool.join()


@cache  # a Ray worker keeps its process: starting one and its imports take longer than many an item
def _own_process(module: str) -> ProcessPool:
    return _pool(module, 1)


def _isolated_attempt(function: Callable[[I], R], key: str, item: I, timeout_s: float | None) -> Outcome[R]:
    """Run in a Ray worker, in a process of its own: hanging and crashing end as they do locally."""
    spin_briefly()  # the cluster was started by hand
    start = time.monotonic()
    pool = _own_process(_module_of(function))
    future = pool.schedule(_attempt, args=(function, key, item), timeout=timeout_s)
    wait([future])
    return _outcome_of(future, key, time.monotonic() - start, timeout_s)


@contextmanager
def _ray_tries(
    function: Callable[[Any], Any], workers: int, count: int, timeout_s: float | None
) -> Iterator[_Backend]:
    with ray_cluster(workers) as ray:
        remote = ray.remote(num_cpus=1, max_retries=2)(_isolated_attempt)  # Ray's own: a node that goes away
        shared = ray.put(function)
        in_flight: dict[object, tuple[str, float]] = {}

        def submit(key: str, item: Any) -> object:
            reference: object = remote.remote(shared, key, item, timeout_s)
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
