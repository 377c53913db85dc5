"""When each category sounds: the truth and every variant, second by second."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from components.core.records import masks


@dataclass(frozen=True)
class Span:
    """Seconds [start_s, end_s) in which the same number of objects sounds."""

    start_s: int
    end_s: int
    objects: int


def spans(
    tracks: Iterable[Sequence[masks.Segmentation]], *, length_s: int, height_px: int, width_px: int
) -> list[Span]:
    """The sounding stretches of one category.

    Args:
        tracks: per object of the category, one segmentation (or None) for each second.
        length_s: seconds in the clip.
    """
    objects = [0] * length_s
    for segmentations in tracks:
        for second, segmentation in enumerate(segmentations):
            objects[second] += masks.bounding_box(segmentation, height_px, width_px) is not None
    found: list[Span] = []
    for second, count in enumerate(objects):
        if count and found and found[-1].end_s == second and found[-1].objects == count:
            found[-1] = Span(found[-1].start_s, second + 1, count)
        elif count:
            found.append(Span(second, second + 1, count))
    return found
