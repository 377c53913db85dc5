"""What goes wrong, on videos small enough to be worked out by hand, and what must hold for any tracks."""

import json
import pickle
from dataclasses import fields
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.metrics.failures.frame_causes import CAUSES, SOURCES
from components.core.metrics.failures.identity_switches import identity_switches
from components.core.metrics.failures.mask_fates import PREDICTED_FATES, TRUTH_FATES
from components.core.metrics.failures.sentences import findings
from components.core.metrics.failures.tables import document, tables
from components.core.metrics.failures.tally import Failures, Tally, collect
from components.core.metrics.failures.video import inspect
from components.core.metrics.overlaps import Overlaps, Side, VideoMasks, measure
from components.core.records import masks
from components.core.records.annotations import Track, Video
from components.core.records.results import Result

HEIGHT, WIDTH = 20, 40
CATEGORIES = (1, 2, 3)
NAMES = ["cow", "dog", "duck"]
CASES = Path(__file__).parents[3] / "data" / "eval_cases" / "identity_switches.json"


def box(x, width=10):
    """A mask of 10 rows from column x on."""
    picture = np.zeros((HEIGHT, WIDTH), dtype=bool)
    picture[5:15, x : x + width] = True
    return picture


A, B, C = box(0), box(15), box(30)  # nowhere near each other
HALF = box(5)  # overlaps A by a third


def video_of(truth, predicted, threshold=0.3, name="v"):
    """Inspect one video: truth [(category, pictures)], predicted [(category, score, pictures)]."""
    length = len((truth or predicted)[0][-1])
    code = [
        masks.compress_all([None if p is None else masks.encode(p) for p in shown], HEIGHT, WIDTH)[0]
        for *_, shown in predicted
    ]
    item = VideoMasks(
        Video(1, name, [f"{name}/{frame}.jpg" for frame in range(length)], length, HEIGHT, WIDTH),
        [
            Track(number, 1, category, [None if p is None else masks.encode(p) for p in shown])
            for number, (category, shown) in enumerate(truth)
        ],
        [
            (row, Result(1, category, score, shown))
            for row, ((category, score, _), shown) in enumerate(zip(predicted, code, strict=True))
        ],
    )
    return inspect(measure(item), CATEGORIES, threshold)


def fates(failures, side):
    names = TRUTH_FATES if side == "truth" else PREDICTED_FATES
    counts = getattr(failures.by_sources, side).sum(0)
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}


def causes(failures):
    counts = failures.frames[:, 2:].sum(0)
    return {cause: int(count) for cause, count in zip(CAUSES, counts, strict=True) if count}


def test_confused_with_another_category():
    found = video_of([(1, [A, A])], [(2, 0.9, [A, A])]).shown
    assert found.confusion.tolist() == [[0, 2, 0, 0], [0] * 4, [0] * 4, [0] * 4]
    assert causes(found) == {"wrong category": 2}
    assert fates(found, "truth") == fates(found, "predicted") == {"wrong category": 2}
    assert found.switches.sum() == 0


def test_equal_masks_match_the_right_category_in_any_order():
    for order in (1, -1):
        found = video_of([(2, [A])], [(1, 0.9, [A]), (2, 0.9, [A])][::order]).shown
        assert found.confusion[1].tolist() == [0, 1, 0, 0]
        assert found.confusion[-1].tolist() == [1, 0, 0, 0]
        assert fates(found, "predicted") == {"right": 1, "duplicate": 1}
        assert causes(found) == {"too many masks": 1}


def test_equal_masks_of_wrong_categories_match_alike_in_any_order():
    for order in (1, -1):
        found = video_of([(1, [A])], [(2, 0.9, [A]), (3, 0.9, [A])][::order]).shown
        assert found.confusion[0].tolist() == [0, 1, 0, 0]


def test_missed_and_false_masks_are_confused_with_nothing():
    found = video_of([(1, [A]), (2, [B])], [(1, 0.9, [A]), (3, 0.8, [C])]).shown
    assert found.confusion.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0] * 4, [0, 0, 1, 0]]
    assert fates(found, "truth") == {"right": 1, "not seen": 1}
    assert fates(found, "predicted") == {"right": 1, "elsewhere": 1}
    assert causes(found) == {"wrong category": 1}


def test_identity_switch_names_frame_and_tracks():
    video = video_of(
        [(1, [A, A, None, A, A])],
        [(1, 0.9, [A, A, None, None, None]), (1, 0.8, [None, None, None, A, A])],
    )
    # falling silent on frame 2 excuses nothing; two frames that are matched to row 1 are one switch
    assert video.events.switches.tolist() == [[3, 0, 0, 0, 1]]
    assert video.shown.switches.tolist() == [1, 0, 0]
    assert causes(video.shown) == {}


def test_a_held_pair_is_not_switched_for_a_better_overlap():
    nearly = box(1)
    video = video_of([(1, [A, A])], [(1, 0.9, [A, nearly]), (1, 0.9, [None, A])])
    assert video.shown.switches.sum() == 0
    assert fates(video.shown, "predicted") == {"right": 2, "duplicate": 1}


def test_a_pair_is_held_over_a_frame_without_masks():
    nearly = box(1)
    video = video_of([(1, [A, None, A])], [(1, 0.9, [A, None, nearly]), (1, 0.9, [None, None, A])])
    assert video.shown.switches.sum() == 0


def test_another_category_is_no_identity_switch():
    assert video_of([(1, [A, A])], [(1, 0.9, [A, None]), (2, 0.9, [None, A])]).shown.switches.sum() == 0


def test_identity_switches_equal_trackeval():
    cases = json.loads(CASES.read_text())["cases"]
    assert sum(case["IDSW"] for case in cases) > 10
    for case in cases:
        truth, predicted, ious = (np.array(case[name]) for name in ("truth", "predicted", "ious"))
        both = np.repeat((truth.any(1) & predicted.any(1))[:, None], truth.shape[1], axis=1)
        assert len(identity_switches(ious, ious >= 0.5 - 1e-12, both)) == case["IDSW"]


def test_false_sounds_on_a_silent_frame_and_on_a_silent_object():
    video = video_of(
        [(1, [A, None, None, None, A]), (2, [B, B, None, None, B])],
        [(1, 0.9, [A, A, A, None, A]), (2, 0.8, [B, B, None, None, B])],
    )
    assert fates(video.shown, "predicted") == {"right": 5, "nothing sounds": 1, "object silent": 1}
    assert video.events.false_sounds.tolist() == [
        [1, 2, 0, 0, 1]
    ]  # one run of two frames, one of them silent
    assert video.shown.false_runs.tolist() == [2, 1, 2]
    assert causes(video.shown) == {"too many masks": 1, "false sound": 1}
    other = video_of([(1, [A, None])], [(1, 0.9, [A, A])])
    assert (video.shown + other.shown).false_runs.tolist() == [3, 2, 2]


def test_a_mask_over_another_sounding_object_is_no_false_sound():
    found = video_of([(1, [A, A, None]), (1, [None, None, B])], [(1, 0.9, [A, A, B])]).shown
    assert found.false_runs.tolist() == [0, 0, 0]
    assert fates(found, "predicted") == {"right": 3}


def test_missed_sounds():
    video = video_of(
        [(1, [A, A, A, A]), (2, [B, B, B, B])],
        [(1, 0.9, [A, None, None, A]), (2, 0.8, [B, B, None, None])],
    )
    assert fates(video.shown, "truth") == {"right": 4, "nothing predicted": 2, "track silent": 2}
    assert sorted(video.events.missed_sounds.tolist()) == [[1, 2, 0, 0, 1], [2, 2, 1, 1, 1]]
    assert video.shown.missed_runs.tolist() == [4, 2, 2]
    assert causes(video.shown) == {"too few masks": 2, "missed sound": 1}


def test_poor_shared_and_unseen_masks():
    found = video_of([(1, [A])], [(1, 0.9, [HALF])]).shown
    assert fates(found, "truth") == fates(found, "predicted") == {"poor mask": 1}
    assert causes(found) == {"poor mask": 1}
    wide = box(0, 16)  # covers most of two objects that overlap
    shared = video_of([(1, [box(0, 14)]), (1, [box(2, 14)])], [(1, 0.9, [wide])]).shown
    assert fates(shared, "truth") == {"right": 1, "shared": 1}


def test_sources_sizes_and_thresholds_of_fsla():
    found = video_of(
        [(1, [None, A, A]), (2, [None, None, B])], [(1, 0.9, [None, A, A]), (2, 0.9, [None] * 3)]
    ).shown
    assert found.frames[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert found.frames[:, 1].tolist() == [1, 1, 0, 0, 0]
    assert found.fsla.sum(1).tolist() == [19, 19, 0, 0, 0]
    assert found.by_size.tracks.tolist() == [2, 0, 0]
    assert found.by_sources.truth[:, 0].tolist() == [0, 1, 1, 0, 0]
    assert found.by_sources.overlap.tolist() == [0, 1, 1, 0, 0]


def test_a_frame_is_right_at_half_an_overlap():
    found = video_of([(1, [A])], [(1, 0.9, [box(1)])]).shown  # overlap 9 / 11
    assert found.frames[1, :2].tolist() == [1, 1]
    assert found.fsla[1].sum() == 16  # of the thresholds 0.05 to 0.95


def test_sizes_end_at_128_and_256_squared():
    areas = np.array([[128**2], [128**2 + 1], [256**2], [256**2 + 1]])
    present = np.ones((4, 1), dtype=bool)
    truth = Side(np.arange(4), np.ones(4, int), np.ones(4), np.zeros(4, bool), areas, present)
    video = Overlaps("v", 720, 1280, truth, truth.select(present[:0, 0]), np.zeros((1, 4, 0), dtype=np.int64))
    assert inspect(video, CATEGORIES, 0.3).every.by_size.tracks.tolist() == [1, 2, 1]


def test_weak_predictions_are_in_every_but_not_shown():
    video = video_of([(1, [A])], [(1, 0.9, [A]), (1, 0.1, [B]), (2, 0.1, [C])])
    assert causes(video.shown) == {}
    assert causes(video.every) == {"too many masks": 1}
    assert fates(video.every, "predicted") == {"right": 1, "elsewhere": 2}


def test_nothing_on_either_side():
    none = video_of([], [(1, 0.9, [A])]).shown
    assert causes(none) == {"false sound": 1}
    blind = video_of([(1, [A])], []).shown
    assert causes(blind) == {"missed sound": 1}
    assert fates(blind, "truth") == {"nothing predicted": 1}


def test_tables_words_and_document():
    videos = [
        video_of([(1, [A, None, A])], [(2, 0.9, [A, A, A])], name="one"),
        video_of([(1, [A, A, A]), (2, [B, B, B])], [(1, 0.9, [A, A, A])], name="two"),
        video_of([(1, [A, A])], [(1, 0.9, [A, None]), (1, 0.8, [None, A])], name="three"),
    ]
    scores = collect(videos, NAMES, 0.3)
    made = tables(scores)
    shown = [row for row in made["causes"] if row["predictions"] == "score >= 0.3"]
    assert {row["cause"]: row["frames"] for row in shown if row["frames"]} == {
        "false sound": 1,
        "too few masks": 3,
        "wrong category": 2,
    }
    assert sum(row["of_wrong_frames"] for row in shown) == pytest.approx(100)
    assert {(row["objects"], row["clips"]) for row in made["per_object_count"]} == {("1", 2), ("2", 1)}
    clip = next(row for row in made["per_clip_failures"] if row["video"] == "two")
    assert (clip["objects"], clip["wrong_frames"], clip["chief_cause"]) == (2, 3, "too few masks")
    assert made["identity_switches"] == [
        {
            "protocol": "corrected",
            "predictions": "score >= 0.3",
            "video": "three",
            "frame": 1,
            "category": "cow",
            "truth_track": 0,
            "results_row_before": 0,
            "results_row_now": 1,
        }
    ]
    assert [row["video"] for row in made["false_sounds"]] == ["one"]
    cow = next(row for row in made["per_category_failures"] if row["category"] == "cow")
    assert (cow["taken_for"], cow["taken_for_masks"], cow["truth_masks"]) == ("dog", 2, 7)
    assert cow["mean_overlap"] == pytest.approx(100)
    for rows in made.values():
        assert {row["protocol"] for row in rows} <= {"corrected"}

    said = findings(scores)
    assert [finding.name for finding in said][:3] == ["too few masks", "wrong category", "false sound"]
    assert "have another category: cow taken for dog (2)." in said[1].text
    assert "1 of 1 silent frames" in said[2].text
    assert "three (1)" in next(finding.text for finding in said if finding.name == "identity switches")
    assert document(scores)["protocol"] == "corrected"
    json.dumps(document(scores))


# --- what must hold for any tracks ---


@st.composite
def scenes(draw):
    """(truth, predicted) of one video, as `video_of` takes them; some predictions copy an object."""
    length = draw(st.integers(1, 5))
    picture = st.builds(box, st.integers(0, 28), st.integers(4, 12))
    frames = st.lists(st.one_of(st.none(), picture), min_size=length, max_size=length)
    truth = draw(st.lists(st.tuples(st.sampled_from(CATEGORIES), frames), min_size=1, max_size=3))
    predicted = []
    for _ in range(draw(st.integers(0, 4))):
        shown = draw(st.sampled_from(truth))[1] if draw(st.booleans()) else draw(frames)
        predicted.append((draw(st.sampled_from(CATEGORIES)), draw(st.sampled_from([0.1, 0.5, 0.9])), shown))
    return truth, predicted


def assert_equal(first, second):
    for field in fields(first):
        mine, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(mine, Failures | Tally):
            assert_equal(mine, theirs)
        elif isinstance(mine, np.ndarray):
            np.testing.assert_allclose(mine, theirs, err_msg=field.name)


@given(scenes(), st.randoms())
def test_the_order_of_tracks_is_irrelevant(scene, random):
    truth, predicted = scene
    before = video_of(truth, predicted)
    truth, predicted = truth[:], predicted[:]
    random.shuffle(truth)
    random.shuffle(predicted)
    after = video_of(truth, predicted)
    assert_equal(before.every, after.every)
    assert_equal(before.shown, after.shown)


@given(scenes())
def test_every_mask_and_frame_is_counted_once(scene):
    truth, predicted = scene
    found = video_of(truth, predicted).every
    true_masks = sum(picture is not None for _, shown in truth for picture in shown)
    found_masks = sum(picture is not None for _, _, shown in predicted for picture in shown)
    length = len(truth[0][1])
    for tally in (found.by_category, found.by_size, found.by_sources):
        assert tally.truth.sum() == true_masks
        assert tally.predicted.sum() == found_masks
    assert found.frames[:, 0].sum() == found.frames[:, 1:].sum() == length
    assert found.confusion.sum() == true_masks + found_masks - found.confusion[:-1, :-1].sum()
    assert found.confusion[:-1].sum() == true_masks
    assert found.confusion[:, :-1].sum() == found_masks
    np.testing.assert_array_equal(found.by_category.truth.sum(1), found.confusion[:-1].sum(1))


@given(scenes())
def test_perfect_predictions_have_no_failures(scene):
    truth, _ = scene
    found = video_of(truth, [(category, 0.9, shown) for category, shown in truth]).shown
    assert causes(found) == {}
    assert set(fates(found, "truth")) | set(fates(found, "predicted")) <= {"right"}
    assert np.count_nonzero(found.confusion - np.diag(np.diag(found.confusion))) == 0
    assert found.false_runs.sum() == found.missed_runs.sum() == 0
    # equal objects of one category may swap: the masks are the same then
    distinct = {(category, *(None if p is None else p.tobytes() for p in shown)) for category, shown in truth}
    apart = all(
        not (p is not None and q is not None and (p & q).any())
        for n, (_, first) in enumerate(truth)
        for _, second in truth[:n]
        for p, q in zip(first, second, strict=True)
    )
    if apart and len(distinct) == len(truth):
        assert found.switches.sum() == 0


@given(st.lists(scenes(), min_size=2, max_size=3))
def test_records_add_up_in_any_grouping_and_travel(some):
    parts = [pickle.loads(pickle.dumps(video_of(*scene))).every for scene in some]
    assert_equal(reduce(add, parts), reduce(add, parts[::-1]))
    total = reduce(add, parts)
    assert total.frames[:, 0].sum() == sum(len(truth[0][1]) for truth, _ in some)
    assert len(SOURCES) == len(total.frames)
