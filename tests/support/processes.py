"""Several processes of one training for tests: forked, so that torch is imported only once."""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

# Ray gives processes a minute to start, and nodes less to answer: beside other work that is too little.
PATIENT_RAY = {
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_failure_threshold": "12",  # of 3 s: so late is an ended node missed
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}


def let_children_compute() -> None:
    """Begin autograd here and now, so that forked children may use it; called where a file is imported.

    torch's compiler and exporter pretend that there is a GPU. When autograd begins after that it starts a
    thread for it, and refuses to work in children from then on.
    """
    import torch

    torch.ones((), requires_grad=True).backward()


def run_together(function: Callable[[], Any], count: int, *, timeout_s: float = 120) -> list[Any]:
    """Call a function in `count` processes that find each other as under torchrun.

    Returns what each returned, or its exit code if it ended by SystemExit, or the exception's text.
    """
    context = multiprocessing.get_context("fork")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    results = context.SimpleQueue()

    def work(rank: int) -> None:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(count),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        try:
            results.put((rank, function()))
        except SystemExit as error:
            results.put((rank, ("exit", error.code)))
        except Exception as error:
            traceback.print_exc()
            results.put((rank, (type(error).__name__, str(error))))
        sys.stderr.flush()
        os._exit(0)

    children = [context.Process(target=work, args=(rank,)) for rank in range(count)]
    for child in children:
        child.start()
    found: dict[int, Any] = {}
    deadline = time.monotonic() + timeout_s
    while any(child.is_alive() for child in children) or not results.empty():
        while not results.empty():
            rank, value = results.get()
            found[rank] = value
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
            raise TimeoutError("the processes did not end")
        time.sleep(0.01)
    return [found.get(rank, ("died", children[rank].exitcode)) for rank in range(count)]
