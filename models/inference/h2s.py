"""H2S on a clip: as AVISM, but for the scans that hear, which go over the whole clip, both ways.

Letters: T frames (t of a chunk), S sources, A audio, Q queries, C channels, h w size of a map.
"""

from pathlib import Path

import torch
from torch import Tensor

from models.inference.avism import AvismPredictor
from models.inference.video_module_stream import FrameStore, VideoStream, WindowedLayer
from models.networks.h2s.h2s import H2s


class ScanStream(VideoStream):
    """Feeds an H2S's video module: windows as they come, scans after the last frame.

    Unlike AVISM's its memory grows with the clip: a scan begins at the end of it.
    """

    _sources: list[Tensor]
    _sounds: bool

    def push(self, queries: Tensor, audio: Tensor | None) -> None:
        """The next frames: frame queries [t, Q, C] and sources [t, S, A] or None (deaf, then always)."""
        if self._hears is None:
            self._sources, self._sounds = [], audio is not None
        elif (audio is not None) != self._sounds:
            raise ValueError("some frames of the clip have sound and others have none")
        if audio is not None and self.module.hears:
            self._sources.append(audio)
        super().push(queries, None)

    def _hearing_layers(self) -> list[WindowedLayer]:
        return []

    def _hear_whole(self) -> None:
        if not self._sources:
            return
        frames = torch.cat(list(self._blocks()))  # [T, Q, C]
        heard = self.module.hear(frames[None], torch.cat(self._sources)[None])[0]
        self._memory.close()
        self._memory = FrameStore(self._work_folder)
        self._memory.append(heard)


class H2sPredictor(AvismPredictor):
    """An H2s on one clip (models.inference.offline.ClipPredictor)."""

    def __init__(self, model: H2s, work_folder: Path | None = None) -> None:
        super().__init__(model, work_folder, ScanStream)

    def mask_features(self, frames: Tensor, sound: Tensor | None) -> Tensor:
        """See ClipPredictor. The maps that they are made of hear."""
        return self._model.video_mask_features(frames, self._model.encode_audio(sound))
