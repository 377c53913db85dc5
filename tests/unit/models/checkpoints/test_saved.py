"""A model as files, and starting from another one's weights."""

import json
from pathlib import Path

import pytest
import torch

from models.checkpoints.saved import (
    CONFIG,
    WEIGHTS,
    ModelCard,
    load_model,
    save_model,
    save_weights,
    start_from,
)
from models.checkpoints.starting import holds_backbone
from tests.support.tiny_model import SETTINGS, tiny_model

CATEGORIES = {4: "cow", 2: "dog", 9: "cat"}  # rows of the heads go by id: dog, cow, cat


def card() -> ModelCard:
    config = {**SETTINGS, "categories": 3}
    return ModelCard(name="avism", config=config, categories=CATEGORIES, short_side_px=32, frame_rate_hz=1.0)


def test_round_trip(tmp_path: Path) -> None:
    model = tiny_model(3)
    save_model(tmp_path, model, card())
    loaded, read = load_model(tmp_path)
    assert read.categories == CATEGORIES
    assert (read.short_side_px, read.frame_rate_hz) == (32, 1.0)
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path)
    save_model(tmp_path, tiny_model(3), card())
    config = json.loads((tmp_path / CONFIG).read_text())

    (tmp_path / CONFIG).write_text(json.dumps({**config, "config": {**config["config"], "channels": 32}}))
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit .*\d+ entries differ") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / CONFIG).write_text(json.dumps({**config, "name": "vita"}))
    with pytest.raises(ValueError, match="unknown model 'vita'"):
        load_model(tmp_path)
    for wrong in ({"channels": "many"}, {"heads": 0}, {"categories": -3}):
        (tmp_path / CONFIG).write_text(json.dumps({**config, "config": {**config["config"], **wrong}}))
        with pytest.raises(ValueError, match=r"is not the configuration of a saved model|does not fit"):
            load_model(tmp_path)
    wrong_cards = (
        {"spare": 1},
        {"categories": {}},
        {"short_side_px": "x"},
        {"frame_rate_hz": 0},
        {"config": 3},
        {"short_side_px": 10**9},
        {"frame_rate_hz": float("inf")},
        {"score_threshold": float("nan")},
        {"presence_threshold": "0.3"},
        {"config": {**config["config"], "channels": 10**9}},
        {"config": {**config["config"], "frame_layers": 10**9}},
        {"config": {**config["config"], "audio_channels": [10**9]}},
        {"config": {**config["config"], "window": float("nan")}},
    )
    for text in ("{}", "[]", "{", "[" * 10**5, *(json.dumps({**config, **wrong}) for wrong in wrong_cards)):
        (tmp_path / CONFIG).write_text(text)
        with pytest.raises(ValueError, match="is not the configuration of a saved model"):
            load_model(tmp_path)

    (tmp_path / CONFIG).write_text(json.dumps(config))
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"model\.safetensors does not fit"):
        load_model(tmp_path)


def test_heads_of_other_categories_are_matched_by_name(tmp_path: Path) -> None:
    old = tiny_model(3, seed=1)
    save_weights(tmp_path / "w.safetensors", old.state_dict(), categories=CATEGORIES)
    # other ids, another order, one category less and two new ones
    new = tiny_model(4, seed=2)
    fresh = {name: value.clone() for name, value in new.state_dict().items()}
    left = start_from(new, tmp_path / "w.safetensors", {1: "cat", 2: "horse", 3: "pig", 5: "dog"})
    assert left == []
    for head in ("frame_decoder.class_head", "video_module.class_head", "audio_tags"):
        for part in ("weight", "bias"):
            name = f"{head}.{part}"
            value, before, after = old.state_dict()[name], fresh[name], new.state_dict()[name]
            assert torch.equal(after[0], value[2]), f"cat of {name}"
            assert torch.equal(after[1:3], before[1:3]), f"horse and pig of {name}"
            assert torch.equal(after[3], value[0]), f"dog of {name}"
            if head != "audio_tags":
                assert torch.equal(after[-1], value[-1]), f"no object of {name}"
    name = "video_module.mask_head.layers.0.weight"
    assert torch.equal(new.state_dict()[name], old.state_dict()[name])


def test_what_does_not_fit_is_left_and_named(tmp_path: Path) -> None:
    old = tiny_model(3, seed=1)
    save_weights(tmp_path / "w.safetensors", old.state_dict(), categories=CATEGORIES, half=True)
    deaf = tiny_model(3, seed=2, audio="none", presence_head=False, video_queries=6)
    fresh = deaf.video_module.query_content.weight.clone()
    left = start_from(deaf, tmp_path / "w.safetensors", CATEGORIES)
    assert {name for name in left if not name.startswith("video_module.presence.")} == {
        "video_module.query_content.weight",
        "video_module.query_position.weight",
    }
    assert any(name.startswith("video_module.presence.") for name in left)
    assert torch.equal(deaf.video_module.query_content.weight, fresh)
    loaded = deaf.state_dict()["frame_decoder.norm.weight"]
    assert loaded.dtype is torch.float32  # kept in half precision, used in full
    torch.testing.assert_close(loaded, old.frame_decoder.norm.weight, atol=1e-3, rtol=1e-3)


def test_parameters_that_the_weights_lack_start_fresh(tmp_path: Path) -> None:
    old = tiny_model(3, seed=1, audio="none")
    save_weights(tmp_path / "w.safetensors", old.state_dict(), categories=CATEGORIES)
    new = tiny_model(3, seed=2)
    left = start_from(new, tmp_path / "w.safetensors", CATEGORIES)
    assert left and all(name.startswith(("audio_encoder.", "audio_tags.")) for name in left)


def test_whose_backbone_the_weights_hold() -> None:
    state = tiny_model(3).state_dict()
    before = torch.get_rng_state()
    assert holds_backbone(state, "efficientnet_lite0")
    assert not holds_backbone(state, "resnet50")
    assert torch.equal(torch.get_rng_state(), before)  # it decides what starts fresh
    with pytest.raises(ValueError, match="unknown backbone 'vgg'; allowed"):
        holds_backbone(state, "vgg")
