"""`avis export …`."""

from pathlib import Path
from typing import Annotated

import typer

export = typer.Typer(no_args_is_help=True, help="Write clips and annotations for other programs.")


@export.command()
def aviseg(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    features: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Whose audio encoder makes FEATAudios.")
    ] = None,
) -> None:
    """Write the pipeline's clips in the layout that AVISeg is published in."""
    from pipelines.commands.export import export_aviseg

    export_aviseg(folder, features)
