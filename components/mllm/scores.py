"""The scores of who, when and where; the same functions for language models and AVIS models.

All are percent but `count_mae`. A question without a valid answer (None) is wrong in every part: it finds
none of the true objects and no second of it is right, a silent one neither.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from components.mllm.sounding import Box, Sounding

Item = TypeVar("Item", bound=Hashable)

THRESHOLDS = tuple(step / 100 for step in range(5, 100, 5))
"""Overlaps at which FSLA is averaged: 0.05 : 0.05 : 0.95."""


def score(
    truth: Mapping[str, Sounding], answers: Mapping[str, Sounding | None], *, boxes: bool = True
) -> dict[str, float]:
    """Scores the answers to all clips of `truth`.

    - category_f1: F1 over (clip, category) pairs.
    - count_accuracy, count_off_by_one, count_mae: number of sounding objects in a clip, exact,
      at most one off, and mean absolute error (no valid answer counts as 0 objects in the error).
    - second_category_f1: F1 over (clip, second, category) triples.
    - frame_accuracy: share of seconds whose set of categories is exactly right.
    - temporal_iou: seconds right / seconds named or true, mean over (clip, category) pairs named or true.
    - box_fsla: share of seconds in which boxes and true boxes pair off completely, category by category,
      each pair overlapping above the threshold; mean over the thresholds 0.05 : 0.05 : 0.95.

    Args:
        truth: video name -> what sounds in it.
        answers: video name -> the answer, None when there is no valid one; the same videos.
        boxes: whether boxes were asked for; if not, box_fsla is left out.

    Raises:
        ValueError: the videos differ, or there are none.
    """
    if not truth or set(truth) != set(answers):
        raise ValueError(f"{len(answers)} answers for {len(truth)} clips")
    pairs = [(truth[video], answers[video]) for video in sorted(truth)]
    off = [abs(_total(true) - _total(answer)) for true, answer in pairs]
    valid = [answer is not None for _, answer in pairs]
    values = {
        "category_f1": _f1([(set(true.counts), _categories(answer)) for true, answer in pairs]),
        "count_accuracy": _mean([o == 0 and v for o, v in zip(off, valid, strict=True)]),
        "count_off_by_one": _mean([o <= 1 and v for o, v in zip(off, valid, strict=True)]),
        "count_mae": float(np.mean(off)),
        "second_category_f1": _f1([(_moments(true), _moments(answer)) for true, answer in pairs]),
        "frame_accuracy": _mean([right for true, answer in pairs for right in _frames_right(true, answer)]),
        "temporal_iou": _mean([overlap for true, answer in pairs for overlap in _temporal(true, answer)]),
    }
    if boxes:
        values["box_fsla"] = _mean([s for true, answer in pairs for s in _frames_located(true, answer)])
    return values


def _mean(shares: Sequence[float]) -> float:
    return 100.0 * float(np.mean(shares)) if shares else 100.0


def _f1(sets: Sequence[tuple[set[Item], set[Item]]]) -> float:
    """2 TP / (2 TP + FP + FN) over all sets together; nothing to find and nothing named is 100."""
    right = sum(len(true & named) for true, named in sets)
    total = sum(len(true) + len(named) for true, named in sets)
    return 200.0 * right / total if total else 100.0


def _total(sounding: Sounding | None) -> int:
    return sum(sounding.counts.values()) if sounding else 0


def _categories(sounding: Sounding | None) -> set[str]:
    return set(sounding.counts) if sounding else set()


def _moments(sounding: Sounding | None) -> set[tuple[int, str]]:
    if sounding is None:
        return set()
    return {(second, category) for category, seconds in sounding.seconds.items() for second in seconds}


def _frames_right(true: Sounding, answer: Sounding | None) -> list[bool]:
    if answer is None:
        return [False] * true.length_s
    return [_sounding_at(true, second) == _sounding_at(answer, second) for second in range(true.length_s)]


def _sounding_at(sounding: Sounding, second: int) -> set[str]:
    return {category for category, seconds in sounding.seconds.items() if second in seconds}


def _temporal(true: Sounding, answer: Sounding | None) -> list[float]:
    named = answer.seconds if answer else {}
    nothing: frozenset[int] = frozenset()
    overlaps = []
    for category in sorted(set(true.seconds) | set(named)):
        a, b = true.seconds.get(category, nothing), named.get(category, nothing)
        overlaps.append(len(a & b) / len(a | b))
    return overlaps


def _frames_located(true: Sounding, answer: Sounding | None) -> list[float]:
    """Per second, the share of thresholds at which every box is right."""
    if answer is None or answer.boxes is None or true.boxes is None:
        return [0.0] * true.length_s
    shares = []
    for second in range(true.length_s):
        worst = _worst_overlap(true.boxes.get(second, ()), answer.boxes.get(second, ()))
        shares.append(sum(worst > threshold for threshold in THRESHOLDS) / len(THRESHOLDS))
    return shares


def _worst_overlap(true: Sequence[tuple[str, Box]], named: Sequence[tuple[str, Box]]) -> float:
    """The least overlap of the best pairing within categories; 0 when boxes are left over on either side."""
    if sorted(category for category, _ in true) != sorted(category for category, _ in named):
        return 0.0
    worst = 1.0
    for category in {category for category, _ in true}:
        overlaps = np.array(
            [
                [_overlap(a, b) for kind, b in named if kind == category]
                for kind, a in true
                if kind == category
            ]
        )  # [true, named]
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        worst = min(worst, float(overlaps[rows, columns].min()))
    return worst


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
