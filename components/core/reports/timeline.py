"""When what sounds: spans on an axis of frames, and the outline of a sound.

Drawn as HTML by core/reports/macros.html and not by the chart library: one of them follows the sound that is
played and takes clicks, and a quality report has one for each of a hundred findings. One costs 5 KB and 2 ms;
by matplotlib its waveform alone is 7 KB and 80 ms.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FULL_SCALE = 32768  # of 16 bit


@dataclass(frozen=True, slots=True)
class Span:
    """Frames [start, end) in which the same number of objects sounds."""

    start: int
    end: int
    objects: int = 1


def spans(objects: Iterable[int], first: int = 0) -> list[Span]:
    """Return the stretches of frames with the same number of objects, those without any left out.

    Args:
        objects: how many sound on each frame.
        first: number of the first frame.
    """
    found: list[Span] = []
    for frame, count in enumerate(objects, start=first):
        if count and found and found[-1].end == frame and found[-1].objects == count:
            found[-1] = Span(found[-1].start, frame + 1, count)
        elif count:
            found.append(Span(frame, frame + 1, count))
    return found


def outline(samples: NDArray[np.int16], *, columns: int = 200, loudest: int = _FULL_SCALE) -> str:
    """Return a sound's envelope as points of an SVG polygon in a box of 100 x 100.

    Args:
        samples: [N]; fewer than columns are taken for silence.
        columns: peaks from left to right.
        loudest: the sample that fills the box.
    """
    peaks = np.zeros(columns)
    if len(samples) >= columns:
        starts = np.arange(columns) * len(samples) // columns
        peaks = np.maximum.reduceat(np.abs(samples.astype(np.int32)), starts) / max(1, loudest)
    heights = np.maximum(1, 48 * np.sqrt(peaks)).tolist()  # the root: soft sounds show too
    places = ((np.arange(columns) + 0.5) * 100 / columns).tolist()
    upper = [f"{x:g},{50 - height:.1f}" for x, height in zip(places, heights, strict=True)]
    lower = [f"{x:g},{50 + height:.1f}" for x, height in zip(places, heights, strict=True)]
    return " ".join([*upper, *reversed(lower)])
