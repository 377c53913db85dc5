"""The first AVIS model through train, predict and evaluate, as the pipeline runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.inference.params import PredictParams
from components.core.records.annotations import read_annotations
from components.core.records.masks import decode
from components.core.records.results import read_results
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.evaluate.params import EvaluateParams
from components.evaluate.stage import evaluate
from components.predict.stage import predict
from components.tools.prediction.inputs import Input
from components.tools.prediction.one_video import Task, Wanted, predict_one
from components.train.params import TrainParams
from components.train.stage import train
from models.checkpoints.saved import load_model
from tests.support.clips import make_clip
from tests.support.processes import let_children_compute, run_together
from tests.support.tiny_model import CATEGORIES, train_settings, write_square_set
from tests.support.tiny_tpavi import SETTINGS, write_tpavi_finder

let_children_compute()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    for split in ("train", "val", "test"):
        write_square_set(paths, split)
    return paths


def params_of(**model: object) -> TrainParams:
    settings = train_settings(model={"name": "tpavi", **SETTINGS, **model}, steps=3)
    return TrainParams.model_validate(settings)


def test_a_variant_is_trained_predicts_and_is_scored(paths: Paths) -> None:
    torch.set_num_threads(1)
    train("tpavi", params_of(), paths)
    model, card = load_model(paths.model("tpavi"))
    assert (card.name, card.categories, model.config.clip_frames) == ("tpavi", CATEGORIES, 2)
    metrics = json.loads((paths.model("tpavi") / "metrics.json").read_text())
    assert metrics["steps"] == 3 and 0 < metrics["validation_loss"] < 100
    header = (paths.model("tpavi") / "history.csv").read_text().splitlines()[0].split(",")
    assert {"class", "mask", "dice", "loss"} <= set(header)
    first = (paths.model("tpavi") / "model.safetensors").read_bytes()
    train("tpavi", params_of(), paths)
    assert (paths.model("tpavi") / "model.safetensors").read_bytes() == first  # the same again is the same

    predict("tpavi", PredictParams(score_threshold=0.0, most_tracks=3), paths)
    annotations = read_annotations(paths.annotations / "test.json")
    results = read_results(paths.predictions("tpavi") / "results.json")
    lengths = {video.id: video.length for video in annotations.videos}
    assert all(len(result.segmentations) == lengths[result.video_id] for result in results)
    evaluate(
        "tpavi",
        known_variants=["tpavi"],
        params=EvaluateParams(),
        engine=EngineParams(workers=1),
        paths=paths,
    )
    assert (paths.evaluation("tpavi") / "metrics.json").is_file()


@pytest.mark.parametrize("audio", ["vggish", "features", "none"])
def test_masks_of_all_frames_come_at_the_sources_size(paths: Paths, audio: str) -> None:
    write_tpavi_finder(paths.model("all"), audio=audio)
    annotations = read_annotations(paths.annotations / "test.json")
    (paths.media / "features").mkdir()
    for video in annotations.videos:
        np.save(paths.media / "features" / f"{video.name}.npy", np.ones((video.length, 128), np.float32))
    predict("all", PredictParams(score_threshold=0.0, most_tracks=2), paths)
    results = read_results(paths.predictions("all") / "results.json")
    videos = {video.id: video for video in annotations.videos}
    assert sorted(result.video_id for result in results) == [video for video in videos for _ in range(2)]
    for result in results:
        video = videos[result.video_id]
        assert all(decode(mask, video.height, video.width).all() for mask in result.segmentations)


def test_weights_of_an_earlier_training_are_a_start(paths: Paths, tmp_path: Path) -> None:
    train("tpavi", params_of(), paths)
    start = str(paths.model("tpavi") / "model.safetensors")
    again = params_of().model_copy(update={"start_from": start, "steps": 1, "learning_rate": 1e-9})
    train("again", again, paths)
    one, _ = load_model(paths.model("tpavi"))
    other, _ = load_model(paths.model("again"))
    for name, value in one.state_dict().items():
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(other.state_dict()[name], value, atol=1e-5, rtol=0, msg=name)


def test_a_video_of_ones_own(tmp_path: Path) -> None:
    folder = write_tpavi_finder(tmp_path / "model")
    video = make_clip(tmp_path / "clip.mp4", seconds=3.5, rate_hz=48_000, flashes_s=(0.5,))
    params = PredictParams(score_threshold=0.0, most_tracks=2)
    wanted = Wanted(model=folder, params=params, save=("objects", "film"))
    row = predict_one(Task(Input("clip", str(video), video), video, wanted, tmp_path, progress=False))
    assert (tmp_path / "clip" / "film.mp4").is_file()
    assert row.objects == row.sounds.count(": 0-3 s") == 2


def test_recomputed_parts_change_nothing(paths: Paths) -> None:
    torch.set_num_threads(1)
    train("kept", params_of(), paths)
    parts = ("backbone", "pixel_decoder", "clip_decoder")
    train("again", params_of().model_copy(update={"checkpoint_activations": parts}), paths)
    one, other = (load_model(paths.model(name))[0].state_dict() for name in ("kept", "again"))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_two_processes_train_one_model(paths: Paths) -> None:
    """Their gradients are one; the fusions' batch norms see the clips of their own process (on CPUs)."""
    params = params_of().model_copy(update={"clips_per_step": 4})
    assert run_together(lambda: train("pair", params, paths), 2) == [None, None]
    assert json.loads((paths.model("pair") / "metrics.json").read_text())["steps"] == 3
    assert all(value.isfinite().all() for value in load_model(paths.model("pair"))[0].state_dict().values())
