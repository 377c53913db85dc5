"""The `predict` block of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.disturbance.params import DisturbParams
from components.core.run.params import Block

Chosen = Literal["chosen"]  # what training chose on val and keeps with the model
Share = Annotated[float, Field(ge=0, le=1)]

PUBLISHED_SCORE_THRESHOLD = 0.3
EVEN_PRESENCE_THRESHOLD = 0.5
NO_HEARING_THRESHOLD = 0.0


class PredictParams(Block):
    """The `predict` block; what a model's card does not say is the published 0.3, 0.5, and 0."""

    score_threshold: Share | Chosen = "chosen"  # tracks below are dropped
    presence_threshold: Share | Chosen = "chosen"  # of sounding in a frame: with no more a mask is empty
    # … and of its category, by the sound alone, which models with audio_tagging know; 0: they are not asked
    hearing_threshold: Share | Chosen = "chosen"
    most_tracks: int = Field(default=10, ge=1, le=10_000)  # per clip, before the threshold
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "fp32"  # auto: bf16 where the hardware has it
    disturb: DisturbParams | None = None  # what is done to the test clips first; null: nothing
