"""Parameters of prediction."""

from typing import Literal

from pydantic import Field

from components.core.run.params import Block


class PredictParams(Block):
    """The `predict` block."""

    score_threshold: float = Field(default=0.3, ge=0, le=1)  # tracks below are dropped, as published
    most_tracks: int = Field(default=10, ge=1, le=10_000)  # per clip, before the threshold
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "fp32"  # auto: bf16 where the hardware has it
