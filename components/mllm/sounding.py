"""Who sounds in a clip, when and where: one form for the truth, the AVIS models and the language models."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from components.core.records import masks

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in thousandths of the picture's width and height, origin at the upper left."""

BOX_SCALE = 1000.0


@dataclass(frozen=True)
class Sounding:
    """What sounds in one clip."""

    length_s: int
    """Seconds in the clip = frames at one frame per second."""
    counts: Mapping[str, int]
    """Who: category -> number of its objects that sound at some time."""
    seconds: Mapping[str, frozenset[int]]
    """When: category -> the seconds in which it sounds."""
    boxes: Mapping[int, tuple[tuple[str, Box], ...]] | None
    """Where: second -> a category and a box for each sounding object; None where it was not asked."""


def from_masks(
    tracks: Iterable[tuple[str, Sequence[masks.Segmentation]]],
    *,
    length_s: int,
    height_px: int,
    width_px: int,
) -> Sounding:
    """What a set of mask tracks says.

    Args:
        tracks: category and one segmentation per frame (polygons, RLE or None) for each object.
    """
    counts: Counter[str] = Counter()
    seconds: dict[str, set[int]] = defaultdict(set)
    boxes: dict[int, list[tuple[str, Box]]] = defaultdict(list)
    for category, segmentations in tracks:
        found = boxes_of(segmentations, height_px=height_px, width_px=width_px)
        for second, box in found.items():
            seconds[category].add(second)
            boxes[second].append((category, box))
        counts[category] += bool(found)
    return Sounding(
        length_s=length_s,
        counts={category: count for category, count in sorted(counts.items()) if count},
        seconds={category: frozenset(values) for category, values in sorted(seconds.items())},
        boxes={second: tuple(values) for second, values in sorted(boxes.items())},
    )


def boxes_of(segmentations: Sequence[masks.Segmentation], *, height_px: int, width_px: int) -> dict[int, Box]:
    """The box of one object in each second in which it sounds."""
    found = ((second, _box(one, height_px, width_px)) for second, one in enumerate(segmentations))
    return {second: box for second, box in found if box is not None}


def _box(segmentation: masks.Segmentation, height_px: int, width_px: int) -> Box | None:
    box = masks.bounding_box(segmentation, height_px, width_px)
    if box is None:
        return None
    x, y, width, height = box
    return (
        x / width_px * BOX_SCALE,
        y / height_px * BOX_SCALE,
        (x + width) / width_px * BOX_SCALE,
        (y + height) / height_px * BOX_SCALE,
    )
