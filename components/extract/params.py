"""The `extract` block of params.yaml."""

from pydantic import Field

from components.core.media.published_sound import Resampling
from components.core.run.params import Block


class ExtractParams(Block):
    """How videos become frames and sound.

    frame_rate_hz: frames per second; AVISeg has 1.
    jpeg_quality: 1 to 95.
    resampling: of the sound to 16 kHz; "resampy" as before the published VGGish, in the published profiles.
    audio_weights: a file of PyTorch VGGish weights (.pth, .safetensors); makes every video's audio features.
    replace_features: audio_weights makes them also for videos that came with features of their own.
    item_timeout_s: longest time for one video.
    max_failed_share: the stage fails when a larger share of the videos failed.
    strict: the stage fails when anything was guessed, filled in, left out or moved on reading.
    """

    frame_rate_hz: float = Field(default=1.0, gt=0, le=60)
    jpeg_quality: int = Field(default=92, ge=1, le=95)
    resampling: Resampling = "ffmpeg"
    audio_weights: str | None = None
    replace_features: bool = False
    item_timeout_s: float = Field(default=600.0, gt=0)
    max_failed_share: float = Field(default=0.1, ge=0, le=1)
    strict: bool = False

    @property
    def keeps_features(self) -> bool:
        """Whether features that a video came with are its features."""
        return not (self.audio_weights and self.replace_features)
