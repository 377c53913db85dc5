"""`avis rebuild`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.flow import Repository, run_flow


def rebuild(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE]...", help="Stages, or groups such as train; by default all."),
    ] = None,
    train_jobs: Annotated[int, typer.Option(min=1, help="Trainings that run at the same time.")] = 1,
    retries: Annotated[
        int, typer.Option(min=0, help="Further tries of a stage that fails for a reason that may pass.")
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="While another run works here, or say who it is.")
    ] = True,
    revision: Annotated[
        str | None, typer.Option(help="Work on this branch, tag or commit in a clone; commit and push.")
    ] = None,
    repository: Repository = None,
) -> None:
    """Do what `dvc repro` does, as Prefect tasks."""
    from pipelines.dvc.graph import find_root, read_graph, select, unchanged

    root = find_root(Path.cwd())
    if (
        "PREFECT_API_URL" not in os.environ and revision is None
    ):  # nobody watches: a server need not be started for nothing
        stages = select(read_graph(root), targets)
        if len(unchanged(root, stages)) == len(stages):
            print(f"0 of {len(stages)} stages ran, the others were up to date")
            return
    from pipelines.flows.rebuild import rebuild as flow

    run_flow(
        lambda: flow(
            train_jobs=train_jobs,
            retries=retries,
            root=root,
            targets=targets,
            wait=wait,
            revision=revision,
            repository=repository,
            return_state=True,
        )
    )
