"""Where another track takes an object over.

Letters: T frames, G ground-truth tracks, P predicted tracks of one video.
"""

import numpy as np

from components.core.metrics.failures.matching import assign
from components.core.metrics.overlaps import Booleans, Floats, Integers

_KEEP = 1000.0  # a pair of the previous frame goes before any sum of overlaps


def identity_switches(ious: Floats, near: Booleans, both: Booleans) -> Integers:
    """Find the identity switches of CLEAR-MOT (Bernardin and Stiefelhagen, 2008), as TrackEval counts them.

    A pair of the previous frame stays a pair while it may; the rest is matched with the greatest sum of
    overlaps. A switch is a frame on which an object's track is another than the last that it was matched
    with, however long ago: falling silent in between excuses nothing.

    Args:
        ious: [T, G, P].
        near: [T, G, P], the pairs that may match: of one category and overlapping enough.
        both: [T, G], where both sides have masks of the object's category: only such a frame is a "previous"
            one.

    Returns:
        [n, 4] frame, ground-truth track, predicted track before and now.
    """
    last = np.full(ious.shape[1], -1)  # the latest track of each object
    previous = np.full(ious.shape[1], -1)  # its track on the previous frame
    switches = []
    for frame, frame_near in enumerate(near):
        now = np.full(ious.shape[1], -1)
        if frame_near.any():
            weights = ious[frame].copy()
            held = np.flatnonzero(previous >= 0)
            weights[held, previous[held]] += _KEEP
            rows, columns = assign(weights, frame_near)
            now[rows] = columns
            for row in np.flatnonzero((now >= 0) & (last >= 0) & (now != last)):
                switches.append((frame, int(row), int(last[row]), int(now[row])))
            last = np.where(now >= 0, now, last)
        previous = np.where(both[frame], now, previous)
    return np.array(switches, dtype=np.int64).reshape(-1, 4)
