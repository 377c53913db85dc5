"""H2S with ResNet-50: the published program's outputs, and its losses and gradients of a training step."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.checkpoints.parameter_names import published_name
from models.checkpoints.published import load_published
from models.golden import TOLERANCES, compare_h2s, golden_clip, golden_weight, start_as
from models.networks.avism import avism
from models.networks.h2s.h2s import H2s
from models.networks.losses.criterion import LossWeights
from models.networks.losses.targets import ClipTargets

pytestmark = pytest.mark.slow
FOLDER = Path("tests/data/golden/h2s_r50")
TRAINING = json.loads((FOLDER / "train.json").read_text())


def test_outputs_and_statistics_are_the_published_ones() -> None:
    rows = compare_h2s(FOLDER)
    assert len(rows) == 46
    for row in rows:
        assert row.difference <= TOLERANCES["h2s"] and row.magnitude > 0.1, row


class SamePoints:
    """The points of train.json: every request gets the first of them."""

    points = torch.from_numpy(np.random.RandomState(5).random_sample((37632, 2)).astype(np.float32))

    def __init__(self, *_ignored: Any) -> None: ...

    def places(self, clip: int, *shape: int) -> Tensor:
        return self.points[: shape[-1]].expand(*shape, 2)


def matches() -> list[Any]:
    """The published ones, in our order of layers: untrained ones are nearly tied."""
    pairs = [[tuple(map(torch.tensor, pair)) for pair in call] for call in TRAINING["match"]]
    frame, video = pairs[:10], pairs[10:]
    return [[*frame[1:], frame[0]], [*video[1:], video[0]]]  # they begin with the last layer


def test_a_training_step_has_the_published_losses_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avism, "Draws", SamePoints)
    monkeypatch.setattr(avism, "match_all", lambda *_: matches())
    shapes = json.loads((FOLDER / "state_dict_shapes.json").read_text())
    model = load_published({name: golden_weight(name, tuple(shape)) for name, shape in shapes.items()})
    assert isinstance(model, H2s)
    with np.load(FOLDER / "train.npz") as arrays:
        start_as(model, dict(arrays))
    frames, sound = golden_clip(TRAINING["input"], (8,))
    masks = torch.zeros(3, 5, 128, 160, dtype=torch.bool)
    for k in range(3):
        for t in range(int(k == 2), 5):
            masks[k, t, 10 + 30 * k : 40 + 30 * k, 10 + 20 * k + 4 * t : 60 + 20 * k + 4 * t] = True
    model.train()
    output = model(torch.from_numpy(frames)[None], torch.from_numpy(sound)[None])
    losses = model.losses(output, [ClipTargets(torch.tensor([0, 5, 12]), masks)], LossWeights())
    total = torch.stack(list(losses.values())).sum()
    assert total.item() == pytest.approx(TRAINING["total"], rel=2e-5)
    for ours, theirs in {
        "frame_class": "ce",
        "frame_mask": "mask",
        "frame_dice": "dice",
        "video_class": "avism_ce",
        "video_mask": "avism_mask",
        "video_dice": "avism_dice",
        "similarity": "clip_sim",
    }.items():
        layers = [f"loss_{theirs}", *(f"loss_{theirs}_{layer}" for layer in range(9))]
        expected = sum(TRAINING["losses"].get(name, 0.0) for name in layers)
        assert losses[ours].item() == pytest.approx(expected, rel=1.3e-3), ours
    total.backward()
    gradients = {published_name(name, "avism"): x.grad for name, x in model.named_parameters()}
    assert {name for name, gradient in gradients.items() if gradient is None} == set(TRAINING["no_gradient"])
    for name, norm in TRAINING["grad_norm"].items():
        gradient = gradients[name]
        assert gradient is not None and gradient.norm().item() == pytest.approx(norm, rel=6e-3), name
