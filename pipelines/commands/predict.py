"""`avis predict`: what was found in a video, said in the terminal."""

from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.params import read_block, read_variant_names
from components.core.run.paths import Paths


def predict(video: Path, out: Path, model: str | None, threshold: float | None) -> None:
    """Find the sounding objects of a video and print a line for each.

    Args:
        video: the file.
        out: folder for the overlay video and the JSON.
        model: a variant's name or a model's folder; by default the first variant.
        threshold: a score between 0 and 1 instead of predict.score_threshold.

    Raises:
        AvisError: no such video or model, or it cannot be used.
    """
    from components.extract.params import ExtractParams
    from components.predict.params import PredictParams
    from components.tools.predict_video import predict_video

    override = {} if threshold is None else {"score_threshold": threshold}
    params = read_block("predict", PredictParams, override=override)
    encoder = read_block("extract", ExtractParams, optional=True).audio_weights
    found = predict_video(
        video, out, model_folder(model), params, audio_weights=Path(encoder) if encoder else None
    )
    for thing in found.objects:
        when = ", ".join(f"{start:g}-{end:g} s" for start, end in thing.intervals_s) or "never visible"
        print(f"{thing.category:16} {when}   (score {thing.score:.2f})")
    if not found.objects:
        print(
            f"Nothing that sounds was found: the best candidate scores {found.best_score:.2f}, "
            f"the threshold is {params.score_threshold:g}; --threshold sets another."
        )
    print(f"Overlay video: {found.overlay}\nMasks and times: {found.results}")


def model_folder(model: str | None) -> Path:
    """The folder of a variant, or of the first one; a folder is itself.

    Raises:
        AvisError: it is neither.
    """
    if model is not None and Path(model).is_dir():
        return Path(model)
    variants = read_variant_names()
    if model is not None and model not in variants:
        raise AvisError(
            f"{model!r} is neither a folder nor a variant", fix=f"Variants: {', '.join(variants) or 'none'}."
        )
    if not variants:
        raise AvisError("there are no variants", where="params.yaml, variants", fix="Name a model's folder.")
    return Paths().model(model or variants[0])
