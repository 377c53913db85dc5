"""What a file of weights is, told from its tensors alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from models.checkpoints.aviseg_categories import AVISEG_CATEGORIES
from models.checkpoints.recognised import Choices, SeveralReadingsError, recognise
from models.checkpoints.saved import save_weights
from tests.support.released import released_state, write_released
from tests.support.tiny_model import tiny_model
from tests.support.tiny_tpavi import tiny_tpavi

TWO = Choices(heads=2, window=3)
RELEASED: dict[str, Any] = {"presence_head": False, "audio_tagging": False}


def same_weights(model: Any, other: Any) -> bool:
    own = other.state_dict()
    return all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("spelling", "changes", "program"),
    [
        ("avism", {"audio": "features"}, "AVISM"),
        ("vita", {"audio": "features"}, "AVISM"),
        ("vita", {"audio_queries": "audio_centric", "count_token": True}, "ACVIS"),
    ],
)
def test_a_release_is_recognised(
    spelling: Any, changes: dict[str, Any], program: str, tmp_path: Path
) -> None:
    model = tiny_model(26, **RELEASED, **changes)
    seen = recognise(write_released(tmp_path / "model_final.pth", model, spelling), TWO)
    assert (seen.program, seen.spelling) == (program, f"published ({spelling}_module.…)")
    assert seen.different == "" and seen.queries == 4
    assert seen.left == ["criterion.empty_weight", f"{spelling}_criterion.empty_weight"]
    assert seen.categories == AVISEG_CATEGORIES
    assert seen.notes == ["left beside the parameters: iteration"]
    loaded = seen.model()
    assert loaded.config.audio == model.config.audio and not loaded.training
    assert same_weights(loaded, model)


def test_what_two_readings_leave_open_is_listed_with_what_decides(tmp_path: Path) -> None:
    file = write_released(tmp_path / "model_final.pth", tiny_model(3, **RELEASED))
    ways = "1 heads of 4 points, 2 heads of 2 points, 4 heads of 1 points"
    with pytest.raises(SeveralReadingsError, match=f"3 ways: {ways}; heads decides"):
        recognise(file)
    with pytest.raises(ValueError, match="cannot have 3 heads: its shapes allow 1 heads of 4"):
        recognise(file, Choices(heads=3))
    seen = recognise(file, Choices(heads=2))
    assert seen.assumed == ["window 6, as published: it leaves no trace in the tensors (window decides)"]
    assert seen.categories is None and seen.settings["categories"] == 3


def test_what_is_missing_or_left_over_is_told_and_no_model_is_made(tmp_path: Path) -> None:
    state = released_state(tiny_model(3, **RELEASED))
    del state["sem_seg_head.predictor.decoder_norm.bias"]
    state["sem_seg_head.predictor.spare.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "model.pth")
    seen = recognise(tmp_path / "model.pth", TWO)
    assert "missing: frame_decoder.norm.bias" in seen.different
    assert "unexpected: frame_decoder.spare.weight" in seen.different
    with pytest.raises(ValueError, match="2 entries differ"):
        seen.model()


def test_weights_of_ours_without_their_settings(tmp_path: Path) -> None:
    model = tiny_model(2)
    save_weights(tmp_path / "avism.safetensors", model.state_dict(), categories={3: "horn", 7: "bell"})
    seen = recognise(tmp_path / "avism.safetensors", TWO)
    assert (seen.spelling, seen.categories, seen.different) == ("ours", ("horn", "bell"), "")
    assert seen.settings["audio_channels"] == (8,) * 6 and seen.settings["audio_normalise"]
    assert same_weights(seen.model(), model)

    silent = tiny_model(2, audio="none", audio_tagging=False)
    save_file(silent.state_dict(), tmp_path / "open.safetensors")
    with pytest.raises(SeveralReadingsError, match=r"2 ways: .*or it is deaf; audio \(features or none\)"):
        recognise(tmp_path / "open.safetensors", TWO)
    deaf = recognise(tmp_path / "open.safetensors", Choices(heads=2, window=3, audio="none"))
    assert deaf.model().config.audio == "none"
    with pytest.raises(ValueError, match="holds no encoder of sound"):
        recognise(tmp_path / "open.safetensors", Choices(heads=2, audio="vggish"))


def test_the_model_of_2023(tmp_path: Path) -> None:
    model = tiny_tpavi(3)
    torch.save({"model": model.state_dict()}, tmp_path / "tpavi.pth")
    seen = recognise(tmp_path / "tpavi.pth", Choices(heads=2))
    assert (seen.program, seen.queries, seen.settings["audio"]) == ("TPAVI (2023)", 5, "vggish")
    assert seen.assumed == [
        "clip_frames 2, as published: it leaves no trace in the tensors (clip_frames decides)"
    ]
    assert same_weights(seen.model(), model)


def test_files_of_another_task(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"of another task.*called conv\.weight, fc\.weight"):
        recognise(tmp_path / "other.pth")
    torch.save(
        {"conv1.weight": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "r50.pth"
    )
    with pytest.raises(ValueError, match=r"a backbone \(resnet50\) only"):
        recognise(tmp_path / "r50.pth")
