"""Do scores mean what they say? And is silence known as silence?

A track is right if a track of its category overlaps it by half or more, each true track counting once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.metrics.overlaps import Booleans, Overlaps

BINS = 10
LEAST_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Bin:
    """Tracks with scores from `low` to `low` + 1 / BINS: how many, their mean score, the right share."""

    low: float
    tracks: int
    mean_score: float
    right_share: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """bins: those with tracks. expected_error: expected calibration error (Guo et al. 2017), 0 to 1."""

    bins: list[Bin]
    expected_error: float


def reliability(clips: Sequence[Overlaps]) -> Reliability:
    """Compare the scores of tracks with how often they are right."""
    scores = np.concatenate([clip.predicted.scores for clip in clips] or [np.zeros(0)])
    right = np.concatenate([_right(clip) for clip in clips] or [np.zeros(0, bool)])
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = [
        Bin(
            place / BINS,
            int((places == place).sum()),
            float(scores[places == place].mean()),
            float(right[places == place].mean()),
        )
        for place in range(BINS)
        if (places == place).any()
    ]
    error = sum(one.tracks * abs(one.mean_score - one.right_share) for one in bins)
    return Reliability(bins, error / max(1, len(scores)))


def _right(clip: Overlaps) -> Booleans:
    """Which predicted tracks are right, [P]; the surer ones choose first."""
    ious = clip.track_ious()  # [G, P]
    same = clip.truth.categories[:, None] == clip.predicted.categories[None, :]
    free = np.ones(len(ious), bool)
    right = np.zeros(ious.shape[1], bool)
    for column in np.argsort(-clip.predicted.scores, kind="stable"):
        fits = np.flatnonzero(free & same[:, column] & (ious[:, column] >= LEAST_OVERLAP))
        if len(fits):
            free[fits[ious[fits, column].argmax()]] = False
            right[column] = True
    return right


@dataclass(frozen=True, slots=True)
class Silence:
    """Frames in which nothing sounds: how many there are, and how many were said to be; None: of none."""

    true_frames: int
    predicted_frames: int
    precision: float | None
    recall: float | None


def silence(clips: Sequence[Overlaps]) -> Silence:
    """Precision and recall of "nothing sounds", over all frames."""
    true = np.concatenate([~(clip.truth.areas > 0).any(0) for clip in clips] or [np.zeros(0, bool)])
    said = np.concatenate([~(clip.predicted.areas > 0).any(0) for clip in clips] or [np.zeros(0, bool)])
    both, truly, predicted = int((true & said).sum()), int(true.sum()), int(said.sum())
    return Silence(truly, predicted, both / predicted if predicted else None, both / truly if truly else None)
