"""Whether a challenger is better than the champion: by how much, how surely, and at whose cost.

Both are scored on the same clips. The challenger is promoted if its paired difference in one headline number
is at least `min_gain_points`, lies outside the noise (its 95 % interval leaves out zero and a randomisation
test has p < 0.05), and no category's HOTA falls by more than `max_category_fall_points`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean
from typing import Any

from components.core.metrics.accumulate import (
    HEADLINES,
    Counts,
    add_up,
    all_values,
    category_values,
    clip_values,
)
from components.core.metrics.counts_file import CountsFile
from components.core.metrics.paired import Difference
from components.core.metrics.seeds import seed_differences
from components.core.run.errors import AvisError
from components.tools.promotion.params import PromotionParams

CATEGORY_METRIC = "HOTA"  # of few tracks it jumps less than AP does


@dataclass(frozen=True, slots=True)
class Pair:
    """A score of one category or clip, in percent; None where a model has none."""

    name: str
    challenger: float | None
    champion: float | None

    @property
    def change(self) -> float | None:
        if self.challenger is None or self.champion is None:
            return None
        return self.challenger - self.champion


@dataclass(frozen=True, slots=True)
class OwnStart:
    """What a training made of the weights that it began with: the mean of FSLA and HOTA on val, percent.

    name, difference: the variant that is this start, and the model's difference to it in the rule's metric on
    the test clips; where there is none "" and None.
    """

    start: float
    kept: float
    name: str = ""
    difference: Difference | None = None

    def objection(self, metric: str) -> str:
        """Why this training taught nothing; empty if it did."""
        if self.kept <= self.start:
            return (
                "it did not beat its own start: the mean of FSLA and HOTA on the validation clips was "
                f"{self.start:.2f} before training and is {self.kept:.2f}"
            )
        found = self.difference
        if found is not None and found.difference < 0 and found.is_clear:
            return (
                f"it is worse than its own start (the variant {self.name}) on the test clips: {metric} "
                f"{found.difference:+.2f} points"
            )
        return ""


@dataclass(frozen=True)
class Decision:
    """promote: whether the challenger takes the champion's place; reasons: why, or why not.

    scores: the challenger's headline numbers in percent (of several seeds the means). differences: with the
    champion, None for the first model. categories, clips: CATEGORY_METRIC of each category and the metric or
    FSLA of each clip, the largest fall first. start: what its training gained; None where that is not known.
    """

    promote: bool
    reasons: list[str]
    scores: dict[str, float | None]
    differences: dict[str, Difference | None] | None
    categories: list[Pair]
    clips: list[Pair]
    start: OwnStart | None = None

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON's types."""
        return {
            "promote": self.promote,
            "reasons": self.reasons,
            "scores": self.scores,
            "differences": None
            if self.differences is None
            else {
                name: None if found is None else {**asdict(found), "difference": found.difference}
                for name, found in self.differences.items()
            },
            "start": None if self.start is None else asdict(self.start),
            "categories": [{**asdict(pair), "change": pair.change} for pair in self.categories],
            "clips": [{**asdict(pair), "change": pair.change} for pair in self.clips],
        }


def decide(
    challenger: Sequence[CountsFile],
    champion: Sequence[CountsFile],
    params: PromotionParams,
    start: OwnStart | None = None,
) -> Decision:
    """Compare two models on the same clips; without a champion the challenger becomes it.

    Each is its trainings, one for each seed, the first one's first; without any there is no champion. The
    mean of several counts, also by category and clip, with the noise of training in the interval; what is
    promoted is the model of the first seed.

    A challenger that is no better than its own start is refused if `must_beat_start`, else that is said.

    Raises:
        AvisError: the two were scored on different clips or categories.
    """
    decision = _against(challenger, champion, params)
    objection = "" if start is None else start.objection(params.metric)
    if not objection:
        return replace(decision, start=start)
    if not decision.promote:
        reasons = [*decision.reasons, objection]
    else:
        reasons = [objection] if params.must_beat_start else [*decision.reasons, f"but {objection}"]
    promote = decision.promote and not params.must_beat_start
    return replace(decision, promote=promote, reasons=reasons, start=start)


def _against(
    challenger: Sequence[CountsFile], champion: Sequence[CountsFile], params: PromotionParams
) -> Decision:
    ours, theirs = ([one.counts[params.protocol] for one in side] for side in (challenger, champion))
    own = [all_values(add_up(counts)) for counts in ours]
    scores = {name: _mean(values.get(name) for values in own) for name in HEADLINES}
    if not champion:
        reason = "there is no champion yet"
        if scores[params.metric] is None:
            return Decision(False, [f"it has no {params.metric}"], scores, None, [], [])
        return Decision(True, [reason], scores, None, [], [])
    videos, categories = challenger[0].videos, challenger[0].categories
    if any((one.videos, one.categories) != (videos, categories) for one in (*challenger, *champion)):
        raise AvisError("champion and challenger were scored on different clips or categories")
    differences = seed_differences(ours, theirs, resamples=params.resamples, seed=params.seed)
    by_category = [_categories(side) for side in (ours, theirs)]
    pairs = _worst_first(Pair(name, *values) for name, *values in zip(categories, *by_category, strict=True))
    shown = params.metric if params.metric != "mAP" else "FSLA"  # one clip has no mAP worth the name
    clips = _worst_first(
        Pair(name, *(_mean(clip_values(counts, place)[shown] for counts in side) for side in (ours, theirs)))
        for place, name in enumerate(videos)
    )
    objections = [*_gain(differences[params.metric], params), *_falls(pairs, params)]
    if objections:
        return Decision(False, objections, scores, differences, pairs, clips)
    found = differences[params.metric]
    assert found is not None  # noqa: S101 (else _gain objects)
    over_seeds = "" if len(ours) == 1 else f" (mean of {len(ours)} seeds)"
    if len(theirs) > 1:
        over_seeds += f" over the mean of the champion's {len(theirs)} seeds"
    reasons = [
        f"{params.metric} rises by {found.difference:.2f} points{over_seeds}, outside the noise",
        f"no category's {CATEGORY_METRIC} falls by more than {params.max_category_fall_points:g} points",
    ]
    return Decision(True, reasons, scores, differences, pairs, clips)


def _categories(trainings: Sequence[Counts]) -> list[float | None]:
    """CATEGORY_METRIC of each category, the mean over seeds."""
    added = [add_up(counts) for counts in trainings]
    places = range(len(trainings[0].rankings))
    return [_mean(category_values(one, place)[CATEGORY_METRIC] for one in added) for place in places]


def _mean(values: Iterable[object]) -> float | None:
    """Over seeds; None where one has no number."""
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None]
    return mean(known) if len(known) == len(numbers) else None


def _gain(found: Difference | None, params: PromotionParams) -> list[str]:
    metric = params.metric
    if found is None:
        return [f"one of the two has no {metric}"]
    if found.low is None or found.p is None:
        return [f"fewer than two clips cannot tell a gain in {metric} from noise"]
    change = f"{metric} changes by {found.difference:+.2f} points"
    if found.difference < params.min_gain_points or found.difference <= 0:
        return [f"{change}, less than the {params.min_gain_points:g} asked for"]
    if not found.is_clear:
        return [
            f"{change}, which may be noise (95 % interval {found.low:+.2f} to {found.high:+.2f},"
            f" p = {found.p:.3f})"
        ]
    return []


def _falls(categories: list[Pair], params: PromotionParams) -> list[str]:
    limit = params.max_category_fall_points
    return [
        f"{CATEGORY_METRIC} of {pair.name} falls by {-pair.change:.2f} points, more than {limit:g}"
        for pair in categories
        if pair.change is not None and -pair.change > limit
    ]


def _worst_first(pairs: Any) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (pair.change is None, pair.change or 0.0, pair.name))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
