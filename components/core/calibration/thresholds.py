"""The score threshold and the presence threshold under which FSLA is highest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.calibration.candidates import ClipCandidates
from components.core.inference.params import EVEN_PRESENCE_THRESHOLD, PUBLISHED_SCORE_THRESHOLD
from components.core.metrics.fsla import corrected_frames

# Steps that a few hundred frames can tell apart. A threshold for each category was tried: chosen on 60 clips
# it gained 2.0 points of FSLA there and lost 2.1 on 40 others.
SCORES = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
PRESENCES = tuple(np.round(np.arange(0.1, 0.91, 0.1), 2).tolist())


@dataclass(frozen=True, slots=True)
class ChosenThresholds:
    """fsla and published_fsla: percent, corrected, under the chosen and the published thresholds."""

    score: float
    presence: float
    fsla: float
    published_fsla: float


def choose_thresholds(clips: Sequence[ClipCandidates]) -> ChosenThresholds:
    """Choose by FSLA: the score first, then the presence, then the score once more.

    Of equally good ones the nearest to the published is taken.
    """
    known: dict[tuple[float, float], float] = {}

    def fsla(score: float, presence: float) -> float:
        if (score, presence) not in known:
            known[score, presence] = mean_fsla(clips, score, presence)
        return known[score, presence]

    score, presence = PUBLISHED_SCORE_THRESHOLD, EVEN_PRESENCE_THRESHOLD
    published = fsla(score, presence)
    for _ in range(2):
        # a bound name of the loop would be looked up when the key is called
        score = max(
            SCORES,
            key=lambda s, p=presence: (fsla(s, p), -abs(s - PUBLISHED_SCORE_THRESHOLD)),  # type: ignore[misc]
        )
        presence = max(
            PRESENCES,
            key=lambda p, s=score: (fsla(s, p), -abs(p - EVEN_PRESENCE_THRESHOLD)),  # type: ignore[misc]
        )
    return ChosenThresholds(score, presence, fsla(score, presence), published)


def mean_fsla(clips: Sequence[ClipCandidates], score: float, presence: float) -> float:
    """FSLA over all frames, percent, corrected protocol."""
    right = [corrected_frames(clip.under(score, presence)).right for clip in clips]
    return 100 * float(np.concatenate(right).mean()) if right else 0.0
