"""Answers that need neither eyes nor ears: a model that scores no better has not looked or listened."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from components.mllm.sounding import BOX_SCALE, Box, Sounding

PREFIX = "baseline/"
_SEED = 1
_WHOLE: Box = (0.0, 0.0, BOX_SCALE, BOX_SCALE)


def baselines(truth: Mapping[str, Sounding], categories: Sequence[str]) -> dict[str, dict[str, Sounding]]:
    """Name -> video name -> answer.

    - frequent: the commonest answer to who, in every second, where these categories are on average.
    - chance: each category by a coin that falls as often as it sounds, each second likewise.
    - everything: one of each category, in every second, all over the picture.
    - silent: nothing.

    The first two know the answers to the test, as no model does: they are the hardest of their kind.
    """
    means = _mean_boxes(truth)
    answers = Counter(tuple(sorted(true.counts.items())) for true in truth.values())
    counts = dict(min(answers.items(), key=lambda item: (-item[1], item[0]))[0])
    return {
        f"{PREFIX}frequent": {v: _always(t.length_s, counts, means) for v, t in truth.items()},
        f"{PREFIX}chance": {v: _chance(v, t.length_s, truth, means) for v, t in truth.items()},
        f"{PREFIX}everything": {
            v: _always(t.length_s, dict.fromkeys(categories, 1), dict.fromkeys(categories, _WHOLE))
            for v, t in truth.items()
        },
        f"{PREFIX}silent": {v: _always(t.length_s, {}, {}) for v, t in truth.items()},
    }


def _always(length_s: int, counts: Mapping[str, int], boxes: Mapping[str, Box]) -> Sounding:
    seconds = range(length_s)
    here = tuple((category, boxes[category]) for category, count in counts.items() for _ in range(count))
    return Sounding(
        length_s=length_s,
        counts=counts,
        seconds=dict.fromkeys(counts, frozenset(seconds)),
        boxes=dict.fromkeys(seconds, here) if here else {},
    )


def _chance(video: str, length_s: int, truth: Mapping[str, Sounding], means: Mapping[str, Box]) -> Sounding:
    """Drawn by the clip's name: the same in every run."""
    generator = np.random.default_rng((_SEED, zlib.crc32(video.encode())))
    seconds: dict[str, frozenset[int]] = {}
    for category in sorted(means):
        clips = [true for true in truth.values() if category in true.seconds]
        present = generator.random() < len(clips) / len(truth)
        share = sum(len(t.seconds[category]) for t in clips) / sum(t.length_s for t in clips)
        drawn = frozenset(np.flatnonzero(generator.random(length_s) < share).tolist())
        if present and drawn:
            seconds[category] = drawn
    boxes = {
        second: tuple((category, means[category]) for category, when in seconds.items() if second in when)
        for second in sorted(frozenset().union(*seconds.values()))
    }
    return Sounding(length_s, dict.fromkeys(seconds, 1), seconds, boxes)


def _mean_boxes(truth: Mapping[str, Sounding]) -> dict[str, Box]:
    boxes: dict[str, list[Box]] = defaultdict(list)
    for true in truth.values():
        for named in (true.boxes or {}).values():
            for category, box in named:
                boxes[category].append(box)
    return {category: _mean(found) for category, found in boxes.items()}


def _mean(boxes: Sequence[Box]) -> Box:
    x0, y0, x1, y1 = np.mean(boxes, axis=0).tolist()
    return (x0, y0, x1, y1)
