"""What each training gained over its start: on validation clips, and on test clips if that is a variant."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.compare.differences import Differences, differences
from components.compare.params import CompareParams
from components.compare.variants import Model

VALIDATED = ("FSLA", "HOTA", "mAP")


@dataclass(frozen=True)
class Gain:
    """A model and what it began with.

    validated: by metric, (at the start, of the state that was kept), percent on validation clips; empty if
        the training was not validated. step: the kept state's; None of several seeds, whose
        means these are.
    start: the variant that is its start; tested: the model's difference to that on the test clips.
    """

    name: str
    trained: bool
    validated: dict[str, tuple[float, float]]
    step: int | None
    start: str | None
    tested: Differences | None

    def numbers(self) -> dict[str, float]:
        """The gains on the test clips, percentage points of the corrected protocol, by name."""
        found = {} if self.tested is None else self.tested["corrected"]
        return {
            f"{metric}_gain{suffix}": value
            for metric, difference in found.items()
            if difference is not None
            for suffix, value in (
                ("", difference.difference),
                ("_low", difference.low),
                ("_high", difference.high),
                ("_p", difference.p),
            )
            if value is not None
        }


def gains_over_start(models: Sequence[Model], params: CompareParams) -> list[Gain]:
    """One for each model, in their order.

    Raises:
        AvisError: a model and its start were scored on different clips.
    """
    return [_gain(model, models, params) for model in models]


def _gain(model: Model, models: Sequence[Model], params: CompareParams) -> Gain:
    start = next((one for one in models if one.origin.is_start_of(model.origin)), None)
    numbers = model.training
    step = None if model.further else numbers.get("kept_step")
    return Gain(
        model.name,
        trained="steps" in numbers,
        validated={
            metric: (numbers[f"start_{metric}"], numbers[f"kept_{metric}"])
            for metric in VALIDATED
            if f"start_{metric}" in numbers and f"kept_{metric}" in numbers
        },
        step=None if step is None else round(step),
        start=None if start is None else start.name,
        tested=None if start is None else differences(model, start, params),
    )
