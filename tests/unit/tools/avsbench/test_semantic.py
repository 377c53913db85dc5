"""IoU and F per class: the published numbers, and what their definitions say."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.tools.avsbench.semantic import CLASSES, ClassSums, lengthen, score_classes
from components.tools.avsbench.summary import summarise_classes
from tests.support.avs_published_cases import SEMANTIC_VIDEOS, semantic_case

NAMES = [f"class {number}" for number in range(CLASSES)]
truths = hnp.arrays(np.uint8, (2, 4, 5), elements=st.sampled_from([0, 0, 1, 2, 70]))


def both(predicted: np.ndarray, truth: np.ndarray) -> tuple[ClassSums, ClassSums]:
    return score_classes(lengthen(predicted), lengthen(truth)), score_classes(predicted, truth)


def test_what_the_published_evaluation_printed() -> None:
    expected = json.loads(Path("tests/data/avsbench/published.json").read_text())["semantic"]
    sums = [both(*semantic_case(number)) for number in range(SEMANTIC_VIDEOS)]
    assert any(len(semantic_case(number)[0]) == 5 for number in range(SEMANTIC_VIDEOS))
    official = summarise_classes(*zip(*sums, strict=True), NAMES, resamples=0, seed=0)["official"]
    printed = {"M_J": "miou", "M_F": "f_score", "M_J_noBg": "miou_noBg", "M_F_noBg": "f_score_noBg"}
    for name, there in printed.items():
        assert official[name] == pytest.approx(100 * expected[there], abs=1e-4)
    nothing = {"IoU": 0, "F": 0, "frames": 0}
    for number, name in enumerate(NAMES):
        row = official["classes"].get(name, nothing)
        assert row["IoU"] == pytest.approx(100 * expected["iou"][number], abs=1e-4)
        assert row["F"] == pytest.approx(100 * expected["f_measure"][number], abs=1e-4)
        assert row["frames"] == expected["frames"][number]


@given(st.lists(truths, min_size=1, max_size=3))
def test_the_truth_itself_scores_100(videos: list[np.ndarray]) -> None:
    sums = [both(truth, truth) for truth in videos]
    summary = summarise_classes(*zip(*sums, strict=True), NAMES, resamples=0, seed=0)
    occurring = {int(number) for truth in videos for number in np.unique(truth)}
    corrected = summary["corrected"]
    assert corrected["M_J"] == corrected["M_F"] == 100
    assert corrected["M_J_noBg"] == (100 if occurring - {0} else None)
    assert set(corrected["classes"]) == {NAMES[number] for number in occurring}
    # classes that never occur count as 0; the background always occurs: it lengthens the videos
    assert summary["official"]["M_J"] == pytest.approx(100 * len(occurring | {0}) / CLASSES)


@given(st.lists(st.tuples(truths, truths), min_size=2, max_size=4), st.randoms())
def test_the_order_of_videos_does_not_matter(
    pairs: list[tuple[np.ndarray, np.ndarray]], random: object
) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        summarise_classes(*zip(*(both(*pair) for pair in order), strict=True), NAMES, resamples=0, seed=0)
        for order in (pairs, shuffled)
    )
    for protocol in ("official", "corrected"):
        for name in ("M_J", "M_F"):
            assert one[protocol][name] == pytest.approx(other[protocol][name])


def test_a_class_that_is_only_predicted() -> None:
    """It spoils the class that is there, and in `corrected` is none of those averaged."""
    truth = np.zeros((10, 4, 4), np.uint8)
    truth[:, :2] = 3
    predicted = np.where(truth == 3, 9, 0).astype(np.uint8)
    summary = summarise_classes(*zip(both(predicted, truth), strict=True), NAMES, resamples=0, seed=0)
    assert summary["corrected"]["M_J"] == pytest.approx((100 + 0) / 2)  # background, 3
    assert summary["corrected"]["M_J_noBg"] == 0
    assert summary["official"]["M_J"] == pytest.approx(100 / CLASSES)
    assert summary["official"]["M_J_noBg"] == pytest.approx(100 / (CLASSES - 1))  # without class 70
    assert summary["corrected"]["classes"][NAMES[9]] == {"IoU": 0, "F": 0, "frames": 10, "true_frames": 0}


def test_lengthening_adds_right_background() -> None:
    truth = np.full((5, 2, 2), 4, np.uint8)
    summary = summarise_classes(*zip(both(truth * 0, truth), strict=True), NAMES, resamples=0, seed=0)
    assert summary["official"]["classes"]["class 0"]["IoU"] == pytest.approx(50)
    assert summary["corrected"]["classes"]["class 0"]["IoU"] == 0
