"""From videos to a data set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.tools.avsbench.binary import BinaryScore
from components.tools.avsbench.semantic import score_classes
from components.tools.avsbench.summary import summarise_binary, summarise_classes

fractions = st.floats(0, 1)
scores_of_videos = st.lists(
    st.builds(BinaryScore, fractions, st.none() | fractions, st.just(5), st.just(5)), min_size=1, max_size=6
)


@given(scores_of_videos, st.randoms())
def test_the_order_of_videos_does_not_matter(scores: list[BinaryScore], random: object) -> None:
    shuffled = list(scores)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (summarise_binary(order, resamples=0, seed=0) for order in (scores, shuffled))
    for protocol in ("official", "corrected"):
        for name in ("M_J", "M_F"):
            assert one[protocol][name] == pytest.approx(other[protocol][name])


def test_a_video_in_which_nothing_sounds() -> None:
    scores = [BinaryScore(1.0, 0.8, 5, 5), BinaryScore(0.5, None, 5, 0)]
    summary = summarise_binary(scores, resamples=0, seed=0)
    assert summary["official"] == {"M_J": 75, "M_F": 40, "intervals": {}}
    assert summary["corrected"] == {"M_J": 75, "M_F": 80, "intervals": {}}
    assert summarise_binary(scores[1:], resamples=9, seed=0)["corrected"]["M_F"] is None


def test_intervals_of_a_mean_are_as_wide_as_they_should_be() -> None:
    draw = np.random.default_rng(1)
    scores = [BinaryScore(value, value, 5, 5) for value in draw.uniform(0.2, 0.8, 300).tolist()]
    values = np.array([score.mask_iou for score in scores])
    summary = summarise_binary(scores, resamples=2000, seed=0)
    error = 1.96 * values.std() / np.sqrt(300)
    expected = [100 * (values.mean() - error), 100 * (values.mean() + error)]
    for protocol in ("official", "corrected"):
        assert summary[protocol]["intervals"]["M_J"] == pytest.approx(expected, abs=0.3)
        assert summary[protocol]["intervals"]["M_F"] == pytest.approx(expected, abs=0.3)
    assert summarise_binary(scores, resamples=2000, seed=0) == summary
    assert summarise_binary(scores, resamples=2000, seed=1) != summary


def test_intervals_over_videos_of_classes() -> None:
    """The draws miss some of the 40 classes, which then count as 0: that must not move the interval."""
    names = [str(number) for number in range(71)]
    draw = np.random.default_rng(0)
    sums = []
    for number in range(1, 41):
        truth = np.zeros((10, 4, 4), np.uint8)
        truth[:, :2] = number
        predicted = truth.copy()
        predicted[:, : draw.integers(0, 3)] = 0
        sums.append(score_classes(predicted, truth))
    summary = summarise_classes(sums, sums, names, resamples=300, seed=0)
    for protocol in ("official", "corrected"):
        for name in ("M_J", "M_F", "M_J_noBg", "M_F_noBg"):
            low, high = summary[protocol]["intervals"][name]
            assert low < summary[protocol][name] < high
    assert summarise_classes(sums, sums, names, resamples=300, seed=0) == summary
    assert summarise_classes(sums, sums, names, resamples=0, seed=0)["official"]["intervals"] == {}
