"""Clips that extract made, as a model sees and hears them."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.clips.reader import read_features, read_frame, read_seconds, resize
from components.core.inference.predictor import Predictor
from components.core.records.annotations import Video
from models.inference.moments import Moment


def clip_moments(predictor: Predictor, media: Path, video: Video) -> Iterator[Moment]:
    """Frames and sound of a clip, read as they are asked for; media: data/media or its local copy."""
    audio = predictor.model.config.audio
    sounds: Iterator[NDArray[np.float32] | None] = repeat(None, video.length)
    if audio == "features":
        sounds = iter(read_features(media, video))
    elif audio == "vggish":
        sounds = read_seconds(media, video, range(video.length), predictor.card.frame_rate_hz)
    for index, sound in enumerate(sounds):
        yield resize(read_frame(media, video, index), predictor.card.short_side_px), sound
