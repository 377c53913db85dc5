"""`avis champion …`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.flow import Repository, Revision, run_flow

champion = typer.Typer(help="The registered versions of the model, and which of them is the champion.")


@champion.callback(invoke_without_command=True)
def show_versions_of(context: typer.Context) -> None:
    """Show all registered versions: scores, what was decided about each, and its commit."""
    if context.invoked_subcommand is None:
        from pipelines.commands.versions import show_versions

        show_versions()


@champion.command("evaluate")
def evaluate_champion(revision: Revision = "main", repository: Repository = None) -> None:
    """Score the champion on the test clips of a revision: does it do worse on fresh ones?"""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.champion import evaluate_champion as flow

    run_flow(lambda: flow(revision, repository, root=root, return_state=True))


@champion.command()
def rollback(
    to: Annotated[int | None, typer.Argument(metavar="VERSION", help="Else the previous champion.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make the previous champion, or a given version, the champion again."""
    from pipelines.commands.versions import rollback

    rollback(to, reason)


@champion.command()
def promote(
    version: Annotated[int, typer.Argument(help="As `avis champion` shows it.")],
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make a version the champion by hand, whatever was measured."""
    from pipelines.commands.versions import promote

    promote(version, reason)


@champion.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="A new folder for the model.")],
    version: Annotated[int | None, typer.Option(help="Else the champion.")] = None,
) -> None:
    """Get a version's model from DVC, for `avis predict --model`."""
    from pipelines.commands.versions import fetch

    fetch(folder, version)
