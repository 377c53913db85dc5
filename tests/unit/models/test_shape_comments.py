"""Shapes in the comments of the networks are those that tensors have when the networks run."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.inference.moments import Moment
from models.inference.offline import find_sounding
from models.networks.h2s.h2s import H2s
from models.networks.layers.deformable_attention import sample_grids
from models.networks.losses.criterion import LossWeights
from models.networks.losses.targets import ClipTargets
from tests.support.shape_comments import shapes_checked, shapes_in
from tests.support.tiny_h2s import tiny_h2s
from tests.support.tiny_model import tiny_model
from tests.support.tiny_tpavi import tiny_tpavi

MODELS = Path("models").resolve()
# run on other machines (CUDA), by users' own programs (Detectron2) or by tests of their own
ELSEWHERE = ("deformable_triton.py", "golden.py", "detectron2")


def train_and_find(model: Any) -> None:
    """A step's losses and gradients on two clips; then the tracks of a longer clip."""
    sources = (8,) if isinstance(model, H2s) else ()
    width = 128 if model.config.audio == "features" else 16_000
    frames = torch.randint(0, 256, (2, 5, 3, 96 if sources else 64, 96), dtype=torch.uint8)
    sound = torch.randn(2, 5, *sources, width) * 0.1
    masks = torch.zeros(3, 5, *frames.shape[3:], dtype=torch.bool)
    masks[:, :, 10:40, 10:50] = True
    masks[0, 1] = False
    targets = [ClipTargets(torch.tensor([1, 0, 1]), masks), ClipTargets(torch.tensor([1, 0]), masks[:2])]
    losses = model.train().losses(model(frames, sound), targets, LossWeights(points=64))
    torch.stack(list(losses.values())).sum().backward()

    def clip() -> Iterator[Moment]:
        pictures = [frame.permute(1, 2, 0).numpy() for frame in frames[0]] * 4
        yield from zip(pictures, list(sound[0].numpy().astype(np.float32)) * 4, strict=True)

    found = find_sounding(model.eval(), clip, size=(30, 44), encode=lambda x: x, threshold=0.0, most=100)
    assert found


@pytest.mark.slow
def test_shapes_in_comments_are_true() -> None:
    networks = (
        tiny_model(count_token=True),
        tiny_model(audio_queries="audio_centric", audio="features", backbone="resnet50"),
        tiny_h2s(),
        tiny_tpavi(),
    )
    with shapes_checked(MODELS) as seen:
        for network in networks:
            train_and_find(network)
        sizes = [(2, 3), (1, 1)]  # the way of devices that are neither a processor nor CUDA
        sample_grids(torch.rand(2, 7, 4, 8), sizes, torch.rand(2, 5, 4, 2, 3, 2), torch.rand(2, 5, 4, 2, 3))
    assert list(dict.fromkeys(seen.wrong)) == []
    written = {
        (str(file), shape.begin)
        for file in MODELS.rglob("*.py")
        if not any(part in str(file) for part in ELSEWHERE)
        for shape in shapes_in(str(file)).values()
    }
    not_run = sorted(written - seen.checked)
    assert len(not_run) < 0.1 * len(written), not_run


def test_a_wrong_shape_is_found(tmp_path: Path) -> None:
    source = """
def product(a, b):
    x = a.flatten(1)  # [B, C]
    for _ in range(2):
        a, b = b, a
        y = a[:, :1]  # [B, 1]
    z = x @ b.T  # [B, C]
    return z + y  # [B, B]
"""
    (tmp_path / "wrong.py").write_text(source)
    spec = importlib.util.spec_from_file_location("wrong", tmp_path / "wrong.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with shapes_checked(tmp_path) as seen:
        module.product(torch.zeros(3, 5), torch.zeros(3, 5))
    (wrong,) = seen.wrong
    assert "wrong.py:7: [3, 3] is not (('B', 'C'),)" in wrong
    assert len(seen.checked) == 4
