"""The block `disturb` of `train` and `predict`: what happens to sound and pictures before a network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.core.run.params import Block, Seed

Noise = Literal["white", "pink", "babble"]  # babble: the sounds of other clips at once
MP3_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # what it knows at 16 kHz
_OF_PICTURES = {"blur_px", "light", "jpeg_quality", "dropped_share"}


class DisturbParams(Block):
    """What is null is left as it is. Sound and pictures each in the order in which it happens to them."""

    seed: Seed = 0  # with a clip's name it decides all that is drawn at random
    replaced_by: Noise | Literal["other_clip", "silence"] | None = None  # in place of the clip's own sound
    muted_share: float | None = Field(default=None, ge=0, le=1)  # of its seconds, each whole
    shift_s: float | None = Field(default=None, ge=-60, le=60)  # above 0 the sound comes after the picture
    reverberation_s: float | None = Field(default=None, ge=0.01, le=10)  # until it has fallen by 60 dB
    noise: Noise | None = None
    snr_db: float | None = Field(default=None, ge=-60, le=100)  # of the whole clip
    clipped_share: float | None = Field(default=None, ge=0, lt=1)  # of the samples, the loudest
    band_hz: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(le=8000)]] | None = None
    codec: Literal["opus", "mp3"] | None = None
    bit_rate_kbps: float | None = None
    blur_px: float | None = Field(default=None, gt=0, le=100)  # standard deviation, pixels of the source
    light: float | None = Field(default=None, gt=0, le=1)  # of what the camera got
    jpeg_quality: int | None = Field(default=None, ge=1, le=100)
    dropped_share: float | None = Field(default=None, ge=0, lt=1)  # of the frames: the one before stays

    @model_validator(mode="after")
    def _belong_together(self) -> "DisturbParams":
        for one, other in (("noise", "snr_db"), ("codec", "bit_rate_kbps")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} belong together: set both or none")
        rate = self.bit_rate_kbps
        if self.codec == "opus" and rate is not None and not 6 <= rate <= 256:
            raise ValueError(f"bit_rate_kbps is {rate:g}; opus has 6 to 256")
        if self.codec == "mp3" and rate not in MP3_KBPS:
            raise ValueError(f"bit_rate_kbps is {rate:g}; mp3 has {', '.join(map(str, MP3_KBPS))} at 16 kHz")
        if self.band_hz is not None and self.band_hz[0] >= self.band_hz[1]:
            raise ValueError("band_hz is [lowest, highest]")
        return self

    @property
    def set_fields(self) -> dict[str, object]:
        """What is done, by the parameter."""
        return self.model_dump(exclude_none=True, exclude={"seed"})

    @property
    def changes_sound(self) -> bool:
        return bool(self.set_fields.keys() - _OF_PICTURES)

    @property
    def needs_samples(self) -> bool:
        """Whether audio features, made from the sound as it was, cannot have it; another clip's they can."""
        return bool(self.set_fields.keys() - _OF_PICTURES - {"replaced_by"}) or (
            self.replaced_by not in (None, "other_clip")
        )

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.set_fields.items()) or "nothing"
