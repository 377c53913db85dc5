"""`avis qa`."""

from pathlib import Path
from typing import Annotated

import typer

qa = typer.Typer(help="Check annotations and media, as the qa stage does.")


@qa.callback(invoke_without_command=True)
def check(
    context: typer.Context,
    list_checks: Annotated[
        bool, typer.Option("--list", help="List the checks with their thresholds, and end.")
    ] = False,
) -> None:
    """Check annotations and media, as the qa stage does, and write data/qa/report.html."""
    if context.invoked_subcommand is not None:
        return
    from components.qa.stage import list_all_checks
    from components.qa.stage import main as run

    if list_checks:
        list_all_checks()
    else:
        run()


@qa.command()
def fix(
    source: Annotated[
        Path | None, typer.Argument(help="AVISeg JSON, or a folder of it; else annotate.source.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The repaired file or folder; else beside the source.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="specks, pinholes: repairs that change what is labelled.")
    ] = None,
) -> None:
    """Apply the repairs that need no judgement, and write what was done."""
    from pipelines.commands.qa import fix

    fix(source, out, also or [])
