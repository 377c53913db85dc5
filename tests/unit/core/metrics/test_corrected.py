"""`corrected` is right by construction: what must hold for any tracks, and hand-worked values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.metrics.score import score
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.results import Result

SIZED = ("AP_small", "AP_medium", "AP_large")
HEIGHT, WIDTH = 12, 16


@st.composite
def pictures(draw, scale: int = 1):
    """A mask of one or two boxes on a small grid, as a boolean array."""
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for _ in range(draw(st.integers(1, 2))):
        x, y = draw(st.integers(0, WIDTH - 3)), draw(st.integers(0, HEIGHT - 3))
        picture[y : y + draw(st.integers(2, 8)), x : x + draw(st.integers(2, 8))] = True
    return picture


@st.composite
def scenes(draw):
    """(lengths, truth [(video, category, pictures)], predicted [(video, category, score, pictures)])."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    truth, predicted = [], []
    for video, length in enumerate(lengths):
        frames = st.lists(st.one_of(st.none(), pictures()), min_size=length, max_size=length)
        for _ in range(draw(st.integers(0, 3))):
            truth.append((video, draw(st.integers(1, 2)), draw(frames)))
        for _ in range(draw(st.integers(0, 3))):
            copied = [track for track in truth if track[0] == video]
            shown = draw(st.sampled_from(copied))[2] if copied and draw(st.booleans()) else draw(frames)
            confidence = draw(st.sampled_from([0.2, 0.5, 0.9]))
            predicted.append((video, draw(st.integers(1, 2)), confidence, shown))
    return lengths, truth, predicted


def encoded(picture, *, scale=1, empty=False):
    if picture is None:
        blank = np.zeros((HEIGHT * scale, WIDTH * scale), dtype=bool)
        return masks.encode(blank) if empty else None
    return masks.encode(np.kron(picture, np.ones((scale, scale), dtype=bool)))


def values_of(lengths, truth, predicted, *, scale=1, empty=False, ids=None, categories=None):
    """Score a scene; `ids` renames videos, `categories` renames categories."""
    ids = ids or {video: video + 1 for video in range(len(lengths))}
    categories = categories or {1: 1, 2: 2}
    annotations = AnnotationSet(
        {categories[number]: f"c{number}" for number in (1, 2)},
        [
            Video(
                ids[video],
                f"v{video}",
                [f"v{video}/{frame}.jpg" for frame in range(length)],
                length,
                HEIGHT * scale,
                WIDTH * scale,
            )
            for video, length in enumerate(lengths)
        ],
        [
            Track(number, ids[video], categories[category], [encoded(p, scale=scale) for p in shown])
            for number, (video, category, shown) in enumerate(truth)
        ],
    )
    results = [
        Result(
            ids[video],
            categories[category],
            confidence,
            [encoded(p, scale=scale, empty=empty) for p in shown],
        )
        for video, category, confidence, shown in predicted
    ]
    return score(annotations, results, ["corrected"]).protocols["corrected"].values


def assert_same(first, second, without=()):
    for name in first:
        if name not in without:
            assert second[name] == pytest.approx(first[name], abs=1e-9), name


@given(scenes(), st.booleans(), st.sampled_from([1, 3]), st.randoms())
def test_perfect_predictions_score_100_everywhere(scene, empty, scale, order):
    lengths, truth, _ = scene
    predicted = [(video, category, 0.3, shown) for video, category, shown in truth]
    order.shuffle(predicted)
    values = values_of(lengths, truth, predicted, empty=empty, scale=scale)
    for name, value in values.items():
        if not name.endswith("_frames") and value is not None:
            assert value == pytest.approx(100), name
    seen = any(picture is not None for _, _, shown in truth for picture in shown)
    assert values["FSLA"] is not None
    assert (values["mAP"] is not None) == (values["HOTA"] is not None) == seen


@given(scenes(), st.randoms())
def test_order_of_tracks_videos_and_ids_is_irrelevant(scene, order):
    lengths, truth, predicted = scene
    before = values_of(lengths, truth, predicted)
    truth, predicted = truth[:], predicted[:]
    order.shuffle(truth)
    order.shuffle(predicted)
    ids = dict(enumerate(order.sample(range(100, 900), len(lengths))))
    assert_same(before, values_of(lengths, truth, predicted, ids=ids, categories={1: 77, 2: 5}))
    places = list(range(len(lengths)))
    order.shuffle(places)
    assert_same(
        before,
        values_of(
            [lengths[place] for place in places],
            [(places.index(video), *rest) for video, *rest in truth],
            [(places.index(video), *rest) for video, *rest in predicted],
        ),
    )


@given(scenes(), st.sampled_from([2, 5]))
def test_resolution_and_form_of_empty_masks_are_irrelevant(scene, scale):
    before = values_of(*scene)
    assert_same(before, values_of(*scene, scale=scale, empty=True), without=SIZED)


@given(scenes())
def test_tracks_without_masks_change_nothing(scene):
    lengths, truth, predicted = scene
    blank = [
        (video, category, 0.99, [None] * lengths[video])
        for video in range(len(lengths))
        for category in (1, 2)
    ]
    assert_same(
        values_of(lengths, truth, predicted), values_of(lengths, truth, predicted + blank, empty=True)
    )


@given(scenes())
def test_numbers_are_percentages(scene):
    for name, value in values_of(*scene).items():
        if value is not None and not name.endswith("_frames"):
            assert 0 <= value <= 100 + 1e-9, name


def box(x, y, width=4, height=4):
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    picture[y : y + height, x : x + width] = True
    return picture


A, B = box(0, 0), box(8, 0)


@given(st.integers(2, 12), st.data())
def test_splitting_a_track_costs_association_and_nothing_else(length, data):
    part = data.draw(st.integers(1, length - 1))
    other = data.draw(st.integers(0, length))  # frames of a second object that is followed throughout
    first, second = [A] * length, [B] * other + [None] * (length - other)
    truth = [(0, 1, first), (0, 1, second)]
    follows = (0, 1, 0.7, second)
    whole = values_of([length], truth, [(0, 1, 0.9, first), follows])
    split = values_of(
        [length],
        truth,
        [
            (0, 1, 0.9, [A] * part + [None] * (length - part)),
            (0, 1, 0.8, [None] * part + [A] * (length - part)),
            follows,
        ],
    )
    assert whole["HOTA"] == pytest.approx(100)
    assert split["DetA"] == split["FSLA"] == pytest.approx(100)
    # a true positive of a part of k frames: k matched, the others missed by its track, none false (eq. 6)
    association = (part * part / length + (length - part) ** 2 / length + other) / (length + other)
    assert split["AssA"] == split["AssRe"] == pytest.approx(100 * association)
    assert split["AssPr"] == pytest.approx(100)
    assert split["HOTA"] == pytest.approx(100 * association**0.5)


@given(st.integers(1, 8), st.integers(1, 8))
def test_joining_two_objects_in_one_track_costs_association(first, second):
    length = first + second
    truth = [(0, 1, [A] * first + [None] * second), (0, 1, [None] * first + [B] * second)]
    joined = values_of([length], truth, [(0, 1, 0.9, [A] * first + [B] * second)])
    assert joined["DetA"] == joined["AssRe"] == joined["FSLA"] == pytest.approx(100)
    # a true positive of the first object: `first` matched, none missed, `second` false
    association = (first * first + second * second) / length**2
    assert joined["AssA"] == joined["AssPr"] == pytest.approx(100 * association)
    assert joined["HOTA"] == pytest.approx(100 * association**0.5)


def test_a_missed_frame_and_a_false_one_by_hand():
    # frame 0: right; frame 1: missed; frame 2: silent, but a mask is predicted
    values = values_of([3], [(0, 1, [A, A, None])], [(0, 1, 0.9, [A, None, A])])
    assert values["DetA"] == pytest.approx(100 / 3)
    assert (values["DetRe"], values["DetPr"]) == (pytest.approx(50), pytest.approx(50))
    assert values["AssA"] == pytest.approx(100 / 3)
    assert values["FSLA"] == pytest.approx(100 / 3)
    assert (values["FSLAn"], values["FSLAs"]) == (0, pytest.approx(50))
    # one of three pixels-in-time overlaps: 1/3 < 0.5
    assert values["mAP"] == 0


def test_fsla_counts_thresholds_below_the_overlap():
    # 4x4 against 4x2 of it: IoU 0.5 exceeds 0.05 … 0.45, nine of nineteen thresholds
    values = values_of([1], [(0, 1, [A])], [(0, 1, 0.9, [box(0, 0, 4, 2)])])
    assert values["FSLA"] == pytest.approx(100 * 9 / 19)
    # and reaches 0.05 … 0.5 in HOTA, which counts equality
    assert values["DetA"] == pytest.approx(100 * 10 / 19)
    assert values["LocA"] == pytest.approx(50)


def test_fsla_wants_categories_and_number():
    truth = [(0, 1, [A]), (0, 2, [B])]
    assert values_of([1], truth, [(0, 2, 0.9, [B]), (0, 1, 0.1, [A])])["FSLAm"] == pytest.approx(100)
    assert values_of([1], truth, [(0, 2, 0.9, [A]), (0, 1, 0.9, [B])])["FSLAm"] == 0
    assert values_of([1], truth, [(0, 1, 0.9, [A])])["FSLAm"] == 0
    more = [(0, 1, 0.9, [A]), (0, 2, 0.9, [B]), (0, 2, 0.9, [box(8, 8)])]
    assert values_of([1], truth, more)["FSLAm"] == 0


def test_average_precision_by_hand():
    # scores 0.9 right, 0.8 false, 0.7 right; two tracks: recall 0.5 at precision 1, 1.0 at 2/3
    truth = [(0, 1, [A]), (1, 1, [B])]
    predicted = [(0, 1, 0.9, [A]), (0, 1, 0.8, [box(8, 8)]), (1, 1, 0.7, [B])]
    values = values_of([1, 1], truth, predicted)
    assert values["mAP"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert values["AR"] == pytest.approx(100)


def test_a_false_category_costs_no_average_of_its_own():
    values = values_of([1], [(0, 1, [A])], [(0, 1, 0.9, [A]), (0, 2, 0.9, [B])])
    assert (values["mAP"], values["HOTA"]) == (pytest.approx(100), pytest.approx(100))
    assert values["FSLA"] == 0
