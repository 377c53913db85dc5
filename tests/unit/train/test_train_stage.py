"""The train stage from annotations and media to a model folder."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from components.core.inference.predictor import Predictor
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.paths import Paths
from components.train import stage
from components.train.loop import Fitted
from components.train.params import TrainParams
from components.train.plan import Plan, make_plan
from components.train.stage import train
from components.train.validation import calibrate, spread
from models.checkpoints.saved import load_model, save_weights
from tests.support.tiny_model import (
    CATEGORIES,
    SETTINGS,
    add_to_index,
    tiny_model,
    train_settings,
    write_square_set,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    write_square_set(paths)
    return paths


def params_of(**changes: object) -> TrainParams:
    return TrainParams.model_validate(train_settings(**changes))


def test_a_model_folder_with_all_that_later_stages_read(paths: Paths) -> None:
    write_square_set(paths, "val")
    params = params_of(steps=3, log_every_steps=2)
    train("tiny", params, paths)
    folder = paths.model("tiny")
    assert sorted(file.name for file in folder.iterdir()) == [
        *("calibration.json", "clips.json", "config.json", "history.csv", "metrics.json"),
        *("model.safetensors", "run.json", "seeds"),
    ]
    assert [file.name for file in (folder / "seeds").iterdir()] == ["further.json"]  # else DVC warns
    assert json.loads((folder / "seeds" / "further.json").read_text()) == 0
    model, card = load_model(folder)
    assert card.categories == CATEGORIES
    assert card.short_side_px == 32
    assert model.config.categories == 2 and model.config.window == SETTINGS["window"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["steps"] == 3 and metrics["seconds"] > 0
    assert 0 < metrics["validation_loss"] < 100
    calibration = json.loads((folder / "calibration.json").read_text())
    assert calibration["clips"] == 3
    assert calibration["thresholds"]["fsla"] >= calibration["thresholds"]["published_fsla"]
    assert (card.score_threshold, card.presence_threshold, card.hearing_threshold) == tuple(
        calibration["thresholds"][name] for name in ("score", "presence", "hearing")
    )
    with (folder / "history.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "3"]
    assert json.loads((folder / "run.json").read_text())["run_id"]
    assert list((paths.root / ".checkpoints").iterdir()) == []

    # the same again gives the same weights; what was there is replaced
    first = sha256_file(folder / "model.safetensors")
    (folder / "stray.txt").write_text("of an older version")
    train("tiny", params, paths)
    assert sha256_file(folder / "model.safetensors") == first
    assert not (folder / "stray.txt").exists()
    train("tiny", params_of(steps=3, seed=2), paths)
    assert sha256_file(folder / "model.safetensors") != first


def test_the_rate_of_the_frames_goes_into_the_model(paths: Paths) -> None:
    videos = read_annotations(paths.annotations / "train.json").videos
    add_to_index(paths.media, videos, frame_rate_hz=2.0)
    train("tiny", params_of(steps=1), paths)
    assert load_model(paths.model("tiny"))[1].frame_rate_hz == 2.0

    add_to_index(paths.media, videos[:1], frame_rate_hz=1.0)
    with pytest.raises(AvisError, match=r"different rates: 1, 2 Hz.*index\.parquet"):
        train("tiny", params_of(steps=1), paths)


def test_validation_clips_without_a_mask_are_no_obstacle(paths: Paths) -> None:
    write_square_set(paths, "val", silent=True)
    train("tiny", params_of(steps=1), paths)
    assert "validation_loss" not in json.loads((paths.model("tiny") / "metrics.json").read_text())


def test_a_training_is_compared_with_its_start(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = params_of(steps=2, validate_every_steps=1, validation_clips=2, keep="best")
    with pytest.raises(AvisError, match=r"no validation clip has a mask.*validate_every_steps"):
        train("tiny", params, paths)
    annotations = write_square_set(paths, "val")
    quiet_first = AnnotationSet(CATEGORIES, annotations.videos[::-1], annotations.tracks)
    write_annotations(paths.annotations / "val.json", quiet_first)
    assert [video.name for video in spread(quiet_first.videos, 2)] == ["val_quiet", "val_bells"]
    assert [video.name for video in spread(quiet_first.videos, 9)] == ["val_quiet", "val_horn", "val_bells"]
    write_annotations(paths.annotations / "val.json", AnnotationSet(CATEGORIES, *bells_beside(annotations)))
    few = params.model_copy(update={"validation_clips": 1})
    with pytest.raises(
        AvisError, match=r"of 3 validation clips the 1 that are taken have no mask.*at most 3"
    ):
        train("tiny", few, paths)
    write_annotations(paths.annotations / "val.json", quiet_first)
    before = make_plan("tiny", params, paths, with_weights=True).fingerprint
    write_annotations(paths.annotations / "val.json", annotations)
    assert make_plan("tiny", params, paths, with_weights=True).fingerprint != before
    train("tiny", params, paths)
    metrics = json.loads((paths.model("tiny") / "metrics.json").read_text())
    assert next(iter(metrics)) == "kept_FSLA"
    kept, began = (metrics[f"{at}_FSLA"] + metrics[f"{at}_HOTA"] for at in ("kept", "start"))
    assert kept >= began and metrics["kept_step"] in (0, 1, 2)
    assert metrics["gain_FSLA"] == round(metrics["kept_FSLA"] - metrics["start_FSLA"], 2)
    assert 0 < metrics["validation_share"] < 1 and "stopped_early" not in metrics
    assert metrics["steps_per_s"] > metrics["steps"] / metrics["seconds"]  # without the time of validation
    with (paths.model("tiny") / "history.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file) if row["val_FSLA"]] == ["0", "1", "2"]
    capsys.readouterr()
    left = iter([20.0, 40.0, 35.0])
    fake = lambda *_: lambda model: {"FSLA": next(left), "HOTA": 0.0, "mAP": 0.0}  # noqa: E731
    monkeypatch.setattr("components.train.plan.validator", fake)
    train("tiny", params.model_copy(update={"keep": "last"}), paths)
    assert (
        "made it worse: on the validation clips FSLA 40.0 and HOTA 0.0 at step 1" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("keep", "scores", "said"),
    [
        ("last", [(20, 9), (40, 9), (30, 9)], "Set train.keep to best"),
        ("best", [(20, 9), (18, 40), (18, 30)], "The state of step 1 is kept"),
        (
            "last",
            [(30, 9), (20, 9), (10, 9)],
            "taught nothing: on the validation clips FSLA 30.0 and HOTA 9.0 at",
        ),
        ("last", [(30, 9), (31, 9), (32, 9)], ""),
        ("best", [(30, 9), (28, 20), (27, 20)], ""),  # a little less is right, and much more is found
    ],
)
def test_what_no_gain_is_said_to_be(
    keep: str, scores: list[tuple[int, int]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"step": float(step), "val_FSLA": float(fsla), "val_HOTA": float(hota), "val_mAP": 0.0}
        for step, (fsla, hota) in enumerate(scores)
    ]
    kept = {"step": 1, "weights": {}} if keep == "best" else None
    metrics = stage._of_validation(Fitted(rows, seconds=1.0, steps=2, best=kept), params_of())
    assert metrics["kept_FSLA"] == scores[1 if kept else 2][0]
    warned = capsys.readouterr().err
    assert said in warned and ("!!!" in warned) == bool(said)


def bells_beside(annotations: AnnotationSet) -> tuple[list[Video], list[Track]]:
    """The quiet clip in the middle."""
    bells, horn, quiet = annotations.videos
    return [bells, quiet, horn], annotations.tracks


def test_what_cannot_be_learned_is_said_before_the_first_step(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    write_square_set(paths, "val")
    annotations = read_annotations(paths.annotations / "train.json")
    bells = [track for track in annotations.tracks if track.category_id == 7]
    write_annotations(
        paths.annotations / "train.json", AnnotationSet(CATEGORIES, annotations.videos, bells, {})
    )
    weights = paths.root / "given.safetensors"
    save_weights(weights, tiny_model(seed=7).state_dict(), categories={1: "cat", 2: "dog"})
    make_plan("tiny", params_of(start_from=str(weights)), paths, with_weights=True)
    said = capsys.readouterr().out
    assert "horn: in val, but with no mask in train" in said
    assert "drawn anew: horn, bell; forgotten: cat, dog" in said
    assert "the weights know none of the annotations' categories" in said
    save_weights(weights, tiny_model(seed=7).state_dict(), categories={1: "cat", 2: "bell"})
    make_plan("tiny", params_of(start_from=str(weights)), paths, with_weights=True)
    assert "knows none" not in capsys.readouterr().out


def test_thresholds_are_chosen_for_as_many_tracks_as_predict_takes(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_square_set(paths, "val")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    taken: list[int] = []

    def note(predictor: Predictor, *_: object, **__: object) -> list[object]:
        taken.append(predictor.params.most_tracks)
        return []

    monkeypatch.setattr("components.train.validation.find_candidates", note)
    card = make_plan("tiny", params_of(), paths, with_weights=True).card
    for text, most in (("{}", 10), ("predict: {most_tracks: 3}", 3)):
        Path("params.yaml").write_text(text)
        calibrate(tiny_model(), card, params_of(), paths)
        assert taken[-1] == most


def test_a_variant_is_trained_with_several_seeds_also_when_killed(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = params_of(steps=1, seed=4, seeds=2)
    whole = stage.finish

    def fail_at_the_second(plan: Plan, *rest: object) -> None:
        if plan.variant == "tiny@2":
            raise AvisError("the disk is full")
        whole(plan, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "finish", fail_at_the_second)
    with pytest.raises(AvisError, match="the disk is full"):
        train("tiny", params, paths)
    assert paths.seeds("tiny") == []
    shutil.rmtree(paths.model("tiny"))  # as DVC does before it runs the stage again
    monkeypatch.setattr(stage, "finish", whole)
    capsys.readouterr()
    train("tiny", params, paths)
    said = capsys.readouterr().out
    assert "train tiny: resuming at step 1 of 1" in said and "train tiny@2: resuming at step 1 of 1" in said
    assert paths.seeds("tiny") == ["tiny@2"]
    assert list((paths.root / ".checkpoints").iterdir()) == []
    first, second = (sha256_file(paths.model(name) / "model.safetensors") for name in ("tiny", "tiny@2"))
    assert paths.model("tiny@2") == paths.model("tiny") / "seeds" / "2"
    train("other", params_of(steps=1, seed=5), paths)  # what the second seed alone gives
    assert sha256_file(paths.model("other") / "model.safetensors") == second != first
    train("tiny", params_of(steps=1, seed=4), paths)
    assert paths.seeds("tiny") == [] and sha256_file(paths.model("tiny") / "model.safetensors") == first
    for wrong in ({"seeds": 0}, {"seed": 2**32 - 1, "seeds": 2}):
        with pytest.raises(ValueError, match="seeds"):
            params_of(**wrong)


def test_a_failed_training_leaves_the_old_model(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    params = params_of(steps=1)
    train("tiny", params, paths)
    before = {file.name: file.read_bytes() for file in paths.model("tiny").iterdir() if file.is_file()}

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(stage, "write_history", fail)
    with pytest.raises(OSError, match="the disk is full"):
        train("tiny", params_of(steps=1, seed=5), paths)
    after = {file.name: file.read_bytes() for file in paths.model("tiny").iterdir() if file.is_file()}
    assert after == before
    assert [file.name for file in paths.model("tiny").parent.iterdir()] == ["tiny"]


def test_nothing_to_learn(paths: Paths) -> None:
    silent = Paths(paths.root / "silent")
    write_square_set(silent, silent=True)
    with pytest.raises(AvisError, match=r"no instance to learn.*train\.json"):
        train("tiny", params_of(), silent)
    annotations = read_annotations(silent.annotations / "train.json")
    annotations.videos, annotations.tracks = [], []
    write_annotations(silent.annotations / "train.json", annotations)
    with pytest.raises(AvisError, match="no instance to learn: 0 clips"):
        train("tiny", params_of(), silent)
    (silent.annotations / "train.json").unlink()
    with pytest.raises(AvisError, match=r"there are no annotations.*train\.json"):
        train("tiny", params_of(), silent)
    assert not silent.model("tiny").exists()


def test_it_starts_from_given_weights(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    given = tiny_model(seed=7)
    weights = paths.root / "given.safetensors"
    save_weights(weights, given.state_dict(), categories=CATEGORIES)
    train("tiny", params_of(steps=1, learning_rate=1e-8, start_from=str(weights)), paths)
    trained, _ = load_model(paths.model("tiny"))
    for name, value in given.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, atol=1e-5, rtol=0)
    total = len(given.state_dict())
    assert f"{total} of {total} tensors" in capsys.readouterr().out


def test_frozen_parts_keep_the_weights_that_they_start_from(paths: Paths) -> None:
    given = tiny_model(seed=7)
    weights = paths.root / "given.safetensors"
    save_weights(weights, given.state_dict(), categories=CATEGORIES)
    frozen = ["backbone", "pixel_decoder"]
    train("tiny", params_of(steps=1, start_from=str(weights), frozen_parts=frozen), paths)
    trained, _ = load_model(paths.model("tiny"))
    changed = {
        name.split(".")[0]
        for name, value in given.named_parameters()
        if not torch.equal(trained.state_dict()[name], value)
    }
    assert changed >= {"frame_decoder", "video_module"} and not changed & set(frozen)


def test_weights_without_a_backbone_keep_the_pretrained_one(paths: Paths) -> None:
    state = {
        name: x for name, x in tiny_model(seed=7).state_dict().items() if not name.startswith("backbone.")
    }
    weights = paths.root / "given.safetensors"
    save_weights(weights, state, categories=CATEGORIES)
    model = {"name": "avism", **SETTINGS, "backbone_pretrained": True, "backbone_frozen_parts": 8}
    train("tiny", params_of(steps=1, model=model, start_from=str(weights)), paths)
    trained, _ = load_model(paths.model("tiny"))
    pretrained = tiny_model(backbone_pretrained=True)
    stem = "backbone.network.network.conv_stem.weight"
    assert torch.equal(trained.state_dict()[stem], pretrained.state_dict()[stem])


def test_weights_with_another_backbone_keep_the_pretrained_one(paths: Paths) -> None:
    state = tiny_model(seed=7).state_dict()
    stem = "backbone.network.network.conv_stem.weight"
    state[stem] = state[stem][:8]  # as a narrower one has it
    weights = paths.root / "given.safetensors"
    save_weights(weights, state, categories=CATEGORIES)
    model = {"name": "avism", **SETTINGS, "backbone_pretrained": True, "backbone_frozen_parts": 8}
    train("tiny", params_of(steps=1, model=model, start_from=str(weights)), paths)
    trained, _ = load_model(paths.model("tiny"))
    assert torch.equal(trained.state_dict()[stem], tiny_model(backbone_pretrained=True).state_dict()[stem])


def test_weights_of_which_nothing_fits(paths: Paths) -> None:
    weights = paths.root / "given.safetensors"
    save_weights(weights, {"layer.weight": torch.ones(3)}, categories=CATEGORIES)
    with pytest.raises(AvisError, match=r"nothing in it fits this model \(params\.yaml, train\.start_from\)"):
        train("tiny", params_of(start_from=str(weights)), paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_from": "nowhere.safetensors"}, r"there are no weights at nowhere.*start_from.*null"),
        ({"start_from": __file__}, r"does not hold weights.*start_from"),
        ({"model": {"name": "avism", **SETTINGS, "backbone_frozen_parts": 99}}, "8 parts to freeze, not 99"),
        (
            {"model": {"name": "avism", **SETTINGS, "backbone": "resnet50", "backbone_weights": "no.pth"}},
            r"cannot be built:.*no\.pth",
        ),
    ],
)
def test_what_cannot_be_built_is_one_message(paths: Paths, changes: dict[str, object], message: str) -> None:
    with pytest.raises(AvisError, match=message):
        train("tiny", params_of(**changes), paths)
    assert not paths.model("tiny").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"short_sides_px": [0]}, {"crop_px": [31, 40]}, {"model": {"audio_channels": [0] * 6}}],
)
def test_numbers_that_no_library_takes_are_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="greater than"):
        params_of(**wrong)


def test_heads_that_do_not_share_the_channels_are_refused_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"channels \(16\) must be a multiple of heads; allowed here: 1, 2, 4"
    ):
        params_of(model={"name": "avism", **SETTINGS, "heads": 5})


def test_milestones_and_crops_are_checked() -> None:
    with pytest.raises(ValueError, match="stop_after_validations needs validate_every_steps above 0"):
        params_of(stop_after_validations=3)
    with pytest.raises(
        ValueError, match=r"pixel_decoder would keep random weights.*set frozen_parts to \[\]"
    ):
        params_of(frozen_parts=["backbone", "pixel_decoder"])
    with pytest.raises(ValueError, match="milestones belong to schedule: step"):
        params_of(milestones=[5])
    with pytest.raises(ValueError, match=r"crop_px is \[smallest, largest\]"):
        params_of(crop_px=[40, 32])
