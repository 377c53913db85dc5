"""Why a frame is wrong: one cause for each, the first that holds.

Letters: T frames of one video; C categories, A = 19 thresholds of FSLA.
"""

import numpy as np

from components.core.metrics import fsla
from components.core.metrics.overlaps import Floats, Integers, Overlaps

OVERLAP = 0.5  # of COCO's AP50 and CLEAR-MOT: what counts as the same object
SOURCES = ("0", "1", "2", "3", "4+")  # sounding objects on a frame
CAUSES = (
    "false sound",  # nothing sounds, something is predicted
    "missed sound",  # something sounds, nothing is predicted
    "too many masks",
    "too few masks",
    "wrong category",  # as many masks as there should be, of other categories
    "poor mask",  # all is right but where the masks are
)
_LEVEL = int(np.argmin(np.abs(fsla.THRESHOLDS - OVERLAP)))


def frame_causes(
    video: Overlaps, true_classes: Integers, found_classes: Integers, sources: Integers, categories: int
) -> tuple[Integers, Floats]:
    """Count frames by number of sources and cause, [5, 8], and right frames per threshold, [5, A]."""
    right = fsla.corrected_frames(video).right  # [T, A]
    true_counts = (video.truth.areas > 0).T @ np.eye(categories, dtype=np.int64)[true_classes]  # [T, C]
    found_counts = (video.predicted.areas > 0).T @ np.eye(categories, dtype=np.int64)[found_classes]
    sought, found = true_counts.sum(1), found_counts.sum(1)
    verdict = np.select(
        [
            right[:, _LEVEL],
            sought == 0,
            found == 0,
            found > sought,
            found < sought,
            (true_counts != found_counts).any(axis=1),
        ],
        range(len(CAUSES)),
        len(CAUSES),
    )
    counts = np.zeros((len(SOURCES), 2 + len(CAUSES)), dtype=np.int64)
    np.add.at(counts[:, 0], sources, 1)
    np.add.at(counts, (sources, 1 + verdict), 1)
    per_threshold = np.zeros((len(SOURCES), right.shape[1]))
    np.add.at(per_threshold, sources, right)
    return counts, per_threshold
