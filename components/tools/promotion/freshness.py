"""Whether a model does worse on clips that are new to it than on those it was promoted for."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from components.core.metrics.accumulate import Counts, headlines_of_draws
from components.core.metrics.bootstrap import interval_around, video_draws
from components.core.metrics.counts_file import CountsFile
from components.core.metrics.overlaps import Floats
from components.tools.promotion.params import PromotionParams


@dataclass(frozen=True, slots=True)
class Freshness:
    """A model's score on fresh and on known clips, in percent; None where there are too few clips.

    low, high: 95 % interval of fresh - known, the two drawn independently. dropped: whether the difference is
    a drop by more than the limit, outside the noise.
    """

    fresh_clips: int
    known_clips: int
    fresh: float | None
    known: float | None
    low: float | None
    high: float | None
    dropped: bool

    @property
    def change(self) -> float | None:
        return None if self.fresh is None or self.known is None else self.fresh - self.known


def freshness(
    counts: CountsFile, *, known: Collection[str], trained_on: Collection[str], params: PromotionParams
) -> Freshness:
    """Compare a model's score on fresh clips with that on the clips it was scored on when it was made.

    Args:
        counts: of all test clips, measured now.
        known: clips that it was scored on when it was made.
        trained_on: clips that it was trained on; they count for neither side.
        params: protocol, metric and limit.
    """
    usable = [name not in trained_on for name in counts.videos]
    is_known = np.array([ok and name in known for ok, name in zip(usable, counts.videos, strict=True)])
    is_fresh = np.array([ok and name not in known for ok, name in zip(usable, counts.videos, strict=True)])
    part = counts.counts[params.protocol]
    fresh, fresh_draws = _scores(part, is_fresh, params, seed=params.seed)
    old, old_draws = _scores(part, is_known, params, seed=params.seed + 1)
    low = high = None
    dropped = False
    if fresh is not None and old is not None and fresh_draws is not None and old_draws is not None:
        interval = interval_around(fresh - old, fresh_draws - old_draws)
        if interval is not None:
            low, high = interval
            dropped = old - fresh > params.max_drop_points and high < 0
    return Freshness(int(is_fresh.sum()), int(is_known.sum()), fresh, old, low, high, dropped)


def _scores(
    counts: Counts,
    chosen: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    params: PromotionParams,
    *,
    seed: int,
) -> tuple[float | None, Floats | None]:
    """The metric over the chosen clips, and over as many drawn from them, [resamples]."""
    clips = int(chosen.sum())
    if not clips:
        return None, None
    value = float(headlines_of_draws(counts, chosen[None].astype(np.float64))[params.metric][0])
    if np.isnan(value):
        return None, None
    if clips < 2:
        return value, None
    weights = np.zeros((params.resamples, len(chosen)))
    weights[:, chosen] = video_draws(clips, resamples=params.resamples, seed=seed)
    return value, headlines_of_draws(counts, weights)[params.metric]
