"""`avis pretrain`: weights to start from, made on composed clips."""

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the settings' own.")] = None,
) -> None:
    """Make weights to start from, on composed clips."""
    from components.tools.pretraining.pretrain import pretrain

    pretrain(out, steps=steps)
