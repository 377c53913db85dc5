"""`avis suspect`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Split


def suspect(
    split: Annotated[list[Split] | None, typer.Option(help="By default train, val and test.")] = None,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    out: Annotated[Path, typer.Option(help="For qa.suspicions in params.yaml.")] = Path(
        "data/suspicions.csv"
    ),
) -> None:
    """Write which labels a trained model doubts, for the qa stage to show."""
    from pipelines.commands.suspect import suspect

    suspect(model, [chosen.value for chosen in split or list(Split)], out)
