"""`avis rebuild`: the stages of dvc.yaml as Prefect tasks.

DVC decides what runs and keeps the results; Prefect decides when, shows it, and tries again.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from components.core.errors import AvisError
from components.core.stage import disable_telemetry
from pipelines.children import Children, read_lines
from pipelines.graph import Stage, find_root, locked_stages, order_lock, read_graph

# Prefect reads its settings when it is imported; its own 20 s are too short for a temporary server on a busy
# machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
disable_telemetry()

from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture, wait  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

HEAVY = "train"
# What dvc says of a stage that it did not have to run.
_UNCHANGED = "didn't change, skipping"
_RESTORED = "is cached - skipping run"


class StageRunner:
    """Runs single stages of one repository, at most `train_jobs` trainings side by side."""

    def __init__(self, root: Path, *, train_jobs: int) -> None:
        self.children = Children()
        self.seconds: dict[str, float] = {}
        self._root = root
        self._training = threading.BoundedSemaphore(train_jobs)

    def run(self, stage: Stage) -> State[Any]:
        """Bring one stage up to date and return how that ended."""
        if stage.group != HEAVY:
            return self._run(stage)
        if not self._training.acquire(blocking=False):
            get_run_logger().info("Waits for its turn to train")
            self._training.acquire()
        try:
            return self._run(stage)
        finally:
            self._training.release()

    def _run(self, stage: Stage) -> State[Any]:
        log = get_run_logger()
        state: State[Any] = Completed(message="ran")
        reason = ""
        start_s = time.monotonic()
        command = [sys.executable, "-m", "pipelines.dvc_stage", stage.name]
        try:
            with self.children.start(command, self._root) as child:
                assert child.stdout is not None  # noqa: S101 (it was opened as a pipe)
                for line in read_lines(child.stdout):
                    log.info(line)
                    if line.startswith(f"{stage.group}: "):  # how a stage says what is wrong
                        reason = line
                    elif line.startswith("ERROR: "):  # and dvc, last
                        reason = reason or line.removeprefix("ERROR: ")
                    elif f"Stage '{stage.name}' {_UNCHANGED}" in line:
                        state = Completed(name="Skipped", message="nothing that it depends on changed")
                    elif f"Stage '{stage.name}' {_RESTORED}" in line:
                        state = Completed(name="Restored", message="this very run was in DVC's cache")
                code = child.wait()
        except AvisError as error:
            return Failed(message=f"{stage.name}: {error}")
        finally:
            self.seconds[stage.name] = time.monotonic() - start_s
        return state if code == 0 else Failed(message=reason or f"{stage.name}: dvc ended with {code}")


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: Stage, runner: StageRunner) -> State[Any]:
    """Bring one stage up to date; DVC is the cache."""
    return runner.run(stage)


@flow(persist_result=False)
def rebuild(train_jobs: int = 1, retries: int = 0, root: Path | None = None) -> State[Any]:
    """Bring all stages of dvc.yaml up to date, siblings side by side.

    Args:
        train_jobs: trainings that run at the same time (each uses all cores, or the GPU).
        retries: further tries of a stage that fails.
        root: the repository; by default the one around the current folder.
    """
    try:
        root = find_root(root or Path.cwd())
        stages = read_graph(root)
    except AvisError as error:
        return Failed(message=str(error))
    locked = locked_stages(root)
    runner = StageRunner(root, train_jobs=train_jobs)
    stage_task = run_stage.with_options(retries=retries, retry_delay_seconds=5)
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for stage in stages:
            needed = [futures[need] for need in stage.needs]
            futures[stage.name] = stage_task.submit(stage, runner, return_state=False, wait_for=needed)
        wait(list(futures.values()))
    except BaseException:  # cancelled or interrupted: nothing may go on alone
        runner.children.end()
        raise
    order_lock(root, locked, stages)
    states = {name: future.state for name, future in futures.items()}
    rows = [
        {
            "stage": name,
            "state": "Not run" if name not in runner.seconds else state.name,
            "seconds": round(runner.seconds.get(name, 0.0), 1),
        }
        for name, state in states.items()
    ]
    create_table_artifact(key="rebuild", table=rows, description=f"Stages of {root.name}")
    for row in rows:
        get_run_logger().info("%-28s %-10s %7.1f s", *row.values())
    failed = [state.message or name for name, state in states.items() if state.is_failed()]
    if failed:
        return Failed(message="\n".join(failed))
    ran = sum(state.name == "Completed" for state in states.values())
    return Completed(message=f"{ran} of {len(states)} stages ran, the others were up to date")
