"""The predict stage: a trained variant on the test clips, results in the official format."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.errors import AvisError
from components.core.files import write_json
from components.core.media_folder import read_features, read_frame, read_seconds, resize
from components.core.media_mirror import with_local_media
from components.core.paths import Paths
from components.core.records import Result, Video, read_annotations, write_results
from components.core.tracking import continue_run
from components.predict.clips import Predictor
from components.predict.params import PredictParams
from models.moments import ClipError, Moment


def predict(variant: str, params: PredictParams, paths: Paths | None = None) -> None:
    """Write data/predictions/<variant>/results.json and timing.json.

    Raises:
        AvisError: no trained model, missing media, or categories that the model does not know.
    """
    paths = paths or Paths()
    predictor = Predictor.load(paths.model(variant), params)
    file = paths.annotations / "test.json"
    annotations = read_annotations(file)
    if annotations.categories != predictor.card.categories:
        raise AvisError(
            "the test annotations have other categories than the model was trained on",
            where=str(file),
            fix="Run `dvc repro`: it trains anew.",
        )
    paths = with_local_media(paths, [video.name for video in annotations.videos])
    results: list[Result] = []
    frames = 0
    begin = time.monotonic()
    for video in tqdm(annotations.videos, desc=f"predict {variant}", unit="clip", mininterval=1.0):
        clip = partial(_moments, predictor, paths.media, video)
        try:
            results += predictor.predict(video.id, clip, height=video.height, width=video.width)
        except ClipError as error:
            raise AvisError(f"the clip cannot be predicted: {error}", where=video.name) from error
        frames += video.length
    seconds = time.monotonic() - begin
    timing = {
        "clips": len(annotations.videos),
        "frames": frames,
        "tracks": len(results),
        "seconds": round(seconds, 3),
        "seconds_per_frame": round(seconds / max(1, frames), 5),
        "device": str(next(predictor.model.parameters()).device.type),
        "threads": torch.get_num_threads(),
    }
    folder = paths.predictions(variant)
    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.json", results)
    write_json(folder / "timing.json", timing)
    with continue_run(paths.model(variant) / "run.json", paths=paths) as run:
        run.dataset("test", file, "evaluation")
        run.metrics(
            {
                "predict/seconds_per_frame": seconds / max(1, frames),
                "predict/tracks": float(len(results)),
            }
        )


def _moments(predictor: Predictor, media: Path, video: Video) -> Iterator[Moment]:
    """Frames and sound of a test clip, read as they are asked for."""
    audio = predictor.model.config.audio
    sounds: Iterator[NDArray[np.float32] | None] = repeat(None, video.length)
    if audio == "features":
        sounds = iter(read_features(media, video))
    elif audio == "vggish":
        sounds = read_seconds(media, video, range(video.length), predictor.card.frame_rate_hz)
    for index, sound in enumerate(sounds):
        yield resize(read_frame(media, video, index), predictor.card.short_side_px), sound
