"""What a study's cells score, and how sure their differences to the reference are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from components.core.metrics.accumulate import headlines_of_draws
from components.core.metrics.bootstrap import confidence_intervals
from components.core.metrics.counts_file import CountsFile
from components.core.metrics.paired import Difference
from components.core.metrics.seeds import seed_differences, spreads
from components.core.reports.page import probability, signed

LEVEL = 0.05


@dataclass(frozen=True)
class Effect:
    """One metric of one cell, corrected protocol, percent.

    value: the mean over seeds. deviation: over seeds; None with one. low, high: the 95 % interval of the
    value over clips, with several seeds over seeds, too. difference: to the reference on the same clips; None
    for the reference, and where it has other clips. p: of the difference, corrected for all comparisons of
    the study.
    """

    value: float | None
    deviation: float | None
    low: float | None
    high: float | None
    difference: Difference | None = None
    p: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the difference is outside the noise, with all comparisons of the study in mind."""
        return self.difference is not None and self.difference.is_clear and (self.p or 0.0) < LEVEL


Effects = dict[str, dict[str, Effect]]
"""Cell -> metric -> effect."""


def effects_of(
    trainings: Mapping[str, Sequence[CountsFile]],
    *,
    reference: str,
    metrics: Sequence[str],
    resamples: int,
    seed: int,
    scored: Effects | None = None,
) -> Effects:
    """Score all cells and compare each with the reference.

    Args:
        trainings: of each cell that was computed, one a seed.
        reference: the cell that the others are compared with; if it is missing nothing is compared.
        metrics: headline numbers.
        resamples, seed: of the bootstrap and the tests: with fewer draws than `draws_for` none can be clear.
        scored: the same cells against another reference, whose scores are taken.
    """
    found = {
        name: {metric: replace(scored[name][metric], difference=None, p=None) for metric in metrics}
        if scored
        else _scores(own, metrics, resamples=resamples, seed=seed)
        for name, own in trainings.items()
        if own
    }
    base = trainings.get(reference) or []
    for name, own in trainings.items():
        if not own or not base or name == reference or not _same_clips([*own, *base]):
            continue
        differences = seed_differences(
            [one.counts["corrected"] for one in own],
            [one.counts["corrected"] for one in base],
            resamples=resamples,
            seed=seed,
        )
        for metric in metrics:
            found[name][metric] = replace(found[name][metric], difference=differences[metric])
    tested = [
        (name, metric, effect.difference.p)
        for name, row in found.items()
        for metric, effect in row.items()
        if effect.difference is not None and effect.difference.p is not None
    ]
    for (name, metric, _), p in zip(tested, holm([p for *_, p in tested]), strict=True):
        found[name][metric] = replace(found[name][metric], p=p)
    return found


def draws_for(comparisons: int) -> int:
    """So many that the smallest p of a test, 1 / (draws + 1), is below the level after correction."""
    return math.ceil(1.5 * comparisons / LEVEL)


def _same_clips(trainings: Sequence[CountsFile]) -> bool:
    first = trainings[0]
    return all((one.videos, one.categories) == (first.videos, first.categories) for one in trainings)


def _scores(
    trainings: Sequence[CountsFile], metrics: Sequence[str], *, resamples: int, seed: int
) -> dict[str, Effect]:
    counts = [one.counts["corrected"] for one in trainings]
    if len(counts) > 1:
        spread = spreads(counts, resamples=resamples, seed=seed)
        return {
            metric: Effect(one.mean, one.deviation, _bounded(one.low), _bounded(one.high))
            if (one := spread.get(metric))
            else Effect(None, None, None, None)
            for metric in metrics
        }
    import numpy as np

    values = headlines_of_draws(counts[0], np.ones((1, len(counts[0].hota))))
    intervals = confidence_intervals(counts[0], resamples=resamples, seed=seed)
    return {
        metric: Effect(
            None if np.isnan(values[metric][0]) else float(values[metric][0]),
            None,
            *intervals.get(metric, (None, None)),
        )
        for metric in metrics
    }


def _bounded(percent: float | None) -> float | None:
    return None if percent is None else min(max(percent, 0.0), 100.0)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Correct p for many comparisons: the chance of any false finding among all stays below the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    found = [0.0] * len(probabilities)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(probabilities)), key=lambda one: probabilities[one])):
        largest = max(largest, min(1.0, (len(probabilities) - rank) * probabilities[place]))
        found[place] = largest
    return found


def in_words(name: str, metric: str, effect: Effect, reference: str) -> str:
    """One sentence about a cell that says only what its interval allows."""
    found = effect.difference
    if found is None:
        return f"{name}: {metric} cannot be compared with {reference}: they have no clips in common."
    if found.low is None or found.high is None or effect.p is None:
        return f"{name}: one clip alone says nothing of {metric} on others."
    size = f"{signed(found.difference)} points, 95 % interval {signed(found.low)} to {signed(found.high)}"
    if effect.is_clear:
        return (
            f"{name}: {metric} is {'higher' if found.difference > 0 else 'lower'} than {reference}'s"
            f" ({size}, p {probability(effect.p)} after correction)."
        )
    widest = max(abs(found.low), abs(found.high))
    return (
        f"{name}: no difference in {metric} to {reference} seen ({size}, p {probability(effect.p)} after"
        f" correction); one of more than {widest:.1f} points would have been."
    )
