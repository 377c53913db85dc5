"""The `compare` block of params.yaml."""

from pydantic import Field

from components.core.run.params import Block, Seed


class CompareParams(Block):
    """Settings of the stage `compare`.

    clips: test clips shown as film strips.
    frames: frames in a strip.
    frame_width_px: width of each.
    bootstrap_samples: resamplings of the test clips behind the intervals of the differences.
    seed: of the resampling.
    """

    clips: int = Field(default=6, ge=0, le=50)
    frames: int = Field(default=6, ge=1, le=60)
    frame_width_px: int = Field(default=220, ge=64, le=1280)
    bootstrap_samples: int = Field(default=2000, ge=100, le=100_000)
    seed: Seed = 1
