"""Clips that extract made, as a model sees and hears them."""

from collections.abc import Iterator
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from components.core.clips.reader import resize
from components.core.disturbance.clips import Clips
from components.core.inference.predictor import Predictor
from components.core.records.annotations import Video
from models.inference.moments import Moment


def clip_moments(predictor: Predictor, clips: Clips, video: Video) -> Iterator[Moment]:
    """Frames and sound of a clip, read as they are asked for."""
    audio = predictor.model.config.audio
    sounds: Iterator[NDArray[np.float32] | None] = repeat(None, video.length)
    if audio == "features":
        sounds = iter(clips.features(video, getattr(predictor.model.config, "audio_sources", None)))
    elif audio == "vggish":
        sounds = clips.seconds(video, range(video.length), predictor.card.frame_rate_hz)
    for index, sound in enumerate(sounds):
        yield resize(clips.frame(video, index), predictor.card.short_side_px), sound
