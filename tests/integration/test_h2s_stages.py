"""An H2S through train and predict, on features of separated sources that users made."""

from pathlib import Path

import numpy as np
import pytest

from components.core.inference.params import PredictParams
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.records.results import read_results
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.video.clip import check_encoder
from components.predict.stage import predict
from components.train.params import TrainParams
from components.train.stage import train
from models.checkpoints.saved import load_model
from models.networks.h2s.h2s import H2s
from tests.support.processes import let_children_compute
from tests.support.tiny_h2s import SETTINGS
from tests.support.tiny_model import train_settings, write_square_set

let_children_compute()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    for split in ("train", "val", "test"):
        write_sources(paths, write_square_set(paths, split, size=(96, 96)))
    return paths


def write_sources(paths: Paths, annotations: AnnotationSet, sources: int = 8) -> None:
    (paths.media / "features").mkdir(exist_ok=True)
    for video in annotations.videos:
        random = np.random.default_rng(video.id).normal(size=(video.length, sources, 128))
        np.save(paths.media / "features" / f"{video.name}.npy", random.astype(np.float32))


def params_of(**changes: object) -> TrainParams:
    sides = {"short_sides_px": [96], "test_short_side_px": 96}
    model = {"name": "h2s", **SETTINGS}
    return TrainParams.model_validate(train_settings(model=model, **sides, **changes))


def test_it_learns_and_predicts_from_features_of_sources(paths: Paths) -> None:
    train("h2s", params_of(), paths)
    model, card = load_model(paths.model("h2s"))
    assert isinstance(model, H2s) and card.name == "h2s"
    first = (paths.model("h2s") / "model.safetensors").read_bytes()
    train("h2s", params_of(), paths)
    assert (paths.model("h2s") / "model.safetensors").read_bytes() == first, "k-means begins alike each time"
    predict("h2s", PredictParams(score_threshold=0.0, most_tracks=3), paths)
    results = read_results(paths.predictions("h2s") / "results.json")
    lengths = {video.id: video.length for video in read_annotations(paths.annotations / "test.json").videos}
    assert results and all(len(one.segmentations) == lengths[one.video_id] for one in results)
    with pytest.raises(AvisError, match="separated sources"):
        check_encoder(card, None, paths.model("h2s"))


def test_features_of_whole_sound_or_of_other_sources_are_named(paths: Paths) -> None:
    write_sources(paths, read_annotations(paths.annotations / "train.json"), sources=4)
    with pytest.raises(AvisError, match=r"\(\d, 4, 128\), not \[frames, 8, 128\]"):
        train("h2s", params_of(), paths)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="pictures of 64 pixels are too small for H2S"):
        params_of(crop_px=[64, 128])
    with pytest.raises(ValueError, match="must be equal"):
        TrainParams.model_validate({"model": {"name": "h2s", "video_queries": 7}})
    with pytest.raises(ValueError, match="name must be avism, h2s or tpavi"):
        TrainParams.model_validate({"model": {"name": "h3s"}})
