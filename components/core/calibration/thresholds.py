"""The thresholds of score, presence and hearing under which FSLA is highest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from components.core.calibration.candidates import ClipCandidates
from components.core.inference.params import (
    EVEN_PRESENCE_THRESHOLD,
    NO_HEARING_THRESHOLD,
    PUBLISHED_SCORE_THRESHOLD,
)
from components.core.metrics.fsla import corrected_frames
from components.core.metrics.overlaps import Floats

# Steps that a few hundred frames can tell apart. A threshold for each category was tried: chosen on 60 clips
# it gained 2.0 points of FSLA there and lost 2.1 on 40 others.
SCORES = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
PRESENCES = tuple(np.round(np.arange(0.1, 0.91, 0.1), 2).tolist())
# Of what the sound alone says, only whether it is asked: between 0.02 and 0.1 the choice hardly matters
# (benchmarks/results/hearing-threshold-2026-11-30-cpu.md).
HEARINGS = (NO_HEARING_THRESHOLD, 0.05)
_NEAR = 2  # steps of the score that are 0.1


@dataclass(frozen=True, slots=True)
class ChosenThresholds:
    """fsla and published_fsla: percent, corrected, under the chosen and the published thresholds."""

    score: float
    presence: float
    hearing: float
    fsla: float
    published_fsla: float


def choose_thresholds(clips: Sequence[ClipCandidates]) -> ChosenThresholds:
    """Choose by FSLA, each pair of score and presence judged by the mean over those within 0.1 of it.

    Of equally good ones the nearest to the published is taken.
    """
    hearings = HEARINGS if any(clip.are_heard for clip in clips) else HEARINGS[:1]
    # [hearings, scores, presences]
    found = np.stack(
        [
            np.stack([_by_score(clips, presence, hearing) for presence in PRESENCES], axis=1)
            for hearing in hearings
        ]
    )
    nearness = -(
        _distance(SCORES, PUBLISHED_SCORE_THRESHOLD)[:, None] + _distance(PRESENCES, EVEN_PRESENCE_THRESHOLD)
    )
    # one place alone may be high by chance, most of all beside the scores at which true tracks begin to fall
    padded = np.pad(found, ((0, 0), (_NEAR, _NEAR), (1, 1)), mode="edge")
    around = np.round(sliding_window_view(padded, (2 * _NEAR + 1, 3), (1, 2)).mean((-1, -2)), 6)
    best = max(np.ndindex(found.shape), key=lambda place: (around[place], -place[0], nearness[place[1:]]))
    published = mean_fsla(clips, PUBLISHED_SCORE_THRESHOLD, EVEN_PRESENCE_THRESHOLD, NO_HEARING_THRESHOLD)
    hearing, score, presence = hearings[best[0]], SCORES[best[1]], PRESENCES[best[2]]
    return ChosenThresholds(score, presence, hearing, float(found[best]), published)


def _distance(thresholds: Sequence[float], published: float) -> Floats:
    """How many steps lie between."""
    return np.abs(np.array(thresholds) - published) / (thresholds[1] - thresholds[0])


def mean_fsla(clips: Sequence[ClipCandidates], score: float, presence: float, hearing: float) -> float:
    """FSLA over all frames, percent, corrected protocol."""
    right = [corrected_frames(clip.under(score, presence, hearing)).right for clip in clips]
    return 100 * float(np.concatenate(right).mean()) if right else 0.0


def _by_score(clips: Sequence[ClipCandidates], presence: float, hearing: float) -> Floats:
    """`mean_fsla` under each of SCORES. Thresholds that keep the same tracks of a clip are judged once."""
    right, frames = np.zeros(len(SCORES)), 0  # right frames: the mean over overlaps
    for clip in clips:
        every = clip.under(0.0, presence, hearing)
        judged: dict[int, float] = {}  # by how many tracks are kept: the higher the threshold the fewer
        for place, score in enumerate(SCORES):
            kept = np.flatnonzero(every.predicted.scores >= score)
            if len(kept) not in judged:
                rows = np.arange(len(every.truth.categories))
                judged[len(kept)] = float(corrected_frames(every.select(rows, kept)).right.mean(1).sum())
            right[place] += judged[len(kept)]
        frames += every.frames
    return 100 * right / max(frames, 1)
