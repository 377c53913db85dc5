"""The flow `study`: every cell that has no result yet is trained and scored, and a report is written.

A cell is computed in a checkout of its own beside the user's (pipelines/studies/workspace.py). DVC's cache is
shared, so what two cells have in common is made once; scores are kept under data/studies/cells by a hash of
all that decides them, so no cell is computed twice, whatever study asks for it.
"""

import os
import queue
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.git import git
from components.core.run.paths import Paths
from components.core.run.process import disable_telemetry
from components.core.tracking.address import tracking_uri
from components.core.tracking.run import STUDY, TRIGGER, Run, continue_run, send_pending, study_run
from components.tools.studies.report import Findings, write_report
from components.tools.studies.results import Result, keep, read_result
from pipelines.dvc.command import dvc
from pipelines.dvc.graph import read_graph, select, unchanged
from pipelines.flows.notifications import notify_failure
from pipelines.studies.plan import Plan, Trial, duration, make_plan
from pipelines.studies.workspace import alone_with_cells, left, prepare, write_parameters

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
disable_telemetry()

from prefect import flow, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.futures import PrefectFuture, as_completed  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from pipelines.flows.artifacts import show_progress, show_text  # noqa: E402
from pipelines.flows.gpu import count_gpus, make_limit  # noqa: E402
from pipelines.flows.stage_runner import StageRunner  # noqa: E402


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def study(
    name: str,
    root: Path,
    profile: str | None = None,
    seeds: int | None = None,
    jobs: int | None = None,
) -> State[Any]:
    """Compute what is missing of a study, and write its report.

    Args:
        name: of the study.
        root: the checkout, which is the current folder.
        profile: laid over params.yaml in the place of the study's own.
        seeds: trainings of each cell, in the place of the study's own number.
        jobs: cells that are computed at the same time; by default one a GPU, and one without.
    """
    try:
        with alone_with_cells(root, f"study {name}"):
            return _study(make_plan(root, name, profile=profile, seeds=seeds), root, jobs)
    except AvisError as error:
        return Failed(message=str(error))


def _study(plan: Plan, root: Path, jobs: int | None) -> State[Any]:
    log = get_run_logger()
    for line in str(plan).splitlines():
        log.info(line)
    gpus = count_gpus()
    jobs = jobs or max(1, gpus)
    if gpus:
        make_limit(gpus)
    missing = plan.missing()
    paths = Paths(root / "data")
    _hide_from_git(paths)
    failures = _compute_all(missing, plan, root, jobs=jobs, gpus=gpus)
    plan.results = {trial.key: found for trial in plan.trials if (found := read_result(paths, trial.key))}
    folder = paths.root / "studies" / plan.name
    by_cell: dict[str, list[Result]] = {}
    for trial in sorted(plan.trials, key=lambda one: one.seed):
        if trial.key in plan.results:
            by_cell.setdefault(trial.cell.name, []).append(plan.results[trial.key])
    ordered = {cell.name: by_cell[cell.name] for cell in plan.study.all_cells() if cell.name in by_cell}
    findings = write_report(folder, plan.name, plan.study, ordered, failures)
    _tell_mlflow(plan, findings, folder, paths)
    if missing:
        _keep_in_dvc(root, paths)
    show_text("study", (folder / "table.md").read_text(), description=plan.study.title)
    for sentence in findings.sentences:
        log.info(sentence)
    report = (folder / "report.html").relative_to(root)
    if failures:
        reasons = "\n".join(f"{trial}: {reason}" for trial, reason in failures.items())
        return Failed(message=f"{len(failures)} of {len(missing)} could not be computed\n{reasons}\n{report}")
    for workspace in left(root):
        shutil.rmtree(workspace)
    return Completed(
        message=f"{len(missing)} of {len(plan.trials)} computed, the others were there: {report}"
    )


def _compute_all(missing: list[Trial], plan: Plan, root: Path, *, jobs: int, gpus: int) -> dict[str, str]:
    """Compute trials, some at a time; what went wrong, by the trial's name."""
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(jobs):
        free.put(number)
    show_done = show_progress(len(missing))
    begin_s = time.monotonic()
    failures: dict[str, str] = {}
    threads: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=jobs)
    with threads as runner:
        futures: dict[PrefectFuture[Any], Trial] = {
            runner.submit(
                compute, {"trial": trial, "plan": plan, "root": root, "free": free, "gpus": gpus}
            ): trial
            for trial in missing
        }
        for done, future in enumerate(as_completed(list(futures)), start=1):
            show_done(done)
            future.wait()
            if not future.state.is_completed():
                failures[futures[future].name] = future.state.message or "it was stopped"
            left_s = (time.monotonic() - begin_s) / done * (len(missing) - done)
            get_run_logger().info(f"{done} of {len(missing)} done, about {duration(left_s)} left")
    return failures


@task(task_run_name="{trial.name}", cache_policy=NO_CACHE, persist_result=False)
def compute(trial: Trial, plan: Plan, root: Path, free: "queue.SimpleQueue[int]", gpus: int) -> State[Any]:
    """Train and score one trial in a workspace that is free, and keep its scores."""
    number = free.get()
    try:
        return _compute(trial, plan, root, number, gpus)
    except AvisError as error:
        return Failed(message=str(error))
    finally:
        free.put(number)


def _compute(trial: Trial, plan: Plan, root: Path, number: int, gpus: int) -> State[Any]:
    workspace = prepare(root, str(number))
    write_parameters(workspace, trial.values)
    stages = select(read_graph(workspace), [f"evaluate@{plan.variant}"])
    environment = {"MLFLOW_TRACKING_URI": tracking_uri(root), TRIGGER: "study"}
    if gpus > 1:
        environment["CUDA_VISIBLE_DEVICES"] = str(number % gpus)
    runner = StageRunner(
        workspace,
        unchanged=unchanged(workspace, stages),
        force=(),
        train_jobs=1,
        on_gpu=gpus > 0,
        timeouts_s={},
        environment=environment,
    )
    seconds = {}
    try:
        for stage in stages:
            get_run_logger().info(f"{trial.name}: {stage.name}")
            state = runner.run(stage)
            if not state.is_completed():
                return state
            if state.name == "Completed":  # else it was there, or DVC's cache had it
                seconds[stage.group] = round(runner.seconds[stage.name], 1)
    except BaseException:  # cancelled or interrupted: nothing may go on alone
        runner.children.end()
        raise
    here = Paths(workspace / "data")
    send_pending(here, uri=environment["MLFLOW_TRACKING_URI"])
    about = {
        "study": plan.name,
        "cell": trial.cell.name,
        "changes": {**plan.study.base, **trial.cell.changes},
        "seed": trial.seed,
        "variant": plan.variant,
        "training": trial.training,
        "seconds": seconds,
        **_cost(here.model(plan.variant) / "config.json"),
        "commit": git(root, "rev-parse", "HEAD"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    keep(Paths(root / "data"), trial.key, workspace=here, variant=plan.variant, about=about)
    return Completed(message="computed")


def _cost(config: Path) -> dict[str, float]:
    """What the trained network costs; nothing of a train stage that writes no such file."""
    if not config.is_file():
        return {}
    from components.tools.studies.cost import flops_per_frame

    return {"flops_per_frame": flops_per_frame(config)}


def _tell_mlflow(plan: Plan, findings: Findings, folder: Path, paths: Paths) -> None:
    """A run for the study, with its report; the cells' runs become its children."""
    settings = plan.study.model_dump(exclude_defaults=True)
    with study_run(plan.name, folder / "run.json", params=settings, paths=paths) as run:
        run.metrics(
            {
                f"{metric}/{cell}": effect.value
                for cell, row in findings.effects.items()
                for metric, effect in row.items()
                if effect.value is not None
            }
        )
        for name in ("report.html", "table.csv", "table.tex", "table.md"):
            run.artifact(folder / name, "study")
        for trial in plan.trials:
            if trial.key in plan.results:
                _adopt(plan.results[trial.key], trial, plan, run, paths)


def _adopt(result: Result, trial: Trial, plan: Plan, parent: Run, paths: Paths) -> None:
    varied: Mapping[str, Any] = trial.cell.changes
    with continue_run(result.run_file, paths=paths) as child:
        child.tags(
            {
                "mlflow.parentRunId": parent.run_id,
                STUDY: plan.name,
                "avis.cell": trial.cell.name,
                **{f"study.{key}": str(value) for key, value in varied.items()},
            }
        )


def _keep_in_dvc(root: Path, paths: Paths) -> None:
    """Let DVC have the cells' scores, so that `dvc push` and `dvc pull` bring them to other clones."""
    dvc(root, "add", str((paths.root / "studies" / "cells").relative_to(root)))


def _hide_from_git(paths: Paths) -> None:
    """Before the first cell: DVC takes none that `git add --all` has taken while a study was computed."""
    ignore = paths.root / "studies" / ".gitignore"
    lines = ignore.read_text().splitlines() if ignore.is_file() else []
    if missing := [line for line in ("/cells", "run.json") if line not in lines]:
        ignore.parent.mkdir(parents=True, exist_ok=True)
        write_text(ignore, "\n".join([*lines, *missing, ""]))
