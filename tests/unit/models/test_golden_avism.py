"""Outputs of the published code for regenerated weights: AVISM with ResNet-50 and with Swin-L, and ACVIS.

avism_swin_l is of a clip whose maps are smaller than Swin's windows; acvis_r50 spells its video module as
the COCO-pretrained releases do.
"""

from pathlib import Path

import numpy as np
import pytest

from models.golden import TOLERANCES, avism_outputs, compare_avism, golden_clip

pytestmark = pytest.mark.slow

GOLDEN = Path("tests/data/golden")
OUTPUTS = (
    "frame_logits",
    "frame_queries",
    "mask_features_f0",
    "frame_masks_f0",
    "video_logits",
    "video_mask_embed",
)
STATISTICS = (
    "res2",
    "res3",
    "res4",
    "res5",
    "mask_features",
    "frame_logits",
    "video_logits",
    "video_mask_embed",
)


@pytest.mark.parametrize(
    ("folder", "backbone"),
    [("avism_r50", "resnet50"), ("avism_swin_l", "swin_large"), ("acvis_r50", "resnet50")],
)
def test_outputs_and_statistics_are_the_published_ones(folder: str, backbone: str) -> None:
    rows = {row.name: row for row in compare_avism(GOLDEN / folder, backbone)}
    counted = {"count_logits"} if folder == "acvis_r50" else set()
    assert set(rows) == {*OUTPUTS, *(f"{name} (statistics)" for name in STATISTICS)} | counted
    for row in rows.values():
        assert row.difference <= TOLERANCES["avism"], row
        assert row.magnitude > 0.1, row


def test_another_clip_has_other_outputs() -> None:
    """The comparison can fail: outputs are nowhere near those of another clip."""
    from models import build

    clip = {"T": 2, "H": 64, "W": 96}
    model = build("avism", frame_layers=1, pixel_layers=1, video_encoder_layers=1).eval()
    one, other = (avism_outputs(model, *golden_clip({**clip, "seed": seed})) for seed in (1, 2))
    for name in OUTPUTS:
        assert np.abs(one[name] - other[name]).max() > 1e-3, name
