"""Trainings that differ in their seed alone: how far their scores lie apart, and differences beyond that.

Letters: S trainings (seeds), N draws, V videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.metrics.accumulate import HEADLINES, Counts, headlines_of_draws
from components.core.metrics.bootstrap import interval_around, video_draws
from components.core.metrics.overlaps import Floats
from components.core.metrics.paired import Difference, paired_differences

_TOLERANCE = 1e-9  # percent


@dataclass(frozen=True, slots=True)
class Spread:
    """A headline number over seeds, percent: mean, standard deviation, and the 95 % interval of the mean over
    seeds and videos (None for fewer than two videos)."""

    mean: float
    deviation: float
    low: float | None
    high: float | None


def spreads(trainings: Sequence[Counts], *, resamples: int, seed: int) -> dict[str, Spread]:
    """Each headline number over two or more trainings, one protocol; what one of them lacks is left out."""
    values = _values(trainings, None)
    draws = _draws(trainings, resamples=resamples, seed=seed, side=0)
    found = {}
    for name in HEADLINES:
        own = values[name][:, 0]
        if np.isnan(own).any():
            continue
        interval = interval_around(float(own.mean()), draws[name]) if draws else None
        low, high = interval if interval else (None, None)
        found[name] = Spread(float(own.mean()), float(own.std(ddof=1)), low, high)
    return found


def seed_differences(
    ours: Sequence[Counts], theirs: Sequence[Counts], *, resamples: int, seed: int
) -> dict[str, Difference | None]:
    """Compare two variants of which each was trained once or more, on the same videos.

    One training each: `paired_differences`. Else the means over seeds are compared by a bootstrap of two
    levels: each draw takes the same videos for all, and of each variant with several trainings one training
    fewer than there are, with replacement (fewer, or the spread of S trainings would come out too small by
    (S - 1) / S: Rao and Wu, Resampling inference with complex survey data, 1988). A variant that was trained
    once adds no noise of training: it is not known. p is of the shifted bootstrap: how often a draw lies as
    far from the draws' mean as the difference from zero (Efron and Tibshirani, 1993, section 16.4).

    Args:
        ours, theirs: of one protocol, same videos in the same order.
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        by headline number; None where a training has none.
    """
    if len(ours) == len(theirs) == 1:
        return paired_differences(ours[0], theirs[0], resamples=resamples, seed=seed)
    one, two = _values(ours, None), _values(theirs, None)
    first = _draws(ours, resamples=resamples, seed=seed, side=0)
    second = _draws(theirs, resamples=resamples, seed=seed, side=1)
    found: dict[str, Difference | None] = {}
    for name in HEADLINES:
        value, other = float(one[name].mean()), float(two[name].mean())
        if np.isnan(value) or np.isnan(other):
            found[name] = None
            continue
        low, high, p = None, None, None
        drawn = first[name] - second[name] if first and second else np.zeros(0)
        drawn = drawn[~np.isnan(drawn)]
        interval = interval_around(value - other, drawn)
        if interval:
            low, high = interval
            as_far = int((np.abs(drawn - drawn.mean()) >= abs(value - other) - _TOLERANCE).sum())
            p = (as_far + 1) / (len(drawn) + 1)
        found[name] = Difference(value, other, low, high, p)
    return found


def _draws(trainings: Sequence[Counts], *, resamples: int, seed: int, side: int) -> dict[str, Floats]:
    """Means over drawn trainings on drawn videos, [N] by name; the same videos whatever the side."""
    videos, count = len(trainings[0].hota), len(trainings)
    if videos < 2 or resamples < 1:
        return {}
    values = _values(trainings, video_draws(videos, resamples=resamples, seed=seed))  # [S, N]
    taken = np.ones((resamples, 1))
    if count > 1:
        chance = np.random.default_rng((seed, 2, side))
        taken = chance.multinomial(count - 1, np.full(count, 1 / count), size=resamples) / (count - 1)
    with np.errstate(invalid="ignore"):
        return {name: np.where(taken.T > 0, taken.T * each, 0.0).sum(0) for name, each in values.items()}


def _values(trainings: Sequence[Counts], weights: Floats | None) -> dict[str, Floats]:
    """Headline numbers [S, N] of each training for N weightings of the videos; each once if not given."""
    weights = np.ones((1, len(trainings[0].hota))) if weights is None else weights
    each = [headlines_of_draws(counts, weights) for counts in trainings]
    return {name: np.stack([values[name] for values in each]) for name in HEADLINES}
