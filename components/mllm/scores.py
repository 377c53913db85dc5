"""The scores of who, when and where; the same functions for language models, AVIS models and baselines.

A question without a valid answer (None) is wrong in every part: it finds none of the true objects and no
second of it is right, a silent one neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from components.core.metrics.bootstrap import interval_around, video_draws
from components.mllm.choices import KINDS, Choice
from components.mllm.sounding import Box, Sounding

Floats = NDArray[np.float64]

THRESHOLDS = tuple(step / 100 for step in range(5, 100, 5))
"""Overlaps at which FSLA is averaged: 0.05 : 0.05 : 0.95."""
MAP_THRESHOLDS = tuple(step / 100 for step in range(50, 100, 5))
"""Overlaps at which box mAP is averaged: 0.5 : 0.05 : 0.95."""

_SUMS = (
    *("clips", "count_exact", "count_near", "count_off", "moments_right", "moments_named", "moments_true"),
    *("seconds", "seconds_right", "overlap", "overlap_pairs", "located", "hallucinated"),
)
_RESAMPLES = 2000
_SEED = 1


@dataclass(frozen=True)
class Tally:
    """What each clip adds to the sums that the scores are made of; V clips, C categories, T thresholds."""

    sums: Floats
    """[V, len(_SUMS)]"""
    categories: Floats
    """[V, C, 3]: (clip, category) pairs that are right, named and true."""
    boxes: Floats | None
    """[V, C, T, 3]: boxes that are right, named and true; None where boxes were not asked for."""
    choices: Floats
    """[V, kinds of questions with a few answers, 3]: how many were asked, right, and right by chance."""


@dataclass(frozen=True)
class Scored:
    """One source's answers, counted: its score is the mean over the wordings of the question."""

    clips: Sequence[str]
    tallies: Sequence[Tally]
    """One a wording, about the same clips."""

    def values(self, weights: Floats) -> dict[str, Floats]:
        """Each score for so many weightings of the clips, [N, V] -> [N]."""
        every = [_values(tally, weights) for tally in self.tallies]
        return {name: np.mean([values[name] for values in every], axis=0) for name in every[0]}

    def of(self, clips: Sequence[str]) -> "Scored":
        """The same for some of its clips."""
        rows = [list(self.clips).index(clip) for clip in clips]
        return Scored(
            clips,
            [
                Tally(
                    t.sums[rows],
                    t.categories[rows],
                    None if t.boxes is None else t.boxes[rows],
                    t.choices[rows],
                )
                for t in self.tallies
            ],
        )


def scored(
    truth: Mapping[str, Sounding],
    wordings: Sequence[Mapping[str, Sounding | None]],
    categories: Sequence[str],
    *,
    boxes: bool = True,
    chosen: Sequence[Mapping[Choice, str | None]] | None = None,
) -> Scored:
    """Counts the answers to all clips of `truth`.

    Args:
        truth: video name -> what sounds in it.
        wordings: for each wording, video name -> the answer, None without a valid one; the same videos.
        categories: all that may be named.
        boxes: whether boxes were asked for.
        chosen: for each wording, what was answered to the questions with a few answers, None without a
            valid answer.

    Raises:
        ValueError: the videos differ, or there are none.
    """
    for answers in wordings:
        if not truth or set(truth) != set(answers):
            raise ValueError(f"{len(answers)} answers for {len(truth)} clips")
    clips = sorted(truth)
    return Scored(
        clips,
        [
            _tally([(truth[v], answers[v]) for v in clips], categories, boxes, _choices(clips, answered))
            for answers, answered in zip(wordings, chosen or [{}] * len(wordings), strict=True)
        ],
    )


def score(found: Scored) -> dict[str, float]:
    """The scores, percent; count_mae and hallucinated are numbers a clip, yes_bias is points.

    - category_f1, category_precision, category_recall: over (clip, category) pairs.
    - count_accuracy, count_off_by_one, count_mae: number of sounding objects in a clip, exact,
      at most one off, and mean absolute error (no valid answer counts as 0 objects in the error).
    - second_category_f1: F1 over (clip, second, category) triples.
    - frame_accuracy: share of seconds whose set of categories is exactly right.
    - temporal_iou: seconds right / seconds named or true, mean over (clip, category) pairs named or true.
    - box_fsla: share of seconds in which boxes and true boxes pair off completely, category by category,
      each pair overlapping above the threshold; mean over the thresholds 0.05 : 0.05 : 0.95.
    - box_map: mean over categories that are in the truth and overlaps 0.5 : 0.05 : 0.95 of precision x recall
      over the boxes of all seconds: the average precision of boxes that have no score to be ranked by.
    - hallucinated: categories named that do not sound in the clip.
    - yes_bias: share of (clip, category) pairs that are named minus the share that is true.
    - refer_accuracy, order_accuracy: share of the questions with a few answers that are answered right;
      refer_chance, order_chance: what guessing scores. Not there where nothing was asked.

    With several wordings, the mean, and `<score>_spread`: how far they lie apart.
    """
    all_clips = np.ones((1, len(found.clips)))
    values = {name: float(value[0]) for name, value in found.values(all_clips).items()}
    if len(found.tallies) == 1:
        return values
    apart = [_values(tally, all_clips) for tally in found.tallies]
    return values | {f"{name}_spread": float(np.ptp([one[name] for one in apart])) for name in values}


def intervals(found: Scored) -> dict[str, list[float]]:
    """The 95 % interval of each score over clips; none for a single clip."""
    return _bounds(score(found), found.values(_draws(found)) if len(found.clips) > 1 else {})


def differences(found: Scored, other: Scored) -> dict[str, dict[str, Any]]:
    """How much better than another, on the clips that both have, by score, with the paired interval."""
    clips = [clip for clip in found.clips if clip in set(other.clips)]
    if not clips:
        return {}
    one, two = found.of(clips), other.of(clips)
    mine, others = score(one), score(two)
    gaps = {name: mine[name] - others[name] for name in mine if name in others}
    draws: dict[str, Floats] = {}
    if len(clips) > 1:
        a, b = one.values(_draws(one)), two.values(_draws(two))
        draws = {name: a[name] - b[name] for name in gaps if name in a and name in b}
    bounds = _bounds(gaps, draws)
    return {
        name: {"difference": round(gap, 4), "interval": bounds.get(name), "clips": len(clips)}
        for name, gap in gaps.items()
        if not name.endswith(("_spread", "_chance"))
    }


def by_category(found: Scored, categories: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each category that is true or named in some clip, percent."""
    sums = np.mean([tally.categories.sum(axis=0) for tally in found.tallies], axis=0)  # [C, 3]
    return {
        category: {
            "precision": float(_share(right, named)),
            "recall": float(_share(right, true)),
            "f1": float(_share(2 * right, named + true)),
            "clips_true": float(true),
            "clips_named": float(named),
        }
        for category, (right, named, true) in zip(categories, sums, strict=True)
        if named or true
    }


def _draws(found: Scored) -> Floats:
    return video_draws(len(found.clips), resamples=_RESAMPLES, seed=_SEED)


def _bounds(values: Mapping[str, float], draws: Mapping[str, Floats]) -> dict[str, list[float]]:
    found = ((name, interval_around(values[name], drawn)) for name, drawn in draws.items())
    return {name: [round(bound, 4) for bound in bounds] for name, bounds in found if bounds}


def _share(part: Any, whole: Any) -> Floats:
    """Percent; nothing to find and nothing found is 100."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    shares: Floats = np.divide(part, whole, out=np.ones_like(whole), where=whole > 0)
    return 100.0 * shares


def _values(tally: Tally, weights: Floats) -> dict[str, Floats]:
    s = dict(zip(_SUMS, (weights @ tally.sums).T, strict=True))
    right, named, true = (weights @ tally.categories.sum(axis=1)).T
    pairs = s["clips"] * tally.categories.shape[1]
    values = {
        "category_f1": _share(2 * right, named + true),
        "category_precision": _share(right, named),
        "category_recall": _share(right, true),
        "count_accuracy": _share(s["count_exact"], s["clips"]),
        "count_off_by_one": _share(s["count_near"], s["clips"]),
        "count_mae": s["count_off"] / s["clips"],
        "second_category_f1": _share(2 * s["moments_right"], s["moments_named"] + s["moments_true"]),
        "frame_accuracy": _share(s["seconds_right"], s["seconds"]),
        "temporal_iou": _share(s["overlap"], s["overlap_pairs"]),
        "hallucinated": s["hallucinated"] / s["clips"],
        "yes_bias": 100.0 * (named - true) / pairs,
    }
    asked = np.tensordot(weights, tally.choices, axes=1)  # [N, kinds, 3]
    for place, kind in enumerate(KINDS):
        total, right, by_chance = np.moveaxis(asked[:, place], -1, 0)
        if tally.choices[:, place, 0].any():  # a draw of clips without such a question has no score
            values[f"{kind}_accuracy"] = np.where(total > 0, _share(right, total), np.nan)
            values[f"{kind}_chance"] = np.where(total > 0, _share(by_chance, total), np.nan)
    if tally.boxes is not None:
        values["box_fsla"] = _share(s["located"], s["seconds"])
        values["box_map"] = _box_map(np.tensordot(weights, tally.boxes, axes=1))
    return values


def _box_map(boxes: Floats) -> Floats:
    """[N, C, T, 3] -> [N]."""
    right, named, true = np.moveaxis(boxes, -1, 0)
    precision, recall = _share(right, named) / 100, _share(right, true)
    occurs = true[..., 0] > 0  # [N, C]
    of_category = (precision * recall).mean(axis=-1)
    found = (of_category * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
    nothing = named.sum(axis=(-1, -2)) == 0
    return np.where(occurs.any(axis=-1), found, np.where(nothing, 100.0, 0.0))


def _choices(clips: Sequence[str], answered: Mapping[Choice, str | None]) -> Floats:
    sums = np.zeros((len(clips), len(KINDS), 3))
    places = {clip: place for place, clip in enumerate(clips)}
    for choice, said in answered.items():
        if choice.video in places:
            row = 1.0, float(said == choice.right), 1 / len(choice.options)
            sums[places[choice.video], KINDS.index(choice.kind)] += row
    return sums


def _tally(
    pairs: Sequence[tuple[Sounding, Sounding | None]],
    categories: Sequence[str],
    boxes: bool,
    choices: Floats,
) -> Tally:
    return Tally(
        choices=choices,
        sums=np.array([_sums(true, answer, boxes) for true, answer in pairs], np.float64),
        categories=np.array(
            [
                [(c in true.counts and c in named, c in named, c in true.counts) for c in categories]
                for true, answer in pairs
                for named in [answer.counts if answer else {}]
            ],
            np.float64,
        ).reshape(len(pairs), len(categories), 3),
        boxes=np.array(
            [[_boxes_right(true, answer, c) for c in categories] for true, answer in pairs], np.float64
        ).reshape(len(pairs), len(categories), len(MAP_THRESHOLDS), 3)
        if boxes
        else None,
    )


def _sums(true: Sounding, answer: Sounding | None, boxes: bool) -> list[float]:
    """As _SUMS names them."""
    named = answer or Sounding(length_s=true.length_s, counts={}, seconds={}, boxes={})
    off = abs(sum(true.counts.values()) - sum(named.counts.values()))
    moments, said = _moments(true), _moments(named)
    right = [
        answer is not None and _sounding_at(true, second) == _sounding_at(named, second)
        for second in range(true.length_s)
    ]
    overlaps = [
        len(a & b) / len(a | b)
        for category in set(true.seconds) | set(named.seconds)
        for a, b in [(true.seconds.get(category, frozenset()), named.seconds.get(category, frozenset()))]
    ]
    return [
        1,
        answer is not None and off == 0,
        answer is not None and off <= 1,
        off,
        len(moments & said),
        len(said),
        len(moments),
        true.length_s,
        sum(right),
        sum(overlaps),
        len(overlaps),
        sum(_located(true, answer)) if boxes else 0,
        len(set(named.counts) - set(true.counts)),
    ]


def _moments(sounding: Sounding) -> set[tuple[int, str]]:
    return {(second, category) for category, seconds in sounding.seconds.items() for second in seconds}


def _sounding_at(sounding: Sounding, second: int) -> set[str]:
    return {category for category, seconds in sounding.seconds.items() if second in seconds}


def _boxes_right(true: Sounding, answer: Sounding | None, category: str) -> Floats:
    """[T, 3]: boxes of a clip that are right, named and true, paired within each second."""
    sums = np.zeros((len(MAP_THRESHOLDS), 3))
    said = (answer.boxes if answer else None) or {}
    for second in range(true.length_s):
        overlaps = _overlaps((true.boxes or {}).get(second, ()), said.get(second, ()), category)
        sums[:, 1:] += overlaps.shape[1], overlaps.shape[0]
        for place, threshold in enumerate(MAP_THRESHOLDS):
            fits = overlaps >= threshold
            rows, columns = linear_sum_assignment(fits, maximize=True)
            sums[place, 0] += fits[rows, columns].sum()
    return sums


def _located(true: Sounding, answer: Sounding | None) -> list[float]:
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
        overlaps = _overlaps(true, named, category)
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        worst = min(worst, float(overlaps[rows, columns].min()))
    return worst


def _overlaps(true: Sequence[tuple[str, Box]], named: Sequence[tuple[str, Box]], category: str) -> Floats:
    """[true, named] of one category."""
    found = [b for kind, b in named if kind == category]
    rows = [[overlap(a, b) for b in found] for kind, a in true if kind == category]
    return np.array(rows, np.float64).reshape(len(rows), len(found))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
