"""IoU and F per class of AVSBench's semantic task, AVSS (arXiv 2301.13190, section 5).

Letters: T frames of a video, H and W their size, C classes, class 0 the background.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.tools.avsbench.binary import BETA_SQUARED

CLASSES = 71
BATCH_FRAMES = 10  # the published evaluation lengthens each video to so many frames


@dataclass(frozen=True)
class ClassSums:
    """Sums over the frames of a video, each [C]."""

    iou: NDArray[np.float64]
    f_measure: NDArray[np.float64]
    frames: NDArray[np.int64]  # in which the class is true or predicted: what the sums are divided by
    true_frames: NDArray[np.int64]  # in which it is true


def score_classes(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> ClassSums:
    """Compare class ids [T, H, W], frame by frame."""
    iou, f_measure = np.zeros(CLASSES), np.zeros(CLASSES)
    frames, true_frames = np.zeros(CLASSES, np.int64), np.zeros(CLASSES, np.int64)
    for chosen, true in zip(predicted, truth, strict=True):
        hits = _areas(true[chosen == true])
        chosen_area, true_area = _areas(chosen), _areas(true)
        iou += hits / np.maximum(chosen_area + true_area - hits, 1)
        precision = hits / np.maximum(chosen_area, 1)
        recall = hits / np.maximum(true_area, 1)
        down = BETA_SQUARED * precision + recall
        f_measure += (1 + BETA_SQUARED) * precision * recall / np.where(down > 0, down, 1)
        frames += (chosen_area + true_area) > 0
        true_frames += true_area > 0
    return ClassSums(iou, f_measure, frames, true_frames)


def lengthen(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class ids [T, H, W] with background frames after the last one, as the published evaluation has them."""
    missing = max(0, BATCH_FRAMES - len(classes))
    return np.concatenate((classes, np.zeros((missing, *classes.shape[1:]), np.uint8)))


def _areas(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each class."""
    return np.bincount(classes.ravel(), minlength=CLASSES)
