"""The audio branch of a network: an encoder of its own, features that somebody made, or nothing.

Letters: F frames, each with its second of sound.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn

from models.audio.encoders import ENCODERS
from models.audio.log_mel import SAMPLE_RATE_HZ
from models.audio.vggish import EMBEDDING_CHANNELS

MAY_BE_ZERO = ("backbone_frozen_parts", "video_encoder_layers")


@dataclass(frozen=True, kw_only=True)
class AudioConfig:
    """Settings of the audio branch; the defaults are as published. Base of every network's settings.

    Raises:
        ValueError: a number of something is none, or too small.
    """

    audio: Literal["features", "vggish", "none"] = "features"
    audio_channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    audio_hidden: int = 4096
    audio_normalise: bool = False
    audio_weights: str | None = None  # a file of published VGGish weights
    audio_frozen: bool = False  # the encoder keeps its weights
    audio_postprocess: bool = False  # the encoder's output is whitened and in 8 bits, as in released ACVIS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(field.default, int) or isinstance(field.default, bool):
                continue
            least = 0 if field.name in MAY_BE_ZERO else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{field.name} is {value!r}; allowed: whole numbers from {least} on")


class AudioNetwork(nn.Module):
    """Base of the networks: ``build_audio_encoder`` once, then ``encode_audio``."""

    log_mel: nn.Module | None
    audio_encoder: nn.Module | None
    _deaf: bool
    _frozen: bool

    def build_audio_encoder(self, config: AudioConfig) -> None:
        """Make the audio encoder that the settings ask for, if any.

        Raises:
            ValueError: no such choice of ``audio``, or the file of weights does not fit.
        """
        allowed = ("features", *ENCODERS, "none")
        if config.audio not in allowed:
            raise ValueError(f"audio is {config.audio!r}; allowed: {', '.join(allowed)}")
        self._deaf, self._frozen = config.audio == "none", config.audio_frozen
        self.log_mel = self.audio_encoder = None
        if config.audio in ENCODERS:
            self.log_mel, self.audio_encoder = ENCODERS[config.audio](
                channels=tuple(config.audio_channels),
                hidden=config.audio_hidden,
                normalise=config.audio_normalise,
                postprocess=config.audio_postprocess,
                weights=Path(config.audio_weights) if config.audio_weights else None,
            )
            self.audio_encoder.requires_grad_(not config.audio_frozen)

    def train(self, mode: bool = True) -> Self:
        """As every module's; a frozen audio encoder stays in evaluation mode."""
        super().train(mode)
        if self.audio_encoder is not None and self._frozen:
            self.audio_encoder.eval()
        return self

    def encode_audio(self, sound: Tensor | None) -> Tensor | None:
        """Sound of F frames -> embeddings [F, 128], or None for a deaf model.

        ``sound`` is [F, 16000] samples for a trainable encoder, [F, 128] for precomputed features.

        Raises:
            ValueError: it is of another shape.
        """
        if self._deaf or sound is None:
            return None
        wanted = EMBEDDING_CHANNELS if self.audio_encoder is None else SAMPLE_RATE_HZ
        if sound.ndim != 2 or sound.shape[1] != wanted:
            kind = "features" if self.audio_encoder is None else "samples"
            raise ValueError(
                f"the sound has shape {list(sound.shape)}; this model hears [frames, {wanted}] {kind}"
            )
        if self.audio_encoder is None or self.log_mel is None:
            return sound
        # a spectrum spans many orders of magnitude: in reduced precision its quiet bands would be noise
        with torch.autocast(sound.device.type, enabled=False):
            log_mel = self.log_mel(sound)  # [F, 96, 64]
        return self.audio_encoder(log_mel)  # [F, 128]
