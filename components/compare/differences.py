"""How sure a difference between two models on the same clips is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A paired difference over clips, in the unit of the scores."""

    value: float
    low: float
    high: float
    """Bounds of the 95 % interval."""
    p: float
    """Probability of so large a difference, either way, if the two models were alike."""
    clips: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    first: Values, other: Values, weights: Values, *, samples: int, seed: int
) -> Difference | None:
    """Weighted mean of `other` - `first` over clips, with interval and p.

    The interval is the percentile bootstrap: clips are drawn with replacement, both models on the same ones.
    p is of the paired permutation test: each clip's difference keeps or changes its sign by chance.
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 13.3 and 15.2.)

    Args:
        first: scores per clip [N].
        other: scores of the other model on the same clips [N].
        weights: of the clips [N], say their frames for a score that is a share of all frames.
        samples: how often to draw, for each of the two.
        seed: of the drawing.

    Returns:
        None for fewer than 2 clips: there is nothing to draw from.
    """
    if len(weights) < 2 or not weights.sum() > 0:
        return None
    generator = np.random.default_rng(seed)
    weighted = (other - first) * weights  # [N]
    value = weighted.sum() / weights.sum()
    drawn = generator.integers(len(weights), size=(samples, len(weights)))  # [S, N]
    totals = weights[drawn].sum(axis=1)
    means = weighted[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    signs = generator.choice([-1.0, 1.0], size=(samples, len(weights)))
    by_chance = np.abs(signs @ weighted) / weights.sum()
    extreme = int((by_chance >= abs(value) - 1e-12).sum())
    return Difference(
        value=float(value),
        low=float(low),
        high=float(high),
        p=(extreme + 1) / (samples + 1),  # the observed signs are one of the possible drawings
        clips=len(weights),
    )
