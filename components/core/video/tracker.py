"""A model from Python: `load("model_final.pth").track("clip.mp4")`."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from components.core.inference.params import PredictParams
from components.core.inference.predictor import Predictor
from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.published_sound import Resampling
from components.core.records.masks import decode
from components.core.video.any_model import Reading, load_any
from components.core.video.tracks import VideoTracks, find_in_video
from models.checkpoints.recognised import Audio, Choices
from models.weight_files.contents import Take


@dataclass(frozen=True)
class TrackedObject:
    """An object that sounds in a frame.

    number: the same through the video, from 1 on, the best first. mask: bool [H, W].
    """

    number: int
    category: str
    score: float
    mask: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """Unlike that of any other object of the video."""
        return f"{self.category} {self.number}"


@dataclass(frozen=True)
class TrackedFrame:
    """One computed frame of a video.

    number: from 0 on. time_s: of the picture. picture: RGB, uint8 [H, W, 3]. objects: those that sound in it.
    """

    number: int
    time_s: float
    picture: NDArray[np.uint8]
    objects: list[TrackedObject]


@dataclass(frozen=True)
class Tracker:
    """A model that is ready for videos.

    Attributes:
        predictor: the network, its card, and thresholds.
        path: where it came from.
        assumed: what the tensors of a released file do not show, a sentence each.
    """

    predictor: Predictor
    path: Path
    assumed: list[str]

    @property
    def categories(self) -> dict[int, str]:
        """What it can find, by id."""
        return self.predictor.card.categories

    def find(
        self,
        video: str | PathLike[str],
        *,
        rate_hz: float | None = None,
        audio_weights: str | PathLike[str] | None = None,
        resampling: Resampling = "ffmpeg",
        progress: bool = False,
    ) -> VideoTracks:
        """All objects of a video, their masks kept on disk.

        Args:
            video: the file, of any length.
            rate_hz: computed frames a second; None: as the model was trained.
            audio_weights: a file of VGGish weights, for a model that hears features.
            resampling: of the sound.
            progress: show bars on stderr.

        Raises:
            AvisError: it cannot be read, or has no sound that the model could hear.
        """
        return find_in_video(
            self.predictor,
            Path(video),
            model_path=self.path,
            rate_hz=rate_hz,
            audio_weights=Path(audio_weights) if audio_weights is not None else None,
            resampling=resampling,
            progress=progress,
        )

    def track(
        self,
        video: str | PathLike[str],
        *,
        rate_hz: float | None = None,
        audio_weights: str | PathLike[str] | None = None,
        resampling: Resampling = "ffmpeg",
        progress: bool = False,
    ) -> Iterator[TrackedFrame]:
        """The computed frames of a video one by one, each with the objects that sound in it.

        The whole video is looked at before the first frame comes: what an object is, is decided over it.
        Arguments and errors are those of `find`.
        """
        found = self.find(
            video, rate_hz=rate_hz, audio_weights=audio_weights, resampling=resampling, progress=progress
        )
        return frames_of(found)


def load(
    model: str | PathLike[str],
    *,
    categories: str = "",
    score_threshold: float | Literal["chosen"] = "chosen",
    most_tracks: int = 10,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    take: Take | None = None,
    heads: int | None = None,
    window: int | None = None,
    clip_frames: int | None = None,
    audio: Audio | None = None,
    short_side_px: int | None = None,
) -> Tracker:
    """A ready model from the folder of a training, or a released file of AVISM, ACVIS or TPAVI.

    Args:
        model: the folder or the file.
        categories: their names, comma-separated or a file, where the model's file does not name them.
        score_threshold: objects below are left out; "chosen": in training, else the published 0.3.
        most_tracks: objects of a video, at most.
        device: "auto": the GPU if there is one.
        take, heads, window, clip_frames, audio: what decides where tensors leave something open
            (models.checkpoints.recognised.Choices).
        short_side_px: of the frames that it sees; None: as published.

    Raises:
        AvisError: there is none, it is none, or it can be read in several ways; it says what decides.
    """
    path = Path(model)
    choices = Choices(take=take, heads=heads, window=window, clip_frames=clip_frames, audio=audio)
    params = PredictParams(score_threshold=score_threshold, most_tracks=most_tracks, device=device)
    predictor, assumed = load_any(path, params, Reading(choices, categories, short_side_px))
    return Tracker(predictor, path, assumed)


def frames_of(found: VideoTracks) -> Iterator[TrackedFrame]:
    """The computed frames of what was found in a video, decoded once more for their pictures."""
    reader = ClipReader(found.video, frame_rate_hz=found.rate_hz, require_audio=False, keep_audio=False)
    for number, (time_s, picture) in enumerate(reader):
        if number >= found.frames:  # the sound of a deaf reader's video may be longer
            break
        objects = [
            TrackedObject(thing.number, thing.category, thing.score, decode(mask, found.height, found.width))
            for thing in found.objects
            if (mask := thing.masks[number]) is not None
        ]
        yield TrackedFrame(number, time_s, picture, objects)
