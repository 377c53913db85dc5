"""The `sample` block of params.yaml."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from components.core.run.params import Block, Seed


class SampleParams(Block):
    """What to compose. The same values and the same kit give the same clips.

    kit: folder with sprites/<category>/, sounds/<category>/ and backgrounds/.
    seed: of all clips; each clip's own seed follows from it, the split and the clip's number.
    train_clips, val_clips, test_clips: how many clips of each split.
    min_duration_s, max_duration_s: a clip lasts a whole number of seconds between the two.
    width, height: of the videos, in pixels; even, as H.264 wants it.
    frame_rate_hz: of the videos; annotations are at one frame per second.
    held_out_sprites: <category>/<file without suffix>; shown in test clips only. [] for none.
    """

    kit: str = Field(default="data/sample/kit", min_length=1)
    seed: Seed = 1
    train_clips: int = Field(default=80, ge=0, le=1_000_000)
    val_clips: int = Field(default=8, ge=0, le=1_000_000)
    test_clips: int = Field(default=40, ge=0, le=1_000_000)
    min_duration_s: int = Field(default=10, ge=2, le=3600)
    max_duration_s: int = Field(default=20, ge=2, le=3600)
    width: int = Field(default=640, ge=64, le=3840)
    height: int = Field(default=360, ge=64, le=2160)
    frame_rate_hz: int = Field(default=12, ge=1, le=60)
    held_out_sprites: tuple[str, ...] = ("cow/zebu", "pig/pig_golden", "duck/drake")

    @field_validator("width", "height")
    @classmethod
    def _even(cls, pixels: int) -> int:
        if pixels % 2:
            raise ValueError("must be an even number of pixels")
        return pixels

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_duration_s < self.min_duration_s:
            raise ValueError("max_duration_s must not be below min_duration_s")
        return self
