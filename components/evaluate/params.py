"""The `evaluate` block of params.yaml."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from components.core.run.params import Block, Seed

_PUBLISHED_SCORE_THRESHOLD = 0.3


class EvaluateParams(Block):
    """What the evaluation shows besides the numbers.

    resamples: draws of the bootstrap over videos; 0 leaves the intervals out.
    seed: of the bootstrap and of the clips chosen at random.
    overlays_best, overlays_worst, overlays_random: test clips that get an overlay video, by corrected FSLA.
    failure_score_threshold: tracks with a lower score are left out of what goes wrong and of the films;
        "chosen": the model's own, which training chose on val, or the published one.
    overlay_height_px: height of a picture in them.
    """

    resamples: int = Field(default=1000, ge=0, le=100_000)
    seed: Seed = 0
    overlays_best: int = Field(default=1, ge=0, le=10_000)
    overlays_worst: int = Field(default=10, ge=0, le=10_000)
    overlays_random: int = Field(default=1, ge=0, le=10_000)
    failure_score_threshold: Annotated[float, Field(ge=0, le=1)] | Literal["chosen"] = "chosen"
    overlay_height_px: int = Field(default=360, ge=90, le=1080)

    def threshold(self, calibration: Mapping[str, Any] | None = None) -> float:
        """failure_score_threshold as a number, for a model with this calibration.json."""
        if self.failure_score_threshold != "chosen":
            return self.failure_score_threshold
        return float(calibration["thresholds"]["score"]) if calibration else _PUBLISHED_SCORE_THRESHOLD
