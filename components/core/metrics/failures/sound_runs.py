"""How long something false sounds, or something true is missed: runs of frames.

Letters: T frames, N tracks of one side.
"""

import numpy as np
from numpy.typing import NDArray

from components.core.metrics.failures.mask_fates import ALONE, SILENT
from components.core.metrics.overlaps import Integers, Side

_RUNS_KEPT = 50  # of a video, the longest; all are counted


def sound_runs(fates: NDArray[np.int8], classes: Integers, side: Side) -> tuple[Integers, Integers]:
    """Find the runs of frames on which a track of one side sounds and the other side's does not.

    Args:
        fates: [T, N] what became of the side's masks (mask_fates).
        classes: [N] places of the tracks' categories.
        side: the tracks.

    Returns:
        [n, 5] first frame, frames, category, track's row in its file, frames on which the other side has no
        mask at all; the longest first, at most 50. And [3] masks, runs, frames of the longest run.
    """
    alone = fates == ALONE
    wrong = alone | (fates == SILENT)
    edges = np.diff(np.pad(wrong, ((1, 1), (0, 0))).astype(np.int8), axis=0)  # [T + 1, N]
    tracks, starts = np.nonzero(edges.T == 1)
    _, ends = np.nonzero(edges.T == -1)
    alone_before = np.pad(np.cumsum(alone, 0), ((1, 0), (0, 0)))  # [T + 1, N]
    alone_within = alone_before[ends, tracks] - alone_before[starts, tracks]
    lengths = ends - starts
    runs = np.column_stack([starts, lengths, classes[tracks], side.rows[tracks], alone_within])
    longest = np.lexsort((starts, -lengths))[:_RUNS_KEPT]
    return runs[longest], np.array([int(wrong.sum()), len(runs), int(lengths.max(initial=0))])
