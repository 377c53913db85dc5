"""`avis export …`: the pipeline's clips in the layouts of others."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError

export = typer.Typer(no_args_is_help=True, help="Write clips and annotations for other programs.")


@export.command()
def aviseg(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    features: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Whose audio encoder makes FEATAudios.")
    ] = None,
) -> None:
    """Write the pipeline's clips in the layout that AVISeg is published in."""
    from components.core.run.params import EngineParams, read_block, read_variant_names
    from components.core.run.paths import Paths
    from components.tools import aviseg_export
    from components.tools.audio_embedding import AudioEmbedding

    paths = Paths()
    embed = None
    if features is not None:
        if features not in read_variant_names():
            known = ", ".join(read_variant_names())
            raise AvisError(
                f"there is no variant {features!r}", where="params.yaml", fix=f"Variants: {known}."
            )
        embed = AudioEmbedding(paths.model(features))
        embed.check()
    engine = read_block("engine", EngineParams)
    print(aviseg_export.export(folder, paths=paths, engine=engine, embed=embed))
