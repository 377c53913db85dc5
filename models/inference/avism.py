"""AVISM on a clip of any length: frames chunk by chunk, the video module over them as they come.

Letters: T frames (t of a chunk), V video queries, n of them, C channels, K categories, h w size of a map.
"""

from pathlib import Path

import torch
from torch import Tensor

from models.inference.video_module_stream import VideoStream
from models.networks.avism.avism import Avism


class AvismPredictor:
    """An Avism on one clip (models.inference.offline.ClipPredictor), in constant memory."""

    def __init__(
        self, model: Avism, work_folder: Path | None = None, stream: type[VideoStream] = VideoStream
    ) -> None:
        self._model = model
        self._stream = stream(model.video_module, work_folder)
        self._embeds = torch.empty(0)  # mask embeddings [V, C], after the last frame
        self._frames = 0
        self._heard: list[Tensor] = []  # of each chunk: [t, K] logits of the head that only hears

    def add(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """See ClipPredictor."""
        audio = self._model.encode_audio(sound)
        output, features = self._model.decode_frames(frames, audio)  # features [t, C, h, w]
        self._stream.push(output.queries[-1], audio)
        self._frames += len(frames)
        if audio is not None and self._model.audio_tags is not None:
            self._heard.append(self._model.audio_tags(audio))
        return features

    def class_probabilities(self) -> Tensor:
        """See ClipPredictor."""
        output = self._stream.finish()
        self._embeds = output.mask_embeds
        return output.logits.softmax(-1)[:, :-1]  # [V, K]: the last class is "no object"

    def presence(self, queries: Tensor) -> Tensor:
        """See ClipPredictor. Without a presence head a query sounds in every frame."""
        presence = self._stream.presence(queries)
        return torch.full((len(queries), self._frames), torch.inf) if presence is None else presence

    def heard(self) -> Tensor | None:
        """See ClipPredictor. Known to a model with `audio_tagging` that hears."""
        return torch.cat(self._heard) if self._heard else None

    def mask_features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """See ClipPredictor. They do not depend on the sound."""
        return self._model.video_mask_features(frames, None)

    def mask_logits(self, features: Tensor, queries: Tensor, frame: int) -> Tensor:
        """See ClipPredictor. A query has the same embedding in every frame."""
        return torch.einsum("nc,chw->nhw", self._embeds[queries], features)

    def close(self) -> None:
        """See ClipPredictor."""
        self._stream.close()
