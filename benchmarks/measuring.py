"""What the benchmarks share: work in a process of its own, its memory, and what it was measured on."""

import multiprocessing
import os
import platform
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil

R = TypeVar("R")


def alone(work: Callable[..., R], *arguments: Any, **settings: Any) -> R:
    """The result of a function in a fresh process: no peak of memory is another measurement's."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **settings).result()


def peak_mb() -> float:
    """The most memory (resident) that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class PeakMemory:
    """The most memory that this process and its children have at once, looked at from time to time.

    counted: bytes of a process, such as its resident memory; shared pages count each time.
    """

    def __init__(self, counted: Callable[[psutil.Process], int], every_s: float = 0.1) -> None:
        self._counted, self._every_s = counted, every_s
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        this = psutil.Process()
        while not self._done.wait(self._every_s):
            held = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    held += self._counted(process)
                except psutil.Error:
                    continue  # it has just ended
            self._peak = max(self._peak, held)

    def stop(self) -> int:
        """The peak, in bytes."""
        self._done.set()
        self._thread.join()
        return self._peak


def machine() -> str:
    """What is measured on, in a line."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        cpu = Path("/proc/cpuinfo")
        lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = f"{os.cpu_count()} cores {models[0] if models else platform.processor()}"
    return f"{name}, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}"
