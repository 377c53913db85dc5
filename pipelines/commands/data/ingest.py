"""`avis ingest …`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.flow import Repository, Revision, run_flow
from pipelines.commands.options import Split

ingest = typer.Typer(no_args_is_help=True, help="What became of the videos of the manifest.")


@ingest.command()
def status(
    status: Annotated[
        str | None, typer.Option("--list", metavar="STATUS", help="Show the entries with this status.")
    ] = None,
    uploader: Annotated[str | None, typer.Option(help="Show the entries of this uploader.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the entries to this file instead.")] = None,
) -> None:
    """Count the entries by status, split and category, and say what to do."""
    from pipelines.commands.ingest_status import show_status

    show_status(status=status, uploader=uploader, to_csv=csv)


@ingest.command(context_settings={"ignore_unknown_options": True})  # a YouTube id may begin with a dash
def run(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="YouTube ids or addresses to add.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="That the new ones belong to.")] = None,
    revision: Revision = "main",
    repository: Repository = None,
) -> None:
    """Add videos and fetch what is missing, in a clone; report what could not be had; commit and push."""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.ingest import ingest as flow

    part = split and split.value
    run_flow(lambda: flow(ids, revision, repository, split=part, root=root, return_state=True))
