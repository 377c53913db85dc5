"""`avis rebuild`: the stages of dvc.yaml as Prefect tasks.

DVC decides what runs and keeps the results; Prefect decides when, shows it, and tries again.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.process import disable_telemetry
from pipelines.dvc.graph import Stage, find_root, locked_stages, order_lock, read_graph, select, unchanged
from pipelines.dvc.lock import drop_lost
from pipelines.dvc.workspace_lock import hold_workspace
from pipelines.flows.clones import environment_of_stages, own_clone, require_remote

# Prefect reads its settings when it is imported; its own 20 s are too short for a temporary server on a busy
# machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
disable_telemetry()

from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture, as_completed, wait  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.flows.artifacts import show_progress, show_stages  # noqa: E402
from pipelines.flows.gpu import count_gpus, make_limit  # noqa: E402
from pipelines.flows.notifications import notify_failure  # noqa: E402
from pipelines.flows.stage_runner import INTERRUPTED, SKIPPED, StageRunner  # noqa: E402

# What passes may pass in a moment, or when somebody has started a server again.
RETRY_DELAYS_S = (10.0, 120.0, 900.0)


@task(task_run_name="{stage.name}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: Stage, runner: StageRunner) -> State[Any]:
    """Bring one stage up to date; DVC is the cache."""
    return runner.run(stage)


def _may_pass(task: Any, task_run: Any, state: State[Any]) -> bool:
    return state.name == INTERRUPTED


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
        retries: further tries of a stage that fails for a reason that may pass.
        timeouts_s: the longest that a try may take, by group, and as `default` for those not named.
        force: stages that run although nothing changed.

    Returns:
        How each stage ended, by name, in the order of the graph.

    Raises:
        AvisError: if a stage failed, with the reasons; or if there is no such target, or no graph to be read.
    """
    stages = select(read_graph(root), targets)
    locked = locked_stages(root)
    on_gpu = count_gpus() > 0
    if on_gpu:
        make_limit()
    runner = StageRunner(
        root,
        unchanged=unchanged(root, stages),
        force=force,
        train_jobs=train_jobs,
        on_gpu=on_gpu,
        timeouts_s=timeouts_s or {},
    )
    stage_task = run_stage.with_options(
        retries=retries, retry_delay_seconds=list(RETRY_DELAYS_S), retry_condition_fn=_may_pass
    )
    futures: dict[str, PrefectFuture[Any]] = {}
    show_done = show_progress(len(stages))
    try:
        for stage in stages:
            needed = [futures[need] for need in stage.needs]
            futures[stage.name] = stage_task.submit(stage, runner, return_state=False, wait_for=needed)
        for done, _ in enumerate(as_completed(list(futures.values())), start=1):
            show_done(done)
        wait(list(futures.values()))  # a future that is done may not know its state yet
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
    show_stages(root, rows)
    for row in rows:
        get_run_logger().info("%-28s %-10s %7.1f s", *row.values())
    failed = [state.message or name for name, state in states.items() if state.is_failed()]
    if failed:
        raise AvisError("\n".join(failed))
    return states


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def rebuild(
    train_jobs: int = 1,
    retries: int = 0,
    root: Path | None = None,
    targets: list[str] | None = None,
    wait: bool = True,
    timeouts_s: dict[str, float] | None = None,
    revision: str | None = None,
    repository: str | None = None,
) -> State[Any]:
    """Bring the stages of dvc.yaml up to date.

    Args:
        train_jobs: trainings that run at the same time (each uses all cores, or the GPU).
        retries: further tries of a stage that fails for a reason that may pass.
        root: the repository; by default the one around the current folder.
        targets: stages, or groups such as `train` for all variants, each with all that it needs; None: all.
        wait: whether to wait while another run works in this repository, instead of failing.
        timeouts_s: the longest that a try may take, by group, and as `default` for those not named.
        revision: a branch, tag or commit: work on it in a clone, commit the result on a branch of its own and
            push it with its data; None: work in `root` as it is, and commit nothing.
        repository: what to clone and push to; by default where `root` comes from.
    """
    how: dict[str, Any] = {
        "targets": targets,
        "train_jobs": train_jobs,
        "retries": retries,
        "timeouts_s": timeouts_s,
    }
    try:
        root = find_root(root or Path.cwd())
        if revision is not None:
            return _rebuild_clone(root, revision, repository, how, wait=wait)
        with hold_workspace(root, purpose="rebuild", wait=wait):
            return Completed(message=_summary(bring_up_to_date(root, **how)))
    except AvisError as error:
        return Failed(message=str(error))


def _rebuild_clone(
    base: Path, revision: str, repository: str | None, how: Mapping[str, Any], *, wait: bool
) -> State[Any]:
    with own_clone(base, revision=revision, purpose="rebuild", repository=repository, wait=wait) as workspace:
        require_remote(workspace.root)
        with environment_of_stages(workspace, trigger="rebuild"):
            states = bring_up_to_date(workspace.root, **how)
            message = _summary(states)
            if workspace.is_as_last_run_left("dvc.lock", "dvc.yaml", "params.yaml"):
                return Completed(name="Unchanged", message=message)
            drop_lost(workspace.root, set(states))
            commit = workspace.commit(f"Rebuild from {workspace.start[:12]}: {message}")
            workspace.push()
            trained = [name for name, state in states.items() if state.name != SKIPPED]
            workspace.note_commit(
                commit, [name.partition("@")[2] for name in trained if name.startswith("train@")]
            )
        get_run_logger().info(f"Commit {commit} on {workspace.branch}, its data at the DVC remote")
        return Completed(message=f"{message}; branch {workspace.branch}")


def _summary(states: Mapping[str, State[Any]]) -> str:
    ran = sum(state.name == "Completed" for state in states.values())
    return f"{ran} of {len(states)} stages ran, the others were up to date"
