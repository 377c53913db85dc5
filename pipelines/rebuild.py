"""`avis rebuild`: the stages of dvc.yaml as Prefect tasks.

DVC decides what runs and keeps the results; Prefect decides when, shows it, and tries again.
"""

import os
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.errors import AvisError
from components.core.stage import disable_telemetry
from pipelines.children import Children, read_lines, time_limit
from pipelines.graph import Stage, find_root, locked_stages, order_lock, read_graph, select
from pipelines.hold import hold_workspace

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

    def __init__(
        self, root: Path, *, train_jobs: int, timeouts_s: Mapping[str, float], force: Collection[str] = ()
    ) -> None:
        self.children = Children()
        self.seconds: dict[str, float] = {}
        self._root = root
        self._timeouts_s = timeouts_s
        self._force = force
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
        limit_s = self._timeouts_s.get(stage.group, self._timeouts_s.get("default"))
        start_s = time.monotonic()
        command = [sys.executable, "-m", "pipelines.dvc_stage", stage.name]
        if stage.name in self._force:
            command.append("--force")
        try:
            with (
                self.children.start(command, self._root) as child,
                time_limit(child, limit_s) as expired,
            ):
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
        if expired.is_set():
            return Failed(message=f"{stage.name}: took longer than its limit of {limit_s:g} s and was ended")
        return state if code == 0 else Failed(message=reason or f"{stage.name}: dvc ended with {code}")


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: Stage, runner: StageRunner) -> State[Any]:
    """Bring one stage up to date; DVC is the cache."""
    return runner.run(stage)


def bring_up_to_date(
    root: Path,
    *,
    targets: Sequence[str] | None = None,
    train_jobs: int = 1,
    retries: int = 1,
    timeouts_s: Mapping[str, float] | None = None,
    force: Collection[str] = (),
) -> dict[str, State[Any]]:
    """Bring stages and all that they need up to date, siblings side by side; call it in a running flow.

    It does not hold the workspace: the flow does, for as long as it needs it.

    Args:
        root: the repository.
        targets: stages, or groups such as `train` for all variants; None: all.
        train_jobs: trainings that run at the same time (each uses all cores, or the GPU).
        retries: further tries of a stage that fails.
        timeouts_s: the longest that a try may take, by group, and as `default` for those not named.
        force: stages that run although nothing changed.

    Returns:
        How each stage ended, by name, in the order of the graph.

    Raises:
        AvisError: if a stage failed, with the reasons; or if there is no such target, or no graph to be read.
    """
    stages = select(read_graph(root), targets)
    locked = locked_stages(root)
    runner = StageRunner(root, train_jobs=train_jobs, timeouts_s=timeouts_s or {}, force=force)
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
    create_table_artifact(key="stages", table=rows, description=f"Stages of {root.name}")
    for row in rows:
        get_run_logger().info("%-28s %-10s %7.1f s", *row.values())
    failed = [state.message or name for name, state in states.items() if state.is_failed()]
    if failed:
        raise AvisError("\n".join(failed))
    return states


@flow(persist_result=False)
def rebuild(
    train_jobs: int = 1,
    retries: int = 0,
    root: Path | None = None,
    targets: list[str] | None = None,
    wait: bool = True,
    timeouts_s: dict[str, float] | None = None,
) -> State[Any]:
    """Bring the stages of dvc.yaml up to date.

    Args:
        train_jobs: trainings that run at the same time (each uses all cores, or the GPU).
        retries: further tries of a stage that fails.
        root: the repository; by default the one around the current folder.
        targets: stages, or groups such as `train` for all variants, each with all that it needs; None: all.
        wait: whether to wait while another run works in this repository, instead of failing.
        timeouts_s: the longest that a try may take, by group, and as `default` for those not named.
    """
    try:
        root = find_root(root or Path.cwd())
        with hold_workspace(root, purpose="rebuild", wait=wait):
            states = bring_up_to_date(
                root, targets=targets, train_jobs=train_jobs, retries=retries, timeouts_s=timeouts_s
            )
    except AvisError as error:
        return Failed(message=str(error))
    ran = sum(state.name == "Completed" for state in states.values())
    return Completed(message=f"{ran} of {len(states)} stages ran, the others were up to date")
