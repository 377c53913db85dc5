"""A video file as a model sees and hears it: its moments, decoded as they are asked for."""

from collections.abc import Iterator
from itertools import count, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from components.core.clips.index import FEATURES_OF_SOURCE
from components.core.clips.reader import SAMPLE_RATE_HZ, cut_seconds, resize
from components.core.media.ahead import ahead
from components.core.media.audio_features import embed_seconds, encoder_fingerprint
from components.core.media.container import probe
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.published_sound import Resampling, soundtrack_for
from components.core.media.sound import stream_sound
from components.core.records.changes import Changes
from components.core.run.errors import AvisError
from models.checkpoints.saved import CONFIG, ModelCard
from models.inference.moments import Moment


class VideoClip:
    """The moments of a video file, decoded anew each time it is called; nothing of it is kept.

    Sound is read through a file handle of its own: in some files it lies far from its pictures. Where it is
    shorter than the pictures it is silent, what is longer is not heard.

    Args:
        video: the file.
        rate_hz: moments per second.
        short_side_px: of the frames, as the model sees them.
        hears: whether it needs the sound.
        encoder: weights that make features of the sound.
        resampling: of the sound.
        progress: show a bar with rate and time left.
        muted_s: [start, end) that is silent to it.

    Attributes:
        height, width: of the video's pictures.
        frames, changes: how many moments, and what was changed on reading; known after a first pass.
    """

    def __init__(
        self,
        video: Path,
        rate_hz: float,
        short_side_px: int,
        *,
        hears: bool,
        encoder: Path | None = None,
        resampling: Resampling = "ffmpeg",
        progress: bool = True,
        muted_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._video, self._rate_hz, self._short_side_px, self._hears = video, rate_hz, short_side_px, hears
        self._resampling: Resampling = resampling
        self._encoder, self._progress, self._muted_s = encoder, progress, muted_s
        self._calls = 0
        self.frames = 0  # known after the first pass
        self.changes = Changes()  # likewise
        first = next(iter(self._reader()))[1]
        self.height, self.width = first.shape[:2]

    def __call__(self) -> Iterator[Moment]:
        return ahead(self._moments())

    def _moments(self) -> Iterator[Moment]:
        self._calls += 1
        what = "pass 1: find objects" if self._calls == 1 else "pass 2: masks"
        total = self.frames or round((probe(self._video).duration_s or 0) * self._rate_hz) or None
        sound = soundtrack_for(self._video, self._resampling, rate_hz=SAMPLE_RATE_HZ)
        pieces: Iterator[NDArray[np.int16]] = iter(())
        sounds: Iterator[NDArray[np.float32] | None] = repeat(None)
        if self._hears:
            pieces = stream_sound(self._video, rate_hz=SAMPLE_RATE_HZ, sound=sound)
            seconds = cut_seconds((floats(piece)[:, 0] for piece in pieces), self._rate_hz)
            if self._muted_s[1] > self._muted_s[0]:
                seconds = map(self._muted, seconds, count())
            if self._encoder is not None:
                seconds = embed_seconds(seconds, weights=self._encoder)
            sounds = seconds
        reader = self._reader()
        pictures = tqdm(
            reader, total=total, desc=what, unit="frame", mininterval=1.0, disable=not self._progress
        )
        frames = 0
        for (_, picture), heard in zip(pictures, sounds, strict=False):
            frames += 1
            yield resize(picture, self._short_side_px), heard
        for _ in pieces:
            pass  # what comes after the last picture is not heard, but may be odd
        self.frames, self.changes = frames, reader.changes
        self.changes.extend(sound.changes)

    def _muted(self, second: NDArray[np.float32], frame: int) -> NDArray[np.float32]:
        """The second of sound of a frame, silent where that is asked for."""
        begin, end = (
            min(max(round((time_s - frame / self._rate_hz) * SAMPLE_RATE_HZ), 0), len(second))
            for time_s in self._muted_s
        )
        heard = second.copy()
        heard[begin:end] = 0
        return heard

    def _reader(self) -> ClipReader:
        return ClipReader(
            self._video, frame_rate_hz=self._rate_hz, require_audio=self._hears, keep_audio=False
        )


def check_encoder(card: ModelCard, audio_weights: Path | None, model_folder: Path) -> None:
    """A model hears the features that it learned from: made with the same weights.

    Raises:
        AvisError: no weights are set, or others.
    """
    where = str(model_folder / CONFIG)
    if card.name == "h2s":
        raise AvisError(
            "an H2S hears separated sources of sound, and nothing here separates a video's",
            where=where,
            fix="Give it clips with features of separated sources (docs/networks.md), or name another model.",
        )
    if audio_weights is None:
        raise AvisError(
            "this model hears audio features, which first have to be made of the video's sound",
            where=where,
            fix="Set extract.audio_weights in params.yaml, or --audio-weights, to the VGGish weights that"
            " made the features that it learned from; AVISeg's were made with the published ones"
            " (docs/audio.md).",
        )
    made = encoder_fingerprint(audio_weights)
    if card.features_from not in ("", FEATURES_OF_SOURCE, made):
        raise AvisError(
            f"this model learned from audio features made with other weights than {audio_weights}",
            where=where,
            fix="Set extract.audio_weights in params.yaml to the file that made them.",
        )


def floats(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples of 16 bits in [-1, 1)."""
    return samples.astype(np.float32) / np.float32(32768)
