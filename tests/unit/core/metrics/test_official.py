"""`official` against what the published evaluator printed: on a file, and on cases for each quirk."""

import json
from pathlib import Path

import numpy as np
import pytest

from components.core.metrics.score import numbers, rounded, score, score_files
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.results import Result

DATA = Path(__file__).parents[3] / "data"
OUR_NAMES = {
    "AP_all": "mAP",
    "AP_s": "AP_small",
    "AP_m": "AP_medium",
    "AP_l": "AP_large",
    "AR_all": "AR",
    "FA": "FSLA",
} | {
    f"FA{kind}{theirs}": f"FSLA{kind}{ours}"
    for kind in "nsm"
    for theirs, ours in (("", ""), ("_count", "_right_frames"), ("_all", "_frames"))
}
CASES = json.loads((DATA / "eval_cases" / "cases.json").read_text())


def expected_and_found(expected: dict, values: dict) -> tuple[dict, dict]:
    return expected, {name: values[OUR_NAMES.get(name, name)] for name in expected}


def test_fixture_to_the_printed_digit():
    folder = DATA / "eval_a"
    scores = score_files(folder / "test.json", folder / "results.json", ["official"])
    values = numbers(scores)["official"]
    expected, found = expected_and_found(json.loads((folder / "expected.json").read_text()), values)
    assert len(expected) == 23
    assert found == expected


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_cases(case):
    height, width = case["size"]

    def mask(box):
        if box is None:
            return None
        x, y, w, h = box
        picture = np.zeros((height, width), dtype=bool)
        picture[y : y + h, x : x + w] = True
        return masks.encode(picture)

    annotations = AnnotationSet(
        {number: f"category {number}" for number in range(1, case["categories"] + 1)},
        [
            Video(number, f"v{number}", [f"v{number}/{k}.jpg" for k in range(length)], length, height, width)
            for number, length in enumerate(case["lengths"], start=1)
        ],
        [
            Track(number, video, category, [mask(box) for box in boxes])
            for number, (video, category, boxes) in enumerate(case["truth"], start=1)
        ],
    )
    results = [
        Result(video, category, confidence, [mask(box) for box in boxes])
        for video, category, confidence, boxes in case["predicted"]
    ]
    values = rounded(score(annotations, results, ["official"]).protocols["official"].values)
    expected, found = expected_and_found(case["expected"], values)
    assert found == expected


def test_null_is_scored_as_the_empty_mask_that_crashes_nothing():
    """The published evaluator crashes on null: `official` takes it for the empty mask."""
    case = next(case for case in CASES if case["name"].startswith("e:"))
    height, width = case["size"]
    full = masks.encode(np.ones((height, width), dtype=bool))
    empty = masks.encode(np.zeros((height, width), dtype=bool))
    annotations = AnnotationSet(
        {1: "violin"},
        [Video(1, "v", ["v/0.jpg", "v/1.jpg"], 2, height, width)],
        [Track(1, 1, 1, [full, None])],
    )
    with_null = score(annotations, [Result(1, 1, 0.9, [full, None])]).protocols["official"].values
    with_empty = score(annotations, [Result(1, 1, 0.9, [full, empty])]).protocols["official"].values
    assert with_null == with_empty
