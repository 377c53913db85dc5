"""`avis runs …`."""

from pathlib import Path
from typing import Annotated

import typer

runs = typer.Typer(help="The tracked runs as a table, and what two of them differ in.")


@runs.callback(invoke_without_command=True)
def table(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Runs shown.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="Show all runs.")] = False,
    experiment: Annotated[str | None, typer.Option(help="avis-data has the data stages.")] = None,
    search: Annotated[
        str | None, typer.Option(help="A saved search (avis runs searches), or a filter as MLflow has them.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write all that MLflow knows of the runs to this file instead.")
    ] = None,
) -> None:
    """Show the tracked runs, the newest first, with scores (protocol corrected, percent), commit and data."""
    if context.invoked_subcommand is not None:
        return
    from components.tools.runs.table import show_runs

    show_runs(experiment=experiment, search=search, limit=None if all_ else limit, to_csv=csv)


_Which = Annotated[
    str, typer.Argument(help="A run id or its beginning, a variant, champion, challenger, or NAME@VERSION.")
]


@runs.command()
def diff(
    first: _Which,
    second: _Which,
    experiment: Annotated[str | None, typer.Option(help="Where to look for them.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the differences of all clips to this file.")] = None,
) -> None:
    """Show what two runs differ in: parameters, data, code, environment, scores, and on which clips."""
    from components.tools.runs.difference_table import show_diff

    show_diff(first, second, experiment=experiment, to_csv=csv)


@runs.command()
def searches() -> None:
    """List the saved searches, and put them into MLflow as views with plots, each with its address."""
    from components.tools.runs.views import show_searches

    show_searches()
