"""How much labels surprise a model."""

import math
from typing import Any

import numpy as np
import pytest

from components.core.records.annotations import Track, Video
from components.core.records.masks import encode
from components.core.records.results import Result
from components.tools.suspicion import suspect

HEIGHT, WIDTH, FRAMES = 40, 60, 4
VIDEO = Video(1, "clip", [f"clip/{k}.jpg" for k in range(FRAMES)], FRAMES, HEIGHT, WIDTH)
NAMES = {1: "dog", 2: "cello"}


def square(x: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:25, x : x + 20] = True
    return encode(mask)


EMPTY = encode(np.zeros((HEIGHT, WIDTH), bool))
LEFT, RIGHT = [square(2)] * FRAMES, [square(35)] * FRAMES


def losses(tracks: list[Track], candidates: list[Result]) -> dict[int | None, tuple[float, str, int, int]]:
    found = suspect("train", VIDEO, tracks, candidates, NAMES)
    return {one.track: (one.loss, one.message, one.frame, one.last_frame) for one in found}


def test_a_label_that_the_model_shares_has_a_small_loss() -> None:
    loss, _, _, _ = losses([Track(7, 1, 1, LEFT)], [Result(1, 1, 0.9, LEFT)])[7]
    assert loss == pytest.approx(-math.log(0.9), abs=1e-4)


def test_another_category_surprises_and_is_named() -> None:
    candidates = [Result(1, 2, 0.95, LEFT), Result(1, 1, 0.02, LEFT)]
    loss, message, first, last = losses([Track(7, 1, 1, LEFT)], candidates)[7]
    assert loss == pytest.approx(-math.log(0.02), abs=1e-4)
    assert message == "labelled as dog; the model takes it for cello (score 0.95)"
    assert (first, last) == (0, 3)


def test_a_track_that_the_model_does_not_see_has_the_largest_loss() -> None:
    loss, message, _, _ = losses([Track(7, 1, 1, LEFT)], [Result(1, 2, 0.9, RIGHT)])[7]
    assert loss == pytest.approx(1 - math.log(1e-3), abs=1e-4)
    assert message == "the model sees no dog here"


def test_the_frames_on_which_the_two_differ_are_told() -> None:
    seen = [square(2), EMPTY, EMPTY, square(2)]
    loss, message, first, last = losses([Track(7, 1, 1, LEFT)], [Result(1, 1, 0.9, seen)])[7]
    assert loss == pytest.approx(0.5 - math.log(0.9), abs=1e-4)
    assert (first, last) == (1, 2) and "50% overlap" in message


def test_an_object_that_nobody_labelled_is_told_once() -> None:
    candidates = [Result(1, 1, 0.9, LEFT), Result(1, 2, 0.99, RIGHT), Result(1, 1, 0.3, RIGHT)]
    found = suspect("train", VIDEO, [Track(7, 1, 1, LEFT)], candidates, NAMES)
    unlabelled = [one for one in found if one.track is None]
    assert [one.loss for one in unlabelled] == [pytest.approx(1 - math.log(0.01), abs=1e-3)]
    assert "cello that nobody labelled (score 0.99)" in unlabelled[0].message


def test_tracks_without_masks_and_candidates_without_pixels_say_nothing() -> None:
    assert (
        suspect("train", VIDEO, [Track(7, 1, 1, [None] * 4)], [Result(1, 1, 0.9, [EMPTY] * 4)], NAMES) == []
    )
