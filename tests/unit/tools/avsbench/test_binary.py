"""M_J and M_F: the published numbers, and what their definitions say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.tools.avsbench.binary import BETA_SQUARED, THRESHOLDS, f_curve, score_binary
from components.tools.avsbench.summary import summarise_binary
from tests.support.avs_published_cases import BINARY_CASES, binary_case

DATA = Path("tests/data/avsbench")
NOISE = 1e-6  # the published evaluation counts in single precision

truths = hnp.arrays(bool, (3, 6, 7))
probabilities = hnp.arrays(np.float32, (3, 6, 7), elements=st.floats(0, 1, width=32))


def test_the_fixture() -> None:
    expected = json.loads((DATA / "expected.json").read_text())
    videos = np.load(DATA / "videos.npz")
    scores = [
        score_binary(torch.from_numpy(logits.astype(np.float32)).sigmoid().numpy(), masks > 0)
        for logits, masks in zip(videos["logits"], videos["masks"], strict=True)
    ]
    assert [score.mask_iou for score in scores] == pytest.approx(expected["mask_iou"], abs=NOISE)
    assert [score.f_measure for score in scores] == pytest.approx(expected["f_measure"], abs=NOISE)
    official = summarise_binary(scores, resamples=0, seed=0)["official"]
    assert official["M_J"] == pytest.approx(100 * expected["M_J"], abs=100 * NOISE)
    assert official["M_F"] == pytest.approx(100 * expected["M_F"], abs=100 * NOISE)


@pytest.mark.parametrize("name", BINARY_CASES)
def test_what_the_published_evaluation_printed(name: str) -> None:
    expected = json.loads((DATA / "published.json").read_text())["binary"][name]
    logits, truth = binary_case(name)
    score = score_binary(torch.from_numpy(logits).sigmoid().numpy(), truth)
    official = summarise_binary([score], resamples=0, seed=0)["official"]
    assert official["M_J"] == pytest.approx(100 * expected["mask_iou"], abs=100 * NOISE)
    assert official["M_F"] == pytest.approx(100 * expected["f_measure"], abs=100 * NOISE)


@given(probabilities, truths)
def test_one_histogram_is_255_passes(probability: np.ndarray, truth: np.ndarray) -> None:
    frame, mask = probability[0], truth[0].copy()
    mask[0, 0] = True
    passes = []
    for threshold in THRESHOLDS:
        chosen = frame >= threshold
        hits = (chosen & mask).sum()
        precision, recall = hits / max(chosen.sum(), 1), hits / mask.sum()
        f = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall) if hits else 0
        passes.append(f)
    assert len(passes) == 255
    assert f_curve(frame, mask) == pytest.approx(passes, abs=1e-12)


@given(truths)
def test_the_truth_itself_scores_1(truth: np.ndarray) -> None:
    score = score_binary(truth.astype(np.float32), truth)
    assert score.mask_iou == 1
    assert score.f_measure == (1 if truth.any() else None)
    assert score.frames_with_object == truth.any((1, 2)).sum()


@given(probabilities, truths, st.permutations(range(3)))
def test_the_order_of_frames_does_not_matter(
    probability: np.ndarray, truth: np.ndarray, order: list[int]
) -> None:
    one, other = score_binary(probability, truth), score_binary(probability[order], truth[order])
    assert one.mask_iou == pytest.approx(other.mask_iou)
    assert one.f_measure == pytest.approx(other.f_measure)


@given(probabilities)
def test_a_frame_without_object_counts_rightly_empty_pixels(probability: np.ndarray) -> None:
    truth = np.zeros(probability.shape, bool)
    score = score_binary(probability, truth)
    assert score.mask_iou == pytest.approx((probability <= 0.5).mean())
    assert score.f_measure is None


def test_a_half_is_not_above_a_half() -> None:
    truth = np.ones((1, 2, 2), bool)
    assert score_binary(np.full((1, 2, 2), 0.5, np.float32), truth).mask_iou == 0
