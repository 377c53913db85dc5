"""Several processes on this machine: `python -m components.train` uses all its GPUs, or cores, unasked."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from signal import SIGKILL, SIGTERM

from components.core.run.errors import AvisError
from components.train.params import TrainParams
from components.train.processes.memory import what_to_lower

THREADS_ALONE = "AVIS_THREADS_ALONE"  # environment variable: of the first process while the others wait
_GRACE_S = 10.0


def started_by_torchrun() -> bool:
    """Is this one of several processes that somebody else started?"""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def let_the_first_speak() -> None:
    """Before a process that failed as the first one did ends: torchrun ends all as soon as one has ended."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # Ray waits by itself
        time.sleep(_GRACE_S)


def processes_here(params: TrainParams, gpus: int, cores: int) -> int:
    """How many processes a training gets on a machine with so many GPUs (0: none, or unused) and cores.

    On a CPU one process with as many threads is slower: they wait for each other at the end of each short
    operation, where processes do so once a step (benchmarks/results/processes-2026-11-30-cpu.md).
    """
    if params.processes != "auto":
        return params.processes
    return most_that_share(params, gpus or cores)


def most_that_share(params: TrainParams, available: int) -> int:
    """The most processes, at least one, among which the clips of a step divide evenly."""
    clips = params.clips_per_step // params.accumulate
    return max(count for count in range(1, max(1, min(available, clips)) + 1) if clips % count == 0)


def launch(command: Sequence[str], processes: int, params: TrainParams) -> None:
    """Run a Python module in so many processes that find each other, as torchrun does, and wait for all.

    Args:
        command: arguments after `python`: ["-m", "components.train", …].
        params: what could be lowered if there is too little memory.

    Raises:
        SystemExit: with the code of the process that failed first (it has said why), or 128 and the number of
            the signal that stopped this one; the others are ended.
        AvisError: a process was killed.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed."):  # of a failure the processes and we say enough
            logging.getLogger(name).disabled = True
    cores = len(os.sched_getaffinity(0))
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, cores // processes))
        os.environ[THREADS_ALONE] = str(cores)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",  # the system chooses the port, and it stays open
        local_addr="127.0.0.1",  # else the machine's full name, which many machines cannot resolve
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
    except ChildFailedError as error:
        first = error.get_first_failure()[1]
        # The others notice at once when one is killed, and may end with an error in the same second. What
        # torchrun ends itself has SIGTERM, or after half a minute SIGKILL.
        for failure in error.failures.values():
            by_others = failure is first or (
                failure.exitcode != -SIGTERM and failure.timestamp <= first.timestamp + 1
            )
            if failure.exitcode < 0 and by_others:
                again = "Start it again: training goes on from its last checkpoint."
                memory = f" If it is: {what_to_lower(params, processes, on_gpu=False)}"
                is_memory = failure.exitcode == -SIGKILL
                raise AvisError(
                    f"process {failure.local_rank} of {processes} was killed by signal {-failure.exitcode}"
                    + (", perhaps out of memory" if is_memory else ""),
                    fix=again + (memory if is_memory else ""),
                ) from None
        raise SystemExit(first.exitcode) from None
