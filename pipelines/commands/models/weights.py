"""`avis weights`."""

from pathlib import Path
from typing import Annotated

import typer


def weights(
    published: Annotated[
        Path, typer.Argument(help="A .pth or .pkl of AVISM, ACVIS, VITA or Mask2Former, or of a backbone.")
    ],
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
) -> None:
    """Convert published weights to start from."""
    from pipelines.commands.weights import convert_weights

    convert_weights(published, out)
