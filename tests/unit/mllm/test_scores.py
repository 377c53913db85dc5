"""Scores against values worked out by hand."""

import numpy as np
import pytest

from components.core.records import masks
from components.mllm import scores
from components.mllm.baselines import baselines
from components.mllm.sounding import Sounding, from_masks

CATEGORIES = ("cat", "dog", "violin")


def score(truth, answers, *, boxes=True):
    return scores.score(scores.scored(truth, [answers], CATEGORIES, boxes=boxes))


LEFT, RIGHT = (0.0, 0.0, 500.0, 1000.0), (500.0, 0.0, 1000.0, 1000.0)


def sounding(length_s=4, counts=None, seconds=None, boxes=None) -> Sounding:
    return Sounding(
        length_s=length_s,
        counts=counts or {},
        seconds={category: frozenset(values) for category, values in (seconds or {}).items()},
        boxes=boxes or {},
    )


# a dog sounds in seconds 0–3 on the left; a violin in second 3 on the right
TRUE = sounding(
    counts={"dog": 1, "violin": 1},
    seconds={"dog": {0, 1, 2, 3}, "violin": {3}},
    boxes={
        0: (("dog", LEFT),),
        1: (("dog", LEFT),),
        2: (("dog", LEFT),),
        3: (("violin", RIGHT), ("dog", LEFT)),
    },
)


def test_the_truth_scores_full():
    values = score({"a": TRUE}, {"a": TRUE})
    assert values == {
        "category_f1": 100.0,
        "count_accuracy": 100.0,
        "count_off_by_one": 100.0,
        "count_mae": 0.0,
        "second_category_f1": 100.0,
        "frame_accuracy": 100.0,
        "temporal_iou": 100.0,
        "box_fsla": 100.0,
        "box_map": 100.0,
        "category_precision": 100.0,
        "category_recall": 100.0,
        "hallucinated": 0.0,
        "yes_bias": 0.0,
    }


def test_by_hand():
    answer = sounding(
        counts={"dog": 2, "cat": 1},
        seconds={"dog": {0, 1}, "cat": {3}},
        boxes={
            # half of the dog's box: overlap 0.5 -> above 0.05 … 0.45, 9 of 19 thresholds
            0: (("dog", (0.0, 0.0, 500.0, 500.0)),),
            # two boxes for one dog: wrong at every threshold
            1: (("dog", LEFT), ("dog", RIGHT)),
            # the right place, the wrong name
            3: (("cat", RIGHT), ("dog", LEFT)),
        },
    )
    values = score({"a": TRUE}, {"a": answer})
    assert values["category_f1"] == pytest.approx(50.0)  # TP dog, FP cat, FN violin
    assert (values["count_accuracy"], values["count_off_by_one"], values["count_mae"]) == (0.0, 100.0, 1.0)
    # TP (0, dog), (1, dog); FP (3, cat); FN (2, dog), (3, dog), (3, violin): 4 / (4 + 1 + 3)
    assert values["second_category_f1"] == pytest.approx(50.0)
    assert values["frame_accuracy"] == pytest.approx(50.0)  # seconds 0 and 1
    # dog 2/4, violin 0, cat 0
    assert values["temporal_iou"] == pytest.approx(100 * 0.5 / 3)
    assert values["box_fsla"] == pytest.approx(100 * (9 / 19) / 4)
    assert (values["category_precision"], values["category_recall"]) == (50.0, 50.0)
    assert values["hallucinated"] == 1.0  # the cat
    assert values["yes_bias"] == 0.0  # two of three named, two of three true
    # dogs: 4 true, 4 named, 3 overlap by 0.5 and more, 2 by 0.55 and more; violins are not found
    assert values["box_map"] == pytest.approx(100 * ((3 / 4) ** 2 + 9 * (2 / 4) ** 2) / 10 / 2)


def test_boxes_pair_off_in_any_order_within_their_category():
    two = {0: (("dog", LEFT), ("dog", RIGHT))}
    swapped = {0: (("dog", RIGHT), ("dog", LEFT))}
    true = sounding(1, {"dog": 2}, {"dog": {0}}, two)
    assert score({"a": true}, {"a": sounding(1, {"dog": 2}, {"dog": {0}}, swapped)})["box_fsla"] == 100.0


def test_no_valid_answer_is_wrong_everywhere_even_in_silence():
    silent = sounding(4)
    values = score({"a": TRUE, "silent": silent}, {"a": None, "silent": None})
    assert values == {
        "category_f1": 0.0,
        "count_accuracy": 0.0,
        "count_off_by_one": 0.0,
        "count_mae": 1.0,  # 2 and 0 objects missed
        "second_category_f1": 0.0,
        "frame_accuracy": 0.0,
        "temporal_iou": 0.0,
        "box_fsla": 0.0,
        "box_map": 0.0,
        "category_precision": 100.0,  # nothing was named
        "category_recall": 0.0,
        "hallucinated": 0.0,
        "yes_bias": pytest.approx(-100 * 2 / 6),
    }


def test_silence_recognised_is_right():
    values = score({"a": sounding(4)}, {"a": sounding(4)})
    assert values["frame_accuracy"] == values["box_fsla"] == values["category_f1"] == 100.0


def test_box_fsla_is_left_out_where_boxes_were_not_asked():
    heard = Sounding(length_s=4, counts=TRUE.counts, seconds=TRUE.seconds, boxes=None)
    values = score({"a": TRUE, "b": TRUE}, {"a": heard, "b": None}, boxes=False)
    assert "box_fsla" not in values and values["frame_accuracy"] == 50.0


def test_seconds_weigh_alike_over_clips_of_different_length():
    short = sounding(1)
    wrong = sounding(1, {"dog": 1}, {"dog": {0}})
    values = score({"a": TRUE, "b": short}, {"a": TRUE, "b": wrong})
    assert values["frame_accuracy"] == pytest.approx(80.0)  # 4 of 5 seconds


def test_answers_to_other_clips_are_refused():
    with pytest.raises(ValueError, match="clips"):
        score({"a": TRUE}, {})


def test_what_masks_say():
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:20, 20:60] = True
    polygon = [[20.0, 10.0, 60.0, 10.0, 60.0, 20.0, 20.0, 20.0]]
    empty = masks.encode(np.zeros((40, 80), dtype=bool))
    tracks = [
        ("dog", [masks.encode(mask), None, empty]),
        ("dog", [None, polygon, None]),
        ("violin", [None, empty, None]),  # a track that never shows a mask is no object
    ]
    found = from_masks(tracks, length_s=3, height_px=40, width_px=80)
    box = (250.0, 250.0, 750.0, 500.0)
    assert found.counts == {"dog": 2}
    assert found.seconds == {"dog": frozenset({0, 1})}
    assert found.boxes == {0: (("dog", box),), 1: (("dog", box),)}


HALF = sounding(counts={"dog": 1}, seconds={"dog": {0, 1, 2, 3}}, boxes={})
CLIPS = {f"clip{k}": TRUE for k in range(6)}


def counted(*answers):
    return scores.scored(CLIPS, [dict(zip(CLIPS, answers, strict=True))], CATEGORIES)


def test_by_category():
    found = scores.by_category(counted(TRUE, TRUE, TRUE, HALF, HALF, None), CATEGORIES)
    assert set(found) == {"dog", "violin"}  # nobody named a cat
    assert found["dog"] == {
        "precision": 100.0, "recall": pytest.approx(500 / 6), "f1": pytest.approx(1000 / 11),
        "clips_true": 6.0, "clips_named": 5.0,
    }  # fmt: skip
    assert (found["violin"]["precision"], found["violin"]["recall"]) == (100.0, 50.0)


def test_intervals_are_of_clips():
    same = scores.intervals(counted(*[TRUE] * 6))
    assert same["category_f1"] == [100.0, 100.0] and same["hallucinated"] == [0.0, 0.0]
    low, high = scores.intervals(counted(TRUE, TRUE, TRUE, None, None, None))["frame_accuracy"]
    assert 0 <= low < 20 and 80 < high <= 100  # a clip is right or wrong as a whole: 50 +- 40, not +- 20
    one = scores.scored({"a": TRUE}, [{"a": TRUE}], CATEGORIES)
    assert scores.intervals(one) == {}


def test_differences_are_paired_and_on_common_clips():
    ours, theirs = counted(TRUE, TRUE, TRUE, HALF, HALF, HALF), counted(*[HALF] * 6)
    gap = scores.differences(ours, theirs)["category_recall"]
    assert gap["difference"] == 25.0 and gap["clips"] == 6 and gap["interval"][0] < 25.0 < gap["interval"][1]
    same = scores.differences(ours, ours)["category_recall"]
    assert same["interval"] == [0.0, 0.0]  # what both find hard is no difference
    fewer = scores.scored({"clip5": TRUE}, [{"clip5": TRUE}], CATEGORIES)
    # the one clip that both have is the one where the other is half right
    only = scores.differences(fewer, counted(*[TRUE] * 5, HALF))["category_recall"]
    assert (only["difference"], only["interval"], only["clips"]) == (50.0, None, 1)


def test_baselines_have_the_scores_that_they_must_have():
    truth = {
        "a": TRUE,
        "b": sounding(counts={"dog": 1}, seconds={"dog": {0, 1, 2, 3}}, boxes={0: (("dog", LEFT),)}),
        "c": sounding(counts={"dog": 1}, seconds={"dog": {0}}, boxes={0: (("dog", LEFT),)}),
        "silent": sounding(),
    }
    named = {name: score(truth, answers) for name, answers in baselines(truth, CATEGORIES).items()}
    assert set(named) == {f"baseline/{name}" for name in ("frequent", "chance", "everything", "silent")}
    everything = named["baseline/everything"]
    assert everything["category_recall"] == 100.0
    assert everything["category_precision"] == pytest.approx(100 * 4 / 12)
    assert everything["yes_bias"] == pytest.approx(100 * 8 / 12) and everything["hallucinated"] == 2.0
    silent = named["baseline/silent"]
    assert (silent["category_recall"], silent["category_precision"]) == (0.0, 100.0)
    assert silent["frame_accuracy"] == pytest.approx(
        100 * 7 / 16
    )  # three seconds of c, all of the silent clip
    frequent = named["baseline/frequent"]  # a dog in every second, on the left
    assert (frequent["category_precision"], frequent["category_recall"]) == (75.0, 75.0)
    assert baselines(truth, CATEGORIES) == baselines(truth, CATEGORIES)
    chance = baselines(truth, CATEGORIES)["baseline/chance"]
    assert all(
        set(a.counts) <= {"dog", "violin"} and set(a.counts) == set(a.seconds) for a in chance.values()
    )
