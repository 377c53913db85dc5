"""`avis predict`: what was found in a video, said in the terminal."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Model, model_folder


def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="An mp4, mkv, webm or mov file.")],
    out: Annotated[Path, typer.Option(help="Folder for the overlay video and the JSON.")] = Path(
        "predictions"
    ),
    model: Model = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score shown.")] = None,
) -> None:
    """Find what sounds in a video, when and where."""
    from components.core.inference.params import PredictParams
    from components.core.run.params import read_block
    from components.extract.params import ExtractParams
    from components.tools.predict_video import predict_video

    override = {} if threshold is None else {"score_threshold": threshold}
    params = read_block("predict", PredictParams, override=override)
    extract = read_block("extract", ExtractParams, optional=True)
    found = predict_video(
        video,
        out,
        model_folder(model),
        params,
        audio_weights=Path(extract.audio_weights) if extract.audio_weights else None,
        resampling=extract.resampling,
    )
    for thing in found.objects:
        when = ", ".join(f"{start:g}-{end:g} s" for start, end in thing.intervals_s) or "never visible"
        print(f"{thing.category:16} {when}   (score {thing.score:.2f})")
    if not found.objects:
        print(
            f"Nothing that sounds was found: the best candidate scores {found.best_score:.2f}, "
            f"the threshold is {found.score_threshold:g}; --threshold sets another."
        )
    if found.changes:
        print(*found.changes.report(), sep="\n")
    print(f"Overlay video: {found.overlay}\nMasks and times: {found.results}")
