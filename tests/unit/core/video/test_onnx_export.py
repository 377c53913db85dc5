"""The frame half of a model in ONNX Runtime gives what PyTorch gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.run.errors import AvisError
from components.core.video import onnx_export
from models.checkpoints.saved import load_model
from models.networks.layers import deformable_attention
from tests.support.tiny_model import write_finder

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("audio", ["vggish", "none"])
def test_outputs_are_those_of_pytorch(audio: str, tmp_path: Path) -> None:
    import onnxruntime

    folder = write_finder(tmp_path / "model", audio=audio, frame_layers=1)  # of equal ones
    target = tmp_path / "frames.onnx"
    sampler = deformable_attention.sample_levels
    inputs = onnx_export.export_frames(folder, target, height=64, width=96, frames=2)
    assert deformable_attention.sample_levels is sampler
    random = np.random.default_rng(0)
    given = [random.integers(0, 256, inputs[0].shape, dtype=np.uint8)]
    given += [random.normal(0, 0.1, one.shape).astype(np.float32) for one in inputs[1:]]
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    named = {one.name: value for one, value in zip(session.get_inputs(), given, strict=True)}
    made = session.run(None, named)
    with torch.no_grad():
        expected = onnx_export.FrameHalf(load_model(folder)[0]).eval()(*map(torch.from_numpy, given))
    assert len(made) == len(expected) == (2 if audio == "none" else 3)
    for one, other in zip(made, expected, strict=True):
        assert np.abs(other.numpy()).max() > 0.1
        np.testing.assert_allclose(one, other.numpy(), atol=2e-5)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "_NEEDED", ("onnx", "no_such_package"))
    with pytest.raises(AvisError, match="pip install no_such_package"):
        onnx_export.export_frames(tmp_path, tmp_path / "x.onnx", height=64, width=96)
