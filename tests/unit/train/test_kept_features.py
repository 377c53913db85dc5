"""Features of frozen parts are computed once, and are those that would be computed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from components.train.kept_features import KeptFeatures
from tests.support.tiny_model import tiny_model


class Counted:
    """A frozen model in evaluation mode, and how often its backbone was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model: Any = tiny_model().eval()
        for part in (self.model.backbone, self.model.pixel_decoder):
            part.requires_grad_(False)
        self.asked = 0
        forward = self.model.backbone.forward

        def counted(frames: Tensor) -> Any:
            self.asked += 1
            return forward(frames)

        monkeypatch.setattr(self.model.backbone, "forward", counted)

    def features(self, kept: KeptFeatures, frames: Tensor) -> list[Tensor]:
        with kept.used_by(self.model), torch.inference_mode():
            stride4, scales = self.model.extract_features(frames)
            self.model.decode_frames(frames, None)  # what uses them leaves them as they are
        return [stride4, *scales]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


FRAMES = torch.arange(2 * 3 * 32 * 64, dtype=torch.float32).view(2, 3, 32, 64) % 251


def test_frozen_features_are_computed_once_and_are_the_same(counted: Counted) -> None:
    kept = KeptFeatures()
    first = counted.features(kept, FRAMES)
    assert counted.asked == 1
    torch.nn.init.ones_(counted.model.frame_decoder.class_head.weight)  # what learns meanwhile
    again = counted.features(kept, FRAMES.clone())
    assert counted.asked == 1
    anew = counted.features(KeptFeatures(), FRAMES)
    for one, two, three in zip(first, again, anew, strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)
    counted.features(kept, FRAMES + 1)
    counted.features(kept, FRAMES[:1])
    assert counted.asked == 4
    assert "extract_features" not in vars(counted.model)


def test_they_are_not_kept_of_a_part_that_has_changed_or_learns(counted: Counted) -> None:
    kept = KeptFeatures()
    first = counted.features(kept, FRAMES)
    with torch.no_grad():
        for tensor in counted.model.pixel_decoder.parameters():
            tensor += 0.1
    changed = counted.features(kept, FRAMES)
    assert counted.asked == 2 and not torch.equal(first[1], changed[1])
    counted.model.backbone.requires_grad_(True)
    for _ in range(2):
        counted.features(kept, FRAMES)
    assert counted.asked == 6  # here each call asks twice
