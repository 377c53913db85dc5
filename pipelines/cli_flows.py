"""Commands of `avis` that run flows, by hand or by a server: rebuild, retrain, champion, deploy."""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

champion_app = typer.Typer(help="The registered versions of the model, and which of them is the champion.")

Repository = Annotated[
    str | None, typer.Option(help="What to clone and push to; else where this checkout comes from.")
]
Revision = Annotated[str, typer.Option(help="A branch, tag or commit that was pushed.")]


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


def retrain(
    revision: Revision = "main",
    repository: Repository = None,
    force: Annotated[bool, typer.Option(help="Compare once more although nothing changed.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="Further tries where a second one may help.")] = 1,
) -> None:
    """Train a challenger in a clone of its own, and promote it if it is better than the champion."""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.retrain import retrain as flow

    run_flow(lambda: flow(revision, repository, force=force, retries=retries, root=root, return_state=True))


def run_flow(flow: "Callable[[], State[Any]]") -> None:
    """Run a flow and print its message, or raise it."""
    from components.core.run.errors import AvisError

    try:
        state = flow()
    except RuntimeError as error:  # no server to report to: nothing has run
        raise AvisError(f"Prefect did not start: {error}", fix="Try again.") from None
    if not state.is_completed():
        raise AvisError(state.message or "the run was stopped")
    print(state.message)


@champion_app.callback(invoke_without_command=True)
def champion(context: typer.Context) -> None:
    """Show all registered versions: scores, what was decided about each, and its commit."""
    if context.invoked_subcommand is None:
        from pipelines.commands.versions import show_versions

        show_versions()


@champion_app.command("evaluate")
def evaluate_champion(revision: Revision = "main", repository: Repository = None) -> None:
    """Score the champion on the test clips of a revision: does it do worse on fresh ones?"""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.champion import evaluate_champion as flow

    run_flow(lambda: flow(revision, repository, root=root, return_state=True))


@champion_app.command()
def rollback(
    to: Annotated[int | None, typer.Argument(metavar="VERSION", help="Else the previous champion.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make the previous champion, or a given version, the champion again."""
    from pipelines.commands.versions import rollback

    rollback(to, reason)


@champion_app.command()
def promote(
    version: Annotated[int, typer.Argument(help="As `avis champion` shows it.")],
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make a version the champion by hand, whatever was measured."""
    from pipelines.commands.versions import promote

    promote(version, reason)


@champion_app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="A new folder for the model.")],
    version: Annotated[int | None, typer.Option(help="Else the champion.")] = None,
) -> None:
    """Get a version's model from DVC, for `avis predict --model`."""
    from pipelines.commands.versions import fetch

    fetch(folder, version)


class Pool(StrEnum):
    """Of workers."""

    cpu = "cpu"
    gpu = "gpu"


def deploy(
    pool: Annotated[
        Pool | None, typer.Option(help="Where events start retrain; by default gpu if there is one here.")
    ] = None,
    gpu_slots: Annotated[
        int | None, typer.Option(min=1, help="Stages that may use a GPU at the same time, over all runs.")
    ] = None,
) -> None:
    """Register the flows with a Prefect server: pools, limits, schedules."""
    from pipelines.flows.deployments import deploy

    deploy(pool and pool.value, gpu_slots)
