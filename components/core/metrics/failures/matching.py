"""Which predicted mask stands for which true one on a frame.

Letters: T frames, G ground-truth tracks, P predicted tracks of one video.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from components.core.metrics.overlaps import Booleans, Floats, Integers

_TIE = 1e-9  # less than any two overlaps differ by


def match_by_overlap(ious: Floats, near: Booleans, same: Booleans) -> Integers:
    """Match masks one to one regardless of category: the greatest sum of overlaps; equal ones go by category.

    Args:
        ious: [T, G, P].
        near: [T, G, P], the pairs that may match.
        same: [G, P], of one category.

    Returns:
        [T, G] predicted track, -1 for none.
    """
    partners = np.full(ious.shape[:2], -1)
    weights = ious + _TIE * same
    for frame in np.flatnonzero(near.any((1, 2))):
        rows, columns = assign(weights[frame], near[frame])
        partners[frame, rows] = columns
    return partners


def assign(weights: Floats, near: Booleans) -> tuple[Integers, Integers]:
    """The pairs among `near` [G, P] that match one to one with the greatest sum of weights."""
    rows, columns = np.nonzero(near)
    if len(set(rows)) == len(rows) and len(set(columns)) == len(columns):
        return rows, columns  # nobody competes
    sought, found = np.unique(rows), np.unique(columns)
    part = np.ix_(sought, found)
    first, second = linear_sum_assignment(np.where(near[part], weights[part], 0.0), maximize=True)
    first, second = sought[first], found[second]
    kept = near[first, second]
    return first[kept], second[kept]
