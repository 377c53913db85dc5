"""The half of an AVISM that looks at frames, as an ONNX file: what costs the time of a prediction.

The other half goes over the whole video, which has any length, and stays in PyTorch.
Letters: T frames, Q frame queries, C channels, A audio.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from components.core.run.errors import AvisError
from components.core.run.files import replace_file
from models.checkpoints.saved import load_model
from models.networks.avism.avism import Avism
from models.networks.layers import deformable_attention

_NEEDED = ("onnx", "onnxscript")


class FrameHalf(nn.Module):
    """Frames, uint8 [T, 3, H, W], and their sound -> frame queries [T, Q, C], mask features, audio [T, A]."""

    def __init__(self, model: Avism) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: Tensor, sound: Tensor | None = None) -> tuple[Tensor, ...]:
        """A deaf model has no sound, and gives no audio."""
        audio = self.model.encode_audio(sound)
        output, features = self.model.decode_frames(frames, audio)
        return (output.queries[-1], features) if audio is None else (output.queries[-1], features, audio)


def export_frames(folder: Path, target: Path, *, height: int, width: int, frames: int = 1) -> list[Tensor]:
    """Write the frame half of a trained model as ONNX; returns the inputs that it was traced with.

    Args:
        folder: of a training.
        target: the .onnx file; its shapes are fixed.
        height, width, frames: of the input.

    Raises:
        AvisError: it is no AVISM, or the packages that write ONNX are missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise AvisError(f"ONNX needs {' and '.join(missing)}", fix=f"pip install {' '.join(missing)}")
    model, _ = load_model(folder)
    if not isinstance(model, Avism):
        raise AvisError("only an AVISM has a half that looks at frames alone", where=str(folder))
    inputs = [torch.zeros(frames, 3, height, width, dtype=torch.uint8)]
    if model.config.audio != "none":
        inputs.append(torch.zeros(frames, 16_000 if model.config.audio == "vggish" else 128))
    with replace_file(target) as temporary, torch.no_grad(), _through_grid_sample():
        program = torch.onnx.export(
            FrameHalf(model).eval(), tuple(inputs), dynamo=True, opset_version=18, verbose=False
        )
        if program is not None:  # it is None where a file was named
            program.save(temporary)
    return inputs


@contextmanager
def _through_grid_sample() -> Iterator[None]:
    """Of the samplers of deformable attention the one whose operators ONNX has."""
    before = deformable_attention.sample_levels
    deformable_attention.sample_levels = deformable_attention.sample_grids
    try:
        yield
    finally:
        deformable_attention.sample_levels = before
