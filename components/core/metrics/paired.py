"""Whether one result is better than another on the same videos, or whether that may be chance."""

from dataclasses import dataclass

import numpy as np

from components.core.metrics.accumulate import HEADLINES, Counts, headlines_of_draws, joined
from components.core.metrics.bootstrap import interval_around, video_draws
from components.core.metrics.overlaps import Floats

_TOLERANCE = 1e-9  # percent; a swap that changes nothing must count as a tie
_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """One headline number of two results, in percent.

    value, other: the two numbers. low, high: 95 % interval of value - other over videos. p: how often so
    large a difference, either way, comes about when each video's results are given to one or the other by
    chance. None for fewer than two videos.
    """

    value: float
    other: float
    low: float | None
    high: float | None
    p: float | None

    @property
    def difference(self) -> float:
        return self.value - self.other

    def reversed(self) -> "Difference":
        """Return the same seen from the other side."""
        low = None if self.high is None else -self.high
        return Difference(self.other, self.value, low, None if self.low is None else -self.low, self.p)

    @property
    def is_clear(self) -> bool:
        """Whether the difference is outside the noise: the interval leaves out zero and p is below 0.05."""
        if self.low is None or self.high is None or self.p is None:
            return False
        return (self.low > 0 or self.high < 0) and self.p < _SIGNIFICANT


def paired_differences(
    counts: Counts, other: Counts, *, resamples: int, seed: int
) -> dict[str, Difference | None]:
    """Compare two results for the same videos under one protocol.

    The interval is the paired percentile bootstrap, less its bias: both results on the same drawn videos
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 10 and 13). p is of the
    approximate randomisation test (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989): for each
    video the two results change places or not by the toss of a coin, and the numbers are computed anew, so
    that it holds for numbers that are no means over videos, such as mAP and HOTA.

    Args:
        counts, other: of the two results, same protocol, same videos in the same order.
        resamples: how often to draw, for each of the two.
        seed: of the draws.

    Returns:
        by headline number; None where one of the two has none.
    """
    videos = len(counts.hota)
    both = joined(counts, other)
    observed = _pairs(both, np.ones((1, videos)), np.zeros((1, videos)))
    enough = videos > 1 and resamples > 0
    drawn: dict[str, Floats] = {}
    swapped: dict[str, Floats] = {}
    if enough:
        weights = video_draws(videos, resamples=resamples, seed=seed)
        drawn = {name: one - two for name, (one, two) in _pairs(both, weights, 0 * weights).items()}
        coins = np.random.default_rng((seed, 1)).integers(0, 2, size=(resamples, videos)).astype(np.float64)
        swapped = {name: one - two for name, (one, two) in _pairs(both, coins, 1 - coins).items()}
    found: dict[str, Difference | None] = {}
    for name in HEADLINES:
        value, second = (float(numbers[0]) for numbers in observed[name])
        if np.isnan(value) or np.isnan(second):
            found[name] = None
            continue
        low, high, p = None, None, None
        if enough and (interval := interval_around(value - second, drawn[name])):
            low, high = interval
            by_chance = swapped[name][~np.isnan(swapped[name])]
            as_large = int((np.abs(by_chance) >= abs(value - second) - _TOLERANCE).sum())
            p = (as_large + 1) / (len(by_chance) + 1)  # what was observed is one of the possible tosses
        found[name] = Difference(value, second, low, high, p)
    return found


def _pairs(both: Counts, first: Floats, second: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Headline numbers of the result that the weights choose [N, V] and of the one that they leave."""
    chosen = headlines_of_draws(both, np.concatenate([first, second], axis=1))
    left = headlines_of_draws(both, np.concatenate([second, first], axis=1))
    return {name: (chosen[name], left[name]) for name in chosen}
