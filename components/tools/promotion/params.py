"""The block `promotion` of params.yaml."""

from typing import Literal

from pydantic import Field, field_validator

from components.core.run.params import Block, Seed


class PromotionParams(Block):
    """When a new model takes the champion's place. Points are percentage points of a score.

    `variant` may be null in the file: the first one there. Here it is empty until that is looked up.
    """

    model: str = Field(default="avis", pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")
    variant: str = ""
    protocol: Literal["corrected", "official"] = "corrected"
    metric: Literal["mAP", "HOTA", "FSLA"] = "FSLA"
    min_gain_points: float = Field(default=0.5, ge=0, le=100)
    max_category_fall_points: float = Field(default=10.0, ge=0, le=100)
    must_beat_start: bool = False
    max_drop_points: float = Field(default=5.0, ge=0, le=100)
    resamples: int = Field(default=2000, ge=100, le=100_000)
    seed: Seed = 1

    @field_validator("variant", mode="before")
    @classmethod
    def _null_is_the_first(cls, value: object) -> object:
        return "" if value is None else value
