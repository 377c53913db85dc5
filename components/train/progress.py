"""What a training has come to, and its scores on val: the best state, when to stop, what scoring costs."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from components.train.averaging import WeightAverage
from components.train.params import TrainParams
from components.train.processes.distributed import Team
from models.networks.registry import Network

_MOST_SHARE = 0.15  # of the time that validation may take; more of it is said
Logger = Callable[[Mapping[str, float], int], None]  # (values, step)
# of clips that it does not learn from: FSLA, HOTA and mAP, percent
Validate = Callable[[Network], dict[str, float]]


@dataclass
class Fitted:
    """What training leaves besides the weights."""

    history: list[dict[str, float]]  # one row per logged or validated step
    seconds: float  # of training with its validation, earlier sittings included
    steps: int
    best: dict[str, Any] | None = None  # of the validated states: step, weights
    validation_s: float = 0.0  # of `seconds`

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Enter values of a step into the history."""
        if self.history and self.history[-1]["step"] == step:
            self.history[-1] |= values
        else:
            self.history.append({"step": float(step), **values})

    def ended(self, params: TrainParams) -> bool:
        """Are all steps taken, or has it stopped early?"""
        return self.steps >= params.steps or stops_early(self.history, params)


def worth(scores: Mapping[str, float]) -> float:
    """What validated states are compared by: the mean of FSLA and HOTA, percent.

    FSLA alone is blind to what a network finds where it hears nothing: frames of objects in view that are
    silent are right as long as nothing is found.
    """
    return (scores["val_FSLA"] + scores["val_HOTA"]) / 2


def stops_early(history: Sequence[Mapping[str, float]], params: TrainParams) -> bool:
    """Were the last ``stop_after_validations`` states worth no more than the best before them?"""
    scores = [worth(row) for row in history if "val_FSLA" in row]
    if params.stop_after_validations is None or not scores:
        return False
    return len(scores) - 1 - scores.index(max(scores)) >= params.stop_after_validations


@dataclass
class Validations:
    """Scores a model while it learns; in all processes, of which the first works and the others wait."""

    validate: Validate | None
    params: TrainParams
    team: Team
    fitted: Fitted
    log: Logger
    label: str
    average: WeightAverage
    _began: float = field(default_factory=time.monotonic)
    _from_step: int = 0  # of this sitting
    _seconds: float = 0.0
    _count: int = 0
    _warned: bool = False

    def __post_init__(self) -> None:
        self._from_step = self.fitted.steps

    def score(self, model: Network, step: int) -> bool:
        """Score the model as it is and keep its weights if it is the best; whether training is to stop."""
        if self.validate is None:
            return False
        begun = time.monotonic()
        with self.average.in_place():
            scores = self.team.first_alone(
                lambda: self.validate(model) if self.validate else None,
                every_s=self.params.process_timeout_s / 4,
            )
            model.train()
            took = time.monotonic() - begun
            self._seconds += took
            self._count += 1
            self.fitted.validation_s += took
            if scores is not None:  # in the first process
                self._enter(model, step, scores)
        stops = stops_early(self.fitted.history, self.params) and self.team.leads
        return self.team.sum([float(stops)])[0] > 0

    def _enter(self, model: Network, step: int, scores: Mapping[str, float]) -> None:
        fitted = self.fitted
        row = {f"val_{name}": value for name, value in scores.items()}
        is_best = all(worth(row) > worth(earlier) for earlier in fitted.history if "val_FSLA" in earlier)
        fitted.add(step, row)
        self.log({f"validation/{name}": value for name, value in scores.items()}, step)
        if self.params.keep == "best" and is_best:
            weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
            fitted.best = {"step": step, "weights": weights}
        if not self._warned and step > self._from_step:
            self._warned = True
            self._say_if_much(step)

    def _say_if_much(self, step: int) -> None:
        """Early in a long training, say what validation will have taken at its end."""
        rest = (time.monotonic() - self._began - self._seconds) / (step - self._from_step) * self.params.steps
        whole = (
            self._seconds
            / self._count
            * (1 + math.ceil(self.params.steps / self.params.validate_every_steps))
        )
        if whole > _MOST_SHARE * (whole + rest):
            tqdm.write(
                f"{self.label}: validation will take about {whole / (whole + rest):.0%} of the time; "
                f"{self._remedy(whole, rest)}"
            )

    def conclude(self) -> None:
        """Say what stopped the training, and what validation took."""
        fitted, params = self.fitted, self.params
        if self.validate is None or not self.team.leads:
            return
        if fitted.steps < params.steps:
            tqdm.write(
                f"{self.label}: stopped after {fitted.steps} of {params.steps} steps, since the mean of "
                f"FSLA and HOTA on the validation clips did not rise in {params.stop_after_validations} "
                "validations (train.stop_after_validations)"
            )
        rest = fitted.seconds - fitted.validation_s
        share = fitted.validation_s / max(fitted.seconds, 1e-9)
        much = f"; {self._remedy(fitted.validation_s, rest)}" if share > _MOST_SHARE else ""
        tqdm.write(
            f"{self.label}: validation took {fitted.validation_s:.0f} s, {share:.0%} of the time{much}"
        )

    def _remedy(self, validation_s: float, rest_s: float) -> str:
        """Which parameter to set to what, so that validation takes no more than its share."""
        params = self.params
        factor = _MOST_SHARE / (1 - _MOST_SHARE) * rest_s / max(validation_s, 1e-9)
        clips = max(1, int(params.validation_clips * factor))
        every = min(params.steps, math.ceil(params.validate_every_steps / max(factor, 1e-9)))
        return (
            f"lower train.validation_clips from {params.validation_clips} to {clips}, or raise "
            f"train.validate_every_steps from {params.validate_every_steps} to {every}"
        )
