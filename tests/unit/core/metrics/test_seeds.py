"""Scores over seeds: means, spread, and differences with the noise of training in them."""

import numpy as np
import pytest

from components.core.metrics.accumulate import Counts
from components.core.metrics.paired import paired_differences
from components.core.metrics.seeds import _draws, seed_differences, spreads
from tests.support.promotion_scores import counts_of

CLIPS = 30


def counts(frames: float) -> Counts:
    """FSLA of 25 percent for each of the four frames that are found, the same in every clip."""
    share = {n: int(frames) + (n % 2 if frames % 1 else 0) for n in range(1, CLIPS + 1)}
    return counts_of(share, clips=CLIPS).counts["corrected"]


def test_one_training_each_is_the_paired_test() -> None:
    ours, theirs = counts(3), counts(2.5)
    both = {"resamples": 200, "seed": 3}
    assert seed_differences([ours], [theirs], **both) == paired_differences(ours, theirs, **both)


def test_means_and_spread_over_seeds() -> None:
    found = spreads([counts(1), counts(2), counts(3)], resamples=400, seed=1)["FSLA"]
    assert (found.mean, found.deviation) == pytest.approx((50.0, 25.0))
    assert found.low is not None and found.high is not None and found.low < 30 < 70 < found.high
    calm = spreads([counts(2), counts(2)], resamples=400, seed=1)["FSLA"]
    assert (calm.deviation, calm.low, calm.high) == pytest.approx((0.0, 50.0, 50.0))


def test_the_spread_of_few_seeds_is_not_made_smaller() -> None:
    """Without noise of clips the draws lie apart as the mean of three such trainings does: 25 / sqrt(3)."""
    draws = _draws([counts(1), counts(2), counts(3)], resamples=4000, seed=1, side=0)["FSLA"]
    assert draws.std() == pytest.approx(25 / np.sqrt(3), rel=0.03)
    assert draws.mean() == pytest.approx(50, abs=1)


def test_a_gain_of_one_lucky_seed_is_noise_and_one_of_all_is_not() -> None:
    """The same mean gain of 25 points, of one seed alone and of all three."""
    both = {"resamples": 1000, "seed": 1}
    lucky = seed_differences([counts(4), counts(2), counts(3)], [counts(2)] * 3, **both)["FSLA"]
    steady = seed_differences([counts(3)] * 3, [counts(2)] * 3, **both)["FSLA"]
    assert lucky is not None and steady is not None
    assert lucky.difference == pytest.approx(25) and steady.difference == pytest.approx(25)
    assert not lucky.is_clear and steady.is_clear
    assert seed_differences([counts(3)], [counts(4), counts(2), counts(3)], **both)["FSLA"].difference == 0


def test_what_no_clip_can_tell_is_none() -> None:
    found = seed_differences([counts(3)] * 2, [counts(2)], resamples=50, seed=1)
    assert found["FSLAm"] is None  # no frame has two sources
    assert set(found) == {"mAP", "HOTA", "FSLA", "FSLAn", "FSLAs", "FSLAm"}
