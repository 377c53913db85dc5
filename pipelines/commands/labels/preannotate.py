"""`avis preannotate`."""

from pathlib import Path
from typing import Annotated

import typer


def preannotate(
    out: Annotated[Path, typer.Argument(help="A new folder for the drafts.")],
    to: Annotated[list[str] | None, typer.Option(help="Formats, by default cvat and label_studio.")] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="A clip; by default those without annotations.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All clips with media.")] = False,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score drafted.")] = None,
    sam: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A SAM 2 or SAM 3 model of transformers: draws the masks."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A CSV of boxes and points, which --sam follows; docs/preannotation.md."),
    ] = None,
    image_root: Annotated[
        str, typer.Option(metavar="URL", help="Where Label Studio finds the folders of the clips' frames.")
    ] = "/data/local-files/?d=",
) -> None:
    """Write drafts of masks, so that people correct instead of draw."""
    from pipelines.commands.preannotate import preannotate

    preannotate(
        out,
        formats=to or ["cvat", "label_studio"],
        names=video or [],
        every=every,
        model=model,
        threshold=threshold,
        sam=sam,
        prompts=prompts,
        image_root=image_root,
    )
