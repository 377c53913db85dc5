"""`avis weights`: released files become weights to start from, and what has no place is named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from components.core.run.errors import AvisError
from models.checkpoints.saved import start_from
from pipelines.commands.models.weights import Take, weights
from tests.support.tiny_model import tiny_model

NORM = "sem_seg_head.predictor.decoder_norm.weight"


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_mask2former_becomes_weights_to_start_from(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.arange(16, dtype=np.float32)
    arrays = {
        NORM: values,
        "sem_seg_head.predictor.static_query.weight": np.ones((5, 16), np.float32),
        "criterion.empty_weight": np.ones(81, np.float32),
        "spare.weight": np.ones(1, np.float32),
    }
    file, out = tmp_path / f"m2f{suffix}", tmp_path / "new" / "m2f.safetensors"
    if suffix == ".pth":
        torch.save({"model": {name: torch.from_numpy(x) for name, x in arrays.items()}}, file)
    else:
        file.write_bytes(pickle.dumps({"model": arrays, "__author__": "third_party"}))
    weights(file, out)
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: 2 of 4 entries",
        "left out, no part of the network: criterion.empty_weight",
        "left out, of no known name: spare.weight",
    ]
    assert set(load_file(out)) == {"frame_decoder.norm.weight", "frame_decoder.query_content.weight"}
    with safe_open(out, framework="pt") as opened:
        assert opened.metadata() == {"categories": "[]"}
    model = tiny_model()
    left = start_from(model, out, {1: "bell", 2: "horn"})
    assert "frame_decoder.norm.weight" not in left
    assert torch.equal(model.frame_decoder.norm.weight, torch.from_numpy(values))
    assert torch.equal(model.frame_decoder.query_content.weight, torch.ones(5, 16))


def test_a_backbones_file_is_one_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"stem.conv1.weight": np.zeros((64, 3, 7, 7)), "res2.0.conv1.weight": np.zeros((64, 64, 1, 1))}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"model": {**state, "stem.fc.bias": np.zeros(1000)}}))
    weights(tmp_path / "R-50.pkl", tmp_path / "r50.safetensors")
    assert "left out, no part of the network: stem.fc.bias" in capsys.readouterr().out
    assert set(load_file(tmp_path / "r50.safetensors")) == {
        "backbone.network.stem.0.weight",
        "backbone.network.stages.0.0.conv1.weight",
    }


def test_the_average_or_the_raw_ones_are_taken_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = {f"model.{NORM}": torch.zeros(16)}
    torch.save({"state_dict": raw, "state_dict_ema": {NORM: torch.ones(16).half()}}, tmp_path / "a.pth")
    out = tmp_path / "out.safetensors"
    weights(tmp_path / "a.pth", out)
    said = capsys.readouterr().out
    assert "under state_dict_ema and the raw ones under state_dict the averaged were taken" in said
    assert "1 of 1 tensors in float16 became float32" in said
    assert torch.equal(load_file(out)["frame_decoder.norm.weight"], torch.ones(16))
    weights(tmp_path / "a.pth", out, take=Take.raw)
    assert "model. was taken off 1 name\n" in capsys.readouterr().out
    assert torch.equal(load_file(out)["frame_decoder.norm.weight"], torch.zeros(16))


def test_files_that_are_no_checkpoint_are_said(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(AvisError, match="there is no such file"):
        weights(tmp_path / "none.pth", out)
    with pytest.raises(AvisError, match=r"is a folder; allowed: a \.pth"):
        weights(tmp_path, out)
    (tmp_path / "text.pkl").write_text("<html>")
    with pytest.raises(AvisError, match=r"text\.pkl is damaged"):
        weights(tmp_path / "text.pkl", out)
    torch.save({"layer.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(AvisError, match="no parameter has a name that AVISM"):
        weights(tmp_path / "other.pth", out)
    assert not out.exists()
