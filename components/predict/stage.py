"""The predict stage: a trained variant on the test clips, results in the official format."""

import time

import torch
from tqdm import tqdm

from components.core.errors import AvisError
from components.core.files import write_json
from components.core.media_folder import read_features, read_frame, read_sound, resize, seconds_of_sound
from components.core.paths import Paths
from components.core.records import Result, read_annotations, write_results
from components.core.tracking import continue_run
from components.predict.clips import Predictor
from components.predict.params import PredictParams


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
    results: list[Result] = []
    frames = 0
    begin = time.monotonic()
    for video in tqdm(annotations.videos, desc=f"predict {variant}", unit="clip", mininterval=1.0):
        side = predictor.card.short_side_px
        pictures = (resize(read_frame(paths.media, video, k), side) for k in range(video.length))
        audio = predictor.model.config.audio
        sound = None
        if audio == "features":
            sound = read_features(paths.media, video)
        elif audio == "vggish":
            rate_hz = predictor.card.frame_rate_hz
            sound = seconds_of_sound(read_sound(paths.media, video), video.length, rate_hz)
        results += predictor.predict(
            video.id, pictures, sound, length=video.length, height=video.height, width=video.width
        )
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
