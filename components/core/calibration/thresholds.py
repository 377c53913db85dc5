"""The score threshold and the presence threshold under which FSLA is highest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

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

    @cache
    def fsla(score: float, presence: float) -> float:
        return mean_fsla(clips, score, presence)

    score, presence = PUBLISHED_SCORE_THRESHOLD, EVEN_PRESENCE_THRESHOLD
    for _ in range(2):
        scores = {one: fsla(one, presence) for one in SCORES}
        score = _best(scores, PUBLISHED_SCORE_THRESHOLD)
        presences = {one: fsla(score, one) for one in PRESENCES}
        presence = _best(presences, EVEN_PRESENCE_THRESHOLD)
    published = fsla(PUBLISHED_SCORE_THRESHOLD, EVEN_PRESENCE_THRESHOLD)
    return ChosenThresholds(score, presence, fsla(score, presence), published)


def _best(by_threshold: Mapping[float, float], published: float) -> float:
    return max(by_threshold, key=lambda one: (by_threshold[one], -abs(one - published)))


def mean_fsla(clips: Sequence[ClipCandidates], score: float, presence: float) -> float:
    """FSLA over all frames, percent, corrected protocol."""
    right = [corrected_frames(clip.under(score, presence)).right for clip in clips]
    return 100 * float(np.concatenate(right).mean()) if right else 0.0
