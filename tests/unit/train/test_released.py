"""Variants that are checkpoints: no training, the same files, the same scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.inference.params import PredictParams
from components.core.records.annotations import AnnotationSet, read_annotations, write_annotations
from components.core.records.results import Result, read_results
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.predict.stage import predict
from components.train.params import TrainParams
from components.train.stage import train
from models import build
from models.checkpoints.parameter_names import published_name
from models.checkpoints.saved import load_model, save_weights
from tests.support.tiny_model import CATEGORIES, tiny_model, train_settings, write_square_set

ANYTHING = PredictParams(score_threshold=0.0, presence_threshold=0.0, most_tracks=4)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    for split in ("train", "val", "test"):
        write_square_set(paths, split)
    return paths


def params_of(checkpoint: Path, **changes: object) -> TrainParams:
    return TrainParams.model_validate(train_settings(checkpoint=str(checkpoint), **changes))


def found(variant: str, paths: Paths) -> list[Result]:
    predict(variant, ANYTHING, paths)
    return read_results(paths.predictions(variant) / "results.json")


def test_a_model_trained_earlier_is_a_variant_and_gives_what_it_gave(paths: Paths) -> None:
    train("first", TrainParams.model_validate(train_settings()), paths)
    train("again", params_of(paths.model("first")), paths)
    assert {x.name for x in paths.model("again").iterdir()} == {
        x.name for x in paths.model("first").iterdir()
    }
    assert found("again", paths) == found("first", paths)
    metrics = json.loads((paths.model("again") / "metrics.json").read_text())
    assert "steps" not in metrics and metrics["parameters"] > 0 and "validation_FSLA" in metrics
    assert json.loads((paths.model("again") / "clips.json").read_text()) == []
    assert load_model(paths.model("again"))[1].released == str(paths.model("first"))


def test_categories_go_by_name(paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three rows in another order; the annotations have two of them, and lack the third."""
    model = tiny_model(categories=3, seed=4)
    weights = tmp_path / "w.safetensors"
    save_weights(weights, model.state_dict(), categories={1: "whistle", 2: "bell", 3: "horn"})
    train("taken", params_of(weights), paths)
    assert "nothing of whistle: such tracks are left out" in capsys.readouterr().out
    taken, card = load_model(paths.model("taken"))
    assert card.categories == {3: "horn", 7: "bell", 8: "whistle"}
    rows = taken.video_module.class_head.weight
    torch.testing.assert_close(rows, model.video_module.class_head.weight[[2, 1, 0, 3]])
    assert {result.category_id for result in found("taken", paths)} <= set(CATEGORIES)


def test_what_the_checkpoint_does_not_know_is_said(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.safetensors"
    save_weights(weights, tiny_model(categories=1).state_dict(), categories={1: "bell"})
    train("half", params_of(weights), paths)
    assert "the checkpoint knows nothing of horn" in capsys.readouterr().out
    assert {result.category_id for result in found("half", paths)} == {7}


def test_a_released_checkpoint_in_the_published_spelling(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(5)
    sizes = {"channels": 32, "hidden": 40, "pixel_layers": 1, "pixel_hidden": 48, "frame_layers": 3}
    queries = {"frame_queries": 5, "video_queries": 4, "video_encoder_layers": 2, "video_decoder_layers": 1}
    model = build("avism", categories=2, **sizes, **queries).eval()
    state = {published_name(name, "avism"): value for name, value in model.state_dict().items()}
    torch.save({"model": state, "iteration": 48_000}, tmp_path / "model_final.pth")
    (paths.media / "features").mkdir()
    for split in ("val", "test"):
        for video in read_annotations(paths.annotations / f"{split}.json").videos:
            file = paths.media / "features" / f"{video.name}.npy"
            np.save(file, np.ones((video.length, 128), np.float32))
    train("released", params_of(tmp_path / "model_final.pth"), paths)
    assert "taken in the order of the annotations' ids" in capsys.readouterr().out
    taken, card = load_model(paths.model("released"))
    assert card.categories == CATEGORIES and card.config["backbone"] == "resnet50"
    for name, value in model.state_dict().items():
        torch.testing.assert_close(taken.state_dict()[name], value)
    assert found("released", paths)
    write_annotations(
        paths.annotations / "train.json",
        AnnotationSet({**CATEGORIES, 9: "gong"}, [], []),
    )
    with pytest.raises(AvisError, match="2 categories without names, the annotations 3"):
        train("other", params_of(tmp_path / "model_final.pth"), paths)


def test_a_trained_model_of_other_categories_is_still_refused(paths: Paths) -> None:
    train("old", TrainParams.model_validate(train_settings()), paths)
    annotations = read_annotations(paths.annotations / "test.json")
    more = AnnotationSet({**annotations.categories, 9: "gong"}, annotations.videos, annotations.tracks)
    write_annotations(paths.annotations / "test.json", more)
    with pytest.raises(AvisError, match="other categories than the model was trained on"):
        predict("old", ANYTHING, paths)


def test_a_checkpoint_that_does_not_fit_is_one_message(paths: Paths, tmp_path: Path) -> None:
    weights, damaged = tmp_path / "w.safetensors", tmp_path / "damaged.safetensors"
    save_weights(weights, tiny_model().state_dict(), categories={1: "cat", 2: "dog"})
    damaged.write_bytes(weights.read_bytes()[:5000])
    for checkpoint, message in (
        (tmp_path / "none.pth", r"there is no checkpoint at .*none\.pth"),
        (weights, "knows none of the annotations' categories: it has cat, dog, they "),
        (damaged, r"damaged\.safetensors is no checkpoint that can be used"),
    ):
        with pytest.raises(AvisError, match=message):
            train("none", params_of(checkpoint), paths)
    save_weights(weights, tiny_model().state_dict(), categories=CATEGORIES)
    wider = {**train_settings()["model"], "channels": 32}
    with pytest.raises(AvisError, match=r"another network than `model` describes: \d+ parameters"):
        train("none", params_of(weights, model=wider), paths)
    assert not paths.model("none").exists()
