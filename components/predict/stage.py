"""The predict stage: a trained variant on the test clips, results in the official format."""

import time
from functools import partial

import torch
from tqdm import tqdm

from components.core.disturbance.clips import Clips
from components.core.inference.extracted_clips import clip_moments
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.records.results import Result, write_results
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, write_json
from components.core.run.paths import FURTHER, SEEDS, Paths
from components.core.storage.mirror import with_local_media
from components.core.tracking.run import continue_run
from models.inference.moments import ClipError


def predict_clips(
    predictor: Predictor, annotations: AnnotationSet, paths: Paths, *, where: str, label: str
) -> list[Result]:
    """Find the tracks of all annotated clips, with a progress bar.

    Args:
        predictor: the model.
        annotations: names the clips; their masks are not looked at.
        paths: where the media are.
        where: the annotations' file, for messages.
        label: shown at the bar.

    Raises:
        AvisError: missing media, or categories that the model does not know.
    """
    known = predictor.card.categories
    # a released model knows its own categories: what they have in common is scored
    common = {number: name for number, name in annotations.categories.items() if known.get(number) == name}
    usable = predictor.card.released and (
        common or not {*known.values()} & {*annotations.categories.values()}
    )
    if annotations.categories != known and not usable:
        raise AvisError(
            "the test annotations have other categories than the model was trained on",
            where=where,
            fix="Run `dvc repro`: it trains anew.",
        )
    paths = with_local_media(paths, [video.name for video in annotations.videos])
    clips = Clips(paths.media, annotations.videos, predictor.params.disturb)
    if clips.disturb is not None:
        print(f"{label}: the clips are disturbed (predict.disturb): {clips.disturb}")
    results: list[Result] = []
    for video in tqdm(annotations.videos, desc=label, unit="clip", mininterval=1.0):
        clip = partial(clip_moments, predictor, clips, video)
        try:
            results += predictor.predict(video.id, clip, height=video.height, width=video.width)
        except ClipError as error:
            raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
    kept = [result for result in results if result.category_id in common]
    if len(kept) < len(results):
        print(f"{len(results) - len(kept)} tracks are of categories that the annotations lack: left out")
    return kept


def predict(variant: str, params: PredictParams, paths: Paths | None = None) -> None:
    """Write data/predictions/<variant>/results.json and timing.json, for each seed that was trained.

    Raises:
        AvisError: no trained model, missing media, or categories that the model does not know.
    """
    paths = paths or Paths()
    _predict_once(variant, params, paths)
    further = paths.seeds(variant)
    with replace_folder(paths.predictions(variant) / SEEDS) as seeds:
        write_json(seeds / FURTHER, len(further))
    for name in further:
        _predict_once(name, params, paths)


def _predict_once(variant: str, params: PredictParams, paths: Paths) -> None:
    predictor = Predictor.load(paths.model(variant), params, paths.root)
    file = paths.annotations / "test.json"
    annotations = read_annotations(file, paths.root)
    begin = time.monotonic()
    results = predict_clips(predictor, annotations, paths, where=str(file), label=f"predict {variant}")
    seconds = time.monotonic() - begin
    frames = sum(video.length for video in annotations.videos)
    timing = {
        "clips": len(annotations.videos),
        "frames": frames,
        "tracks": len(results),
        "seconds": round(seconds, 3),
        "seconds_per_frame": round(seconds / max(1, frames), 5),
        "device": str(next(predictor.model.parameters()).device.type),
        "threads": torch.get_num_threads(),
        **({"disturbed": str(params.disturb)} if params.disturb is not None else {}),
    }
    folder = paths.predictions(variant)
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.json", results)
    write_json(folder / "timing.json", timing)
    with continue_run(paths.model(variant) / "run.json", paths=paths) as run:
        run.params({"predict": params.model_dump()})
        run.dataset("test", file, "evaluation")
        run.metrics(
            {
                "predict/seconds_per_frame": seconds / max(1, frames),
                "predict/tracks": float(len(results)),
            }
        )
