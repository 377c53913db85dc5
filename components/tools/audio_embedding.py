"""The audio embeddings of a trained model, for FEATAudios of `avis export aviseg`."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from models.networks.registry import Network


@dataclass
class AudioEmbedding:
    """The audio encoder of a trained model; it is loaded in the process that uses it."""

    folder: Path

    def check(self) -> None:
        """Raise AvisError unless the model is there and has an encoder."""
        if _model(self.folder).audio_encoder is None:
            raise AvisError("this model has no audio encoder", where=str(self.folder))

    def __call__(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mono sound at 16 kHz [n] to one embedding per second [seconds, 128]."""
        import torch

        from components.core.clips.reader import seconds_of_sound

        model = _model(self.folder)
        assert model.log_mel is not None and model.audio_encoder is not None  # noqa: S101 (see check)
        with torch.inference_mode():
            seconds = seconds_of_sound(sound, len(sound) // 16_000)
            embedded = model.audio_encoder(model.log_mel(torch.from_numpy(seconds)))
        return np.asarray(embedded.numpy(), dtype=np.float32)


@cache  # once per process, for all videos that it embeds
def _model(folder: Path) -> "Network":
    from models.checkpoints.saved import load_model

    try:
        return load_model(folder)[0]
    except (FileNotFoundError, ValueError) as error:
        raise AvisError(f"the model cannot be loaded: {error}", where=str(folder)) from None
