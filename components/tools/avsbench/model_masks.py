"""Masks that a model of this pipeline finds in AVSBench's videos."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.clips.reader import SAMPLE_RATE_HZ, cut_seconds, resize
from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.media.audio_features import embed_seconds
from components.core.media.published_sound import Resampling, soundtrack_for
from components.core.media.sound import stream_sound
from components.core.records.masks import decode
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.core.video.clip import check_encoder
from components.tools.avsbench.layouts import AvsVideo
from components.tools.avsbench.pictures import read_frame
from models.inference.moments import ClipError, Moment


class FoundMasks:
    """A trained model that looks at one video after the other.

    Args:
        model_folder: what training wrote.
        params: the `predict` block: its threshold and number of tracks are those of `avis predict`.
        audio_weights: `extract.audio_weights`, needed by a model that hears audio features.
        resampling: `extract.resampling`, so that it hears as it learned.

    Raises:
        AvisError: there is no model, or no encoder for what it hears.
    """

    def __init__(
        self,
        model_folder: Path,
        params: PredictParams,
        audio_weights: Path | None,
        resampling: Resampling = "ffmpeg",
    ) -> None:
        self._resampling: Resampling = resampling
        self._predictor = Predictor.load(model_folder, params)
        self._audio = self._predictor.model.config.audio
        self._audio_weights = audio_weights
        if self._audio == "features":
            check_encoder(self._predictor.card, audio_weights, model_folder)
        self.class_of: Mapping[int, int] = {}  # AVSS: category id to class id; others count as background

    @property
    def categories(self) -> dict[int, str]:
        """What the model tells apart: names by id."""
        return self._predictor.card.categories

    @property
    def score_threshold(self) -> float:
        """Tracks below are no masks."""
        return self._predictor.score_threshold

    @property
    def hears(self) -> bool:
        """Does the model need the sound?"""
        return self._audio != "none"

    def probabilities(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.float32]:
        """1 where any object sounds, of whatever category, else 0: [T, *size].

        Raises:
            AvisError: a file of the video is missing or damaged.
        """
        union = np.zeros((len(video.frames), *size), bool)
        for track in self._tracks(video, size):
            for frame, mask in zip(union, track.segmentations, strict=True):
                frame |= decode(mask, *size)
        return union[: len(video.masks)].astype(np.float32)

    def classes(self, video: AvsVideo, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Class ids [T, *size]. Where objects overlap, the one with the highest score is seen.

        Raises:
            AvisError: as `probabilities`.
        """
        classes = np.zeros((len(video.frames), *size), np.uint8)
        for track in reversed(self._tracks(video, size)):  # best last
            label = self.class_of.get(track.category_id)
            if label is not None:
                for frame, mask in zip(classes, track.segmentations, strict=True):
                    frame[decode(mask, *size)] = label
        return classes

    def _tracks(self, video: AvsVideo, size: tuple[int, int]) -> list[Result]:
        """Best first."""
        try:
            return self._predictor.predict(1, lambda: self._moments(video), height=size[0], width=size[1])
        except ClipError as error:
            where = str(video.frames[0].parent)
            raise AvisError(f"the video cannot be predicted: {error}", where=where) from error

    def _moments(self, video: AvsVideo) -> Iterator[Moment]:
        sounds = self._seconds(video) if self.hears else None
        for path in video.frames:
            frame = resize(read_frame(path), self._predictor.card.short_side_px)
            yield frame, next(sounds) if sounds is not None else None

    def _seconds(self, video: AvsVideo) -> Iterator[NDArray[np.float32]]:
        """What the model hears with each frame; sound that is too short is silent after its end."""
        sound = soundtrack_for(video.sound, self._resampling, rate_hz=SAMPLE_RATE_HZ)
        pieces = stream_sound(video.sound, rate_hz=SAMPLE_RATE_HZ, sound=sound)
        endless = cut_seconds(piece[:, 0].astype(np.float32) / np.float32(32768) for piece in pieces)
        seconds = islice(endless, len(video.frames))
        if self._audio == "features" and self._audio_weights is not None:
            return embed_seconds(seconds, weights=self._audio_weights)
        return seconds
