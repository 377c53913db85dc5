"""`avis predict`."""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="An mp4, mkv, webm or mov file.")],
    out: Annotated[Path, typer.Option(help="Folder for the overlay video and the JSON.")] = Path(
        "predictions"
    ),
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score shown.")] = None,
) -> None:
    """Find what sounds in a video, when and where."""
    from pipelines.commands.predict import predict

    predict(video, out, model, threshold)
