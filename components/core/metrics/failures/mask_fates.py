"""What became of each mask of the ground truth, and of each predicted one: one fate, the first that holds.

Letters: T frames, G ground-truth tracks, P predicted tracks of one video, N of either.
"""

import numpy as np
from numpy.typing import NDArray

from components.core.metrics.overlaps import Booleans, Floats, Integers

TRUTH_FATES = (
    "right",  # a mask of its category overlaps it
    "wrong category",  # the mask that overlaps it is of another category
    "shared",  # the mask that overlaps it overlaps another object more
    "nothing predicted",  # there is no predicted mask on the frame
    "track silent",  # the track that follows it elsewhere has no mask here
    "poor mask",  # a mask overlaps it, too little
    "not seen",
)
PREDICTED_FATES = (
    "right",
    "wrong category",
    "duplicate",  # the object that it overlaps has a better mask
    "nothing sounds",  # the ground truth has no mask on the frame
    "object silent",  # the object that its track follows elsewhere is silent here
    "poor mask",
    "elsewhere",
)
RIGHT, CONFUSED, SECOND, ALONE, SILENT, POOR, REST = range(7)
_POOR_OVERLAP = 0.1  # below it is background, as in TIDE (Bolya et al., ECCV 2020)


def mask_fates(
    ious: Floats,
    near: Booleans,
    partners: Integers,
    same: Booleans,
    true_present: Booleans,
    found_present: Booleans,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Say what became of each mask, [T, G] and [T, P]; -1 where there is none."""
    matched = np.zeros_like(near)
    frames, rows = np.nonzero(partners >= 0)
    matched[frames, rows, partners[frames, rows]] = True
    # [G, P]: the frames on which two tracks overlap; ties go by how much, which is less than a frame
    closeness = np.where(near.any(0), near.sum(0) + ious.sum(0) / (len(ious) + 1), 0.0)
    followers, followed = _best(closeness), _best(closeness.T)  # [G] → p and [P] → g
    return (
        _side_fates(ious, near, matched, same, true_present, found_present, followers),
        _side_fates(
            ious.transpose(0, 2, 1),
            near.transpose(0, 2, 1),
            matched.transpose(0, 2, 1),
            same.T,
            found_present,
            true_present,
            followed,
        ),
    )


def _side_fates(
    ious: Floats,  # [T, N, M]: N of this side, M of the other
    near: Booleans,
    matched: Booleans,
    same: Booleans,  # [N, M]
    present: Booleans,  # [T, N]
    other_present: Booleans,  # [T, M]
    partners: Integers,  # [N] → m, -1 without
) -> NDArray[np.int8]:
    nobody = ~other_present.any(axis=1, keepdims=True)  # [T, 1]
    conditions = [
        (matched & same).any(2),
        matched.any(2),
        near.any(2),
        np.broadcast_to(nobody, present.shape),
        _silent(partners, other_present),
        (ious >= _POOR_OVERLAP).any(2),
    ]
    fates = np.select(conditions, range(len(conditions)), REST).astype(np.int8)
    fates[~present] = -1
    return fates


def _silent(partners: Integers, other_present: Booleans) -> Booleans:
    """Where the other side's track that belongs to a track has no mask, [T, N]."""
    if not other_present.shape[1]:
        return np.zeros((len(other_present), len(partners)), dtype=bool)
    there: Booleans = other_present[:, partners]
    return ~there & (partners >= 0)


def _best(closeness: Floats) -> Integers:
    """The other side's closest track for each, [N, M] → [N]; -1 for one that never overlaps enough."""
    if not closeness.size:
        return np.full(len(closeness), -1)
    best: Integers = np.where(closeness.max(1) > 0, closeness.argmax(1), -1)
    return best
