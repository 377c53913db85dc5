"""Several processes on this machine without torchrun: `python -m components.train` on all its GPUs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from components.core.run.errors import AvisError
from components.train.params import TrainParams

_GRACE_S = 10.0  # for the others to say what they have to say, once one has failed
_POLL_S = 0.1


def started_by_torchrun() -> bool:
    """Is this one of several processes that somebody else started?"""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def let_the_first_speak() -> None:
    """Before a process that failed as the first one did ends: torchrun ends all as soon as one has ended."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # ours, and Ray, wait by themselves
        time.sleep(_GRACE_S)


def processes_here(params: TrainParams, gpus: int) -> int:
    """How many processes a training gets on a machine with so many GPUs (0: none, or not to be used)."""
    if params.processes != "auto":
        return params.processes
    return most_that_share(params, gpus)


def most_that_share(params: TrainParams, available: int) -> int:
    """The most processes, at least one, among which the clips of a step divide evenly."""
    clips = params.clips_per_step // params.accumulate
    return max(count for count in range(1, max(1, min(available, clips)) + 1) if clips % count == 0)


def launch(command: Sequence[str], processes: int) -> None:
    """Run a Python module in so many processes that find each other, and wait for all.

    Args:
        command: arguments after `python`: ["-m", "components.train", …].

    Raises:
        SystemExit: with the code of a process that failed (it has said why), the others being ended.
        AvisError: a process was killed.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    shared = {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    children = [
        subprocess.Popen(
            [sys.executable, *command], env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(processes)
    ]
    try:
        _wait(children)
    finally:
        _end(children)


def _wait(children: "list[subprocess.Popen[bytes]]") -> None:
    while True:
        codes = [child.poll() for child in children]
        failed = [code for code in codes if code]
        if failed:
            break
        if all(code == 0 for code in codes):
            return
        time.sleep(_POLL_S)
    deadline = time.monotonic() + _GRACE_S
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    killed = next((rank for rank, code in enumerate(codes) if code is not None and code < 0), None)
    if killed is not None:
        raise AvisError(
            f"process {killed} of {len(children)} was killed by signal {-codes[killed]}"  # type: ignore[operator]
            + (", perhaps out of memory" if codes[killed] == -9 else ""),
            fix="Start it again: training goes on from its last checkpoint.",
        )
    raise SystemExit(failed[0])


def _end(children: "list[subprocess.Popen[bytes]]") -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
