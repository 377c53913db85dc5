"""`avis agree`."""

from pathlib import Path
from typing import Annotated

import typer


def agree(
    second: Annotated[
        Path, typer.Argument(help="AVISeg JSON: some clips annotated again, a file or folder.")
    ],
    out: Annotated[Path, typer.Option(help="For qa.agreements in params.yaml.")] = Path(
        "data/agreements.csv"
    ),
) -> None:
    """Show how well people agree, and write it for the qa stage to show."""
    from pipelines.commands.agree import agree

    agree(second, out)
