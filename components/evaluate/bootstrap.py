"""How far the headline numbers would move with other videos: bootstrap over videos (Efron, 1979)."""

import numpy as np

from components.evaluate.score import HEADLINES, Counts, add_up, headline_values

_LOW, _HIGH = 2.5, 97.5  # percentiles of a 95 % interval


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
    generator = np.random.default_rng(seed)
    lean = counts.for_headlines()
    values: dict[str, list[float]] = {name: [] for name in HEADLINES}
    for weights in generator.multinomial(videos, np.full(videos, 1 / videos), size=resamples):
        for name, value in headline_values(add_up(lean, weights.astype(np.float64))).items():
            if value is not None:
                values[name].append(value)
    return {
        name: (float(np.percentile(found, _LOW)), float(np.percentile(found, _HIGH)))
        for name, found in values.items()
        if found
    }
