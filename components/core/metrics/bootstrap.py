"""How far the headline numbers would move with other videos: bootstrap over videos (Efron, 1979)."""

import numpy as np

from components.core.metrics.accumulate import Counts, headlines_of_draws
from components.core.metrics.overlaps import Floats

LEVEL_PERCENT = 95
_PERCENTILES = (2.5, 97.5)


def confidence_intervals(counts: Counts, *, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each headline number, in percent.

    Args:
        counts: of one protocol.
        resamples: how often as many videos are drawn with replacement.
        seed: of the draws.

    A number that cannot be computed on any draw, or a single video, gives no interval.
    """
    videos = len(counts.hota)
    if videos < 2 or resamples < 1:
        return {}
    values = headlines_of_draws(counts, np.ones((1, videos)))
    draws = headlines_of_draws(counts, video_draws(videos, resamples=resamples, seed=seed))
    found = {name: interval_around(float(values[name][0]), draws[name]) for name in draws}
    return {
        name: (max(interval[0], 0.0), min(interval[1], 100.0)) for name, interval in found.items() if interval
    }


def video_draws(videos: int, *, resamples: int, seed: int) -> Floats:
    """Draw as many videos with replacement, many times: how often each is drawn, [resamples, videos]."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(videos, np.full(videos, 1 / videos), size=resamples).astype(np.float64)


def interval_around(value: float, draws: Floats) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the draws less their bias; None without a value or draws.

    The bias is the mean of the draws minus the value (Efron and Tibshirani, An Introduction to the Bootstrap,
    1993, section 10.3): a video that is drawn twice makes mAP look better than it is, so that without this
    the interval of many videos can lie beside its number. For means such as FSLA the bias is nearly zero.
    """
    found = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(found):
        return None
    low, high = np.percentile(found, _PERCENTILES) - (found.mean() - value)
    return float(low), float(high)


def rounded_intervals(intervals: dict[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Return intervals as they are written to JSON: [low, high] with two decimals."""
    return {name: [round(low, 2), round(high, 2)] for name, (low, high) in intervals.items()}
