"""Questions with one right answer among a few: which of two alike sounds (refer), what sounded first (order).

The labels know only what sounds, so both are asked about objects that sound at some time in the clip.
"""

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from components.mllm.sounding import BOX_SCALE, Box, Sounding

Kind = Literal["refer", "order"]
KINDS: tuple[Kind, ...] = ("refer", "order")
_APART = BOX_SCALE / 10  # nearer to each other, left and right are a matter of taste
_SIDES = ("left", "right")

Heard = tuple[str, Mapping[int, Box]]
"""One object: its category, and its box in each second in which it sounds."""


@dataclass(frozen=True)
class Option:
    """One of the answers that may be given."""

    name: str
    category: str
    centre: float | None
    """Of its boxes, from the left, in thousandths; None where no other object has its category."""


@dataclass(frozen=True)
class Choice:
    """One such question about one clip."""

    kind: Kind
    video: str
    options: tuple[Option, ...]
    right: str
    """The name of the right option."""
    second: int | None = None
    """The one that `refer` asks about."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(option.name for option in self.options)


def choices_of(video: str, heard: Sequence[Heard]) -> list[Choice]:
    """At most one question of each kind; none where the labels leave its answer open.

    - refer: there are two objects of a category, one clearly further left, and seconds in which only one of
      them sounds; it asks about the middle one of these.
    - order: two or more things sound, one of them before all others.
    """
    by_category: dict[str, list[Mapping[int, Box]]] = defaultdict(list)
    for category, boxes in heard:
        if boxes:
            by_category[category].append(boxes)
    pairs = {category: _left_and_right(objects) for category, objects in sorted(by_category.items())}
    return [*_refer(video, pairs)[:1], *_order(video, by_category, pairs)]


Pair = tuple[Mapping[int, Box], Mapping[int, Box]]


def _left_and_right(objects: Sequence[Mapping[int, Box]]) -> Pair | None:
    """Two objects from left to right; None where there are not two, or they do not keep their sides."""
    if len(objects) != 2:
        return None
    left, right = sorted(objects, key=_mean_centre)
    swapped = any(_centre(left[second]) >= _centre(right[second]) for second in set(left) & set(right))
    return None if swapped or _mean_centre(right) - _mean_centre(left) < _APART else (left, right)


def _refer(video: str, pairs: Mapping[str, Pair | None]) -> list[Choice]:
    found = []
    for category, pair in pairs.items():
        alone = sorted(set(pair[0]) ^ set(pair[1])) if pair else []
        if pair and alone:
            second = alone[len(alone) // 2]
            options = tuple(
                Option(side, category, _mean_centre(boxes)) for side, boxes in zip(_SIDES, pair, strict=True)
            )
            found.append(Choice("refer", video, options, _SIDES[second in pair[1]], second))
    return found


def _order(
    video: str, by_category: Mapping[str, Sequence[Mapping[int, Box]]], pairs: Mapping[str, Pair | None]
) -> list[Choice]:
    firsts: dict[Option, int] = {}
    for category in sorted(by_category):
        if pair := pairs[category]:
            for side, boxes in zip(_SIDES, pair, strict=True):
                firsts[Option(f"{side} {category}", category, _mean_centre(boxes))] = min(boxes)
        else:  # one object, or several that have no names of their own
            firsts[Option(category, category, None)] = min(map(min, by_category[category]))
    first = _earliest({option.name: second for option, second in firsts.items()})
    if first is None or len(firsts) < 2:
        return []
    return [Choice("order", video, tuple(firsts), first)]


def chosen(choice: Choice, answer: Sounding) -> str | None:
    """What boxes say to such a question: the one that alone sounds, or that sounds before the others.

    Where two objects share a category a box counts for the nearer one. None where they do not tell.
    """
    firsts: dict[str, int] = {}
    for second, named in sorted((answer.boxes or {}).items()):
        for category, box in named if choice.second in (None, second) else ():
            near = [option for option in choice.options if option.category == category]
            if near:
                option = min(near, key=lambda one: abs((one.centre or 0) - _centre(box)))
                firsts.setdefault(option.name, second)
    return _earliest(firsts)


def guesses(choices: Sequence[Choice]) -> dict[str, dict[Choice, str | None]]:
    """What the baselines answer, by their names: the place that is right most often, one drawn by the clip's
    name, nothing."""
    right: dict[Kind, Counter[int]] = defaultdict(Counter)
    for choice in choices:
        right[choice.kind][choice.names.index(choice.right)] += 1
    often = {kind: min(counts, key=lambda place: (-counts[place], place)) for kind, counts in right.items()}
    nothing: dict[Choice, str | None] = dict.fromkeys(choices)
    return {
        "frequent": {c: c.names[often[c.kind]] if often[c.kind] < len(c.names) else None for c in choices},
        "chance": {c: c.names[zlib.crc32(f"{c.kind} {c.video}".encode()) % len(c.names)] for c in choices},
        "everything": nothing,
        "silent": nothing,
    }


def _earliest(firsts: Mapping[str, int]) -> str | None:
    """The only one with the least second."""
    names = [name for name, second in firsts.items() if second == min(firsts.values())]
    return names[0] if len(names) == 1 else None


def _mean_centre(boxes: Mapping[int, Box]) -> float:
    return fmean(map(_centre, boxes.values()))


def _centre(box: Box) -> float:
    return (box[0] + box[2]) / 2
