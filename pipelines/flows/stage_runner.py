"""One stage of the graph after the other, each in a process of its own, and what became of it."""

import re
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from components.core.run.errors import AvisError
from components.core.run.process import FAILED_FOR_NOW
from pipelines.dvc.graph import Stage
from pipelines.dvc.processes import Children, read_lines, time_limit
from pipelines.flows.gpu import USERS as GPU_USERS
from pipelines.flows.gpu import gpu_slot

HEAVY = "train"
SKIPPED = "Skipped"
INTERRUPTED = "Interrupted"
"""Name of the failed state of a stage that may succeed on another try, with nothing mended."""
# What dvc says of a stage that it did not have to run, and of one that failed.
_UNCHANGED = "didn't change, skipping"
_RESTORED = "is cached - skipping run"
_EXITED = re.compile(r", exited with (-?\d+)$")


class StageRunner:
    """Runs single stages of one repository, at most `train_jobs` trainings side by side."""

    def __init__(
        self,
        root: Path,
        *,
        unchanged: Collection[str],
        force: Collection[str],
        train_jobs: int,
        on_gpu: bool,
        timeouts_s: Mapping[str, float],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to run.

        Args:
            root: the repository.
            unchanged: names of the stages that need not run, unless one that they need does.
            force: names of the stages that run all the same.
            train_jobs: how many trainings may run at the same time.
            on_gpu: whether training and predicting take a slot of the server's limit.
            timeouts_s: the longest that a try may take, by group, and as `default` for those not named.
            environment: of the stages, over this process's own.
        """
        self.children = Children()
        self.seconds: dict[str, float] = {}
        self._root = root
        self._unchanged = set(unchanged) - set(force)
        self._force = force
        self._ran: set[str] = set()
        self._on_gpu = on_gpu
        self._timeouts_s = timeouts_s
        self._environment = environment
        self._training = threading.BoundedSemaphore(train_jobs)

    def run(self, stage: Stage) -> State[Any]:
        """Bring one stage up to date and return how that ended."""
        if stage.name in self._unchanged and self._ran.isdisjoint(stage.needs):
            self.seconds[stage.name] = 0.0
            return _skipped()
        try:
            with ExitStack() as held:
                if stage.group == HEAVY:
                    held.enter_context(self._turn_to_train())
                if self._on_gpu and stage.group in GPU_USERS:
                    held.enter_context(
                        gpu_slot(stopped=lambda: self.children.stopped, say=get_run_logger().info)
                    )
                return self._run(stage)
        except AvisError as error:
            return Failed(message=f"{stage.name}: {error}")

    @contextmanager
    def _turn_to_train(self) -> Iterator[None]:
        if not self._training.acquire(blocking=False):
            get_run_logger().info("Waits for its turn to train")
            self._training.acquire()
        try:
            yield
        finally:
            self._training.release()

    def _run(self, stage: Stage) -> State[Any]:
        start_s = time.monotonic()
        limit_s = self._timeouts_s.get(stage.group, self._timeouts_s.get("default"))
        try:
            state = self._repro(stage, limit_s)
            if state.name != SKIPPED:
                self._ran.add(stage.name)
            return state
        finally:
            self.seconds[stage.name] = time.monotonic() - start_s

    def _repro(self, stage: Stage, limit_s: float | None) -> State[Any]:
        log = get_run_logger()
        state: State[Any] = Completed(message="ran")
        reason = ""
        stage_code: int | None = None
        command = [sys.executable, "-m", "pipelines.dvc.stage", stage.name]
        if stage.name in self._force:
            command.append("--force")
        with (
            self.children.start(command, self._root, self._environment) as child,
            time_limit(child, limit_s) as expired,
        ):
            assert child.stdout is not None  # noqa: S101 (it was opened as a pipe)
            for line in read_lines(child.stdout):
                log.info(line)
                if line.startswith(f"{stage.group}: "):  # how a stage says what is wrong
                    reason = line
                elif line.startswith("ERROR: "):  # and dvc, last
                    reason = reason or line.removeprefix("ERROR: ")
                    exited = _EXITED.search(line)
                    stage_code = int(exited[1]) if exited else None
                elif f"Stage '{stage.name}' {_UNCHANGED}" in line:
                    state = _skipped()
                elif f"Stage '{stage.name}' {_RESTORED}" in line:
                    state = Completed(name="Restored", message="this very run was in DVC's cache")
            code = child.wait()
        if expired.is_set():
            message = f"{stage.name}: took longer than its limit of {limit_s:g} s and was ended"
            return Failed(name=INTERRUPTED, message=message)
        if code == 0:
            return state
        if self.children.stopped:  # not tried again: the run would wait for that before it ends
            return Failed(message=f"{stage.name}: the run was stopped")
        if code < 0:
            return Failed(name=INTERRUPTED, message=f"{stage.name}: dvc was ended by {_signal_name(-code)}")
        if killed_by := _signal_of(stage_code):
            message = f"{stage.name}: the stage was ended by {_signal_name(killed_by)}"
            return Failed(name=INTERRUPTED, message=message)
        message = reason or f"{stage.name}: dvc ended with {code}"
        return Failed(name=INTERRUPTED if stage_code == FAILED_FOR_NOW else None, message=message)


def _skipped() -> State[Any]:
    return Completed(name=SKIPPED, message="nothing that it depends on changed")


def _signal_of(code: int | None) -> int | None:
    """The signal that ended a stage, as its parent sees it, or as a shell in between says it."""
    if code is not None and code < 0:
        return -code
    return code - 128 if code in (128 + signal.SIGKILL, 128 + signal.SIGTERM) else None


def _signal_name(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name}, perhaps out of memory" if number == signal.SIGKILL else name
