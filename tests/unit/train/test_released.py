"""Variants that are checkpoints: no training, the same files, the same scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.inference.params import PredictParams
from components.core.records.annotations import AnnotationSet, read_annotations, write_annotations
from components.core.records.results import Result, read_results
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.paths import Paths
from components.predict.stage import predict
from components.tools.forgetting.models_that_saw import models_that_saw
from components.train import __main__ as program
from components.train.params import TrainParams
from components.train.released import say_what_is_ignored
from components.train.stage import train
from models import build
from models.checkpoints.parameter_names import published_name
from models.checkpoints.saved import load_model, save_weights
from tests.support.tiny_model import CATEGORIES, tiny_model, train_settings, write_square_set

pytestmark = pytest.mark.slow

LEARNED_FROM = ["train_bells", "train_horn", "train_quiet"]
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


def test_a_model_trained_earlier_is_a_variant_and_gives_what_it_gave(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    train("first", TrainParams.model_validate(train_settings()), paths)
    train("again", params_of(paths.model("first")), paths)
    assert {x.name for x in paths.model("again").iterdir()} == {
        x.name for x in paths.model("first").iterdir()
    }
    assert found("again", paths) == found("first", paths)
    metrics = json.loads((paths.model("again") / "metrics.json").read_text())
    assert "steps" not in metrics and metrics["parameters"] > 0 and "validation_FSLA" in metrics
    for name in ("first", "again"):
        assert json.loads((paths.model(name) / "clips.json").read_text()) == LEARNED_FROM
    assert load_model(paths.model("again"))[1].released == str(paths.model("first"))
    assert "test clips" not in capsys.readouterr().out
    write_json(paths.model("first") / "clips.json", ["test_horn", "train_horn"])
    train("again", params_of(paths.model("first")), paths)
    assert "learned from 1 of the test clips (test_horn, …)" in capsys.readouterr().out


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
    assert json.loads((paths.model("half") / "clips.json").read_text()) is None
    assert any(str(paths.model("half")) in line for line in models_that_saw(["train_horn"], paths).unknown)


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


def test_a_start_that_knows_none_of_the_categories_finds_nothing(
    paths: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands beside what was taught from it; any other checkpoint of this kind is a mistake."""
    weights = tmp_path / "w.safetensors"
    save_weights(weights, tiny_model().state_dict(), categories={1: "cat", 2: "dog"})
    train("start", params_of(weights, start_from=str(weights)), paths)
    said = capsys.readouterr().out
    assert "knows none of the annotations' categories: it finds nothing before it is trained" in said
    predict("start", ANYTHING, paths)
    assert json.loads((paths.predictions("start") / "results.json").read_text()) == []


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
    small = {**train_settings()["model"], "audio_channels": (8, 8, 8, 8, 16, 8)}
    deaf = {**train_settings()["model"], "audio": "none", "audio_tagging": False}
    for model, message in (
        (small, r"\d+ parameters of that are not there or of another size \(audio_encoder"),
        (deaf, r"that has no place for \d+ of its parameters"),
    ):
        with pytest.raises(AvisError, match=message):
            train("none", params_of(weights, model=model), paths)
    assert not paths.model("none").exists()


@pytest.mark.parametrize(("rank", "taken"), [("0", ["ours"]), ("1", [])])
def test_of_several_processes_the_first_takes_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, taken: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"train": {}, "variants": {"ours": {"checkpoint": "weights.pth"}}}
    Path("params.yaml").write_text(json.dumps(values))
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    found: list[str] = []
    monkeypatch.setattr("components.train.stage.take_released", lambda variant, _: found.append(variant))
    monkeypatch.setattr(program, "end_with_parent", lambda: None)
    monkeypatch.setattr(program, "run_stage", lambda _, work, **__: work())
    program.main("ours")
    assert found == taken


def test_settings_beside_a_checkpoint_that_mean_nothing_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"checkpoint": "weights.safetensors", "steps": 5, "model": {"channels": 16}, "seed": 2}
    values = {"train": {}, "variants": {"ours": own, "bare": {"checkpoint": "weights.safetensors"}}}
    Path("params.yaml").write_text(json.dumps(values))
    say_what_is_ignored("ours", params_of(Path("weights.safetensors")))
    assert "variants.ours: steps, seed count for nothing beside `checkpoint`" in capsys.readouterr().out
    say_what_is_ignored("bare", params_of(Path("weights.safetensors")))
    assert capsys.readouterr().out == ""
    Path("folder").mkdir()
    Path("folder/config.json").write_text("{}")
    say_what_is_ignored("ours", params_of(Path("folder")))
    assert "steps, model, seed count for nothing" in capsys.readouterr().out
