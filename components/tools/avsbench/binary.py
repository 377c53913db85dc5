"""M_J and M_F of AVSBench's binary tasks, S4 and MS3 (arXiv 2207.05042, section 5.1).

Letters: T frames of a video, H and W their size, N thresholds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BETA_SQUARED = 0.3
# In the published evaluation's single precision 1 - 1e-10 is 1: only pixels that are sure pass the last one.
THRESHOLDS = np.linspace(0, 1 - 1e-10, 255, dtype=np.float32)


@dataclass(frozen=True)
class BinaryScore:
    """One video. Fractions."""

    mask_iou: float
    f_measure: float | None  # None: no frame has an object
    frames: int
    frames_with_object: int


def score_binary(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> BinaryScore:
    """Score a video.

    Args:
        probability: that a pixel sounds, [T, H, W], finite.
        truth: [T, H, W].

    The IoU is that of the pixels above 0.5; where a frame has no object, the share of pixels that are
    rightly left out. The F-measure is the highest point of the curve over the thresholds, after the curves
    of the frames that have an object were averaged.
    """
    chosen = probability > 0.5
    hits = (chosen & truth).sum((1, 2))
    either = (chosen | truth).sum((1, 2))
    left_out = 1 - chosen.mean((1, 2))
    has_object: NDArray[np.bool_] = np.any(truth, axis=(1, 2))
    ious = np.where(has_object, hits / np.maximum(either, 1), left_out)
    curves = [f_curve(p, t) for p, t, any_ in zip(probability, truth, has_object, strict=True) if any_]
    return BinaryScore(
        mask_iou=float(ious.mean()),
        f_measure=float(np.mean(curves, axis=0).max()) if curves else None,
        frames=len(truth),
        frames_with_object=int(has_object.sum()),
    )


def f_curve(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The F-measure of one frame [H, W] with an object at each of THRESHOLDS: [N].

    A pixel is chosen by all thresholds up to its probability, so one histogram of how many those are holds
    the counts of every threshold.
    """
    passed = np.searchsorted(THRESHOLDS, probability.ravel(), side="right")  # thresholds at or below it
    chosen = _at_least(passed)
    hits = _at_least(passed[truth.ravel()])
    precision = hits / np.maximum(chosen, 1)
    recall = hits / truth.sum()
    with np.errstate(invalid="ignore"):
        curve = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    return np.where(hits > 0, curve, 0.0)


def _at_least(passed: NDArray[np.intp]) -> NDArray[np.int64]:
    """How many pixels pass threshold 1, 2, … N."""
    counts = np.bincount(passed, minlength=len(THRESHOLDS) + 1)
    pixels: NDArray[np.int64] = counts[::-1].cumsum()[::-1][1:]
    return pixels
