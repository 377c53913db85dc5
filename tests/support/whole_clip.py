"""A clip decoded as a whole, for tests that look at its pictures and sound together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.media.pictures_by_timestamp import ClipReader


@dataclass(slots=True)
class Clip:
    """Pictures, RGB uint8 [H, W, 3], mono sound in [-1, 1), and the middle of each picture's time."""

    frames: list[NDArray[np.uint8]]
    audio: NDArray[np.float32]
    timestamps_s: list[float]
    width: int
    height: int
    duration_s: float


def read_clip(path: Path, frame_rate_hz: float = 1.0, **options: Any) -> Clip:
    """Decode a video file; options as of ClipReader."""
    reader = ClipReader(path, frame_rate_hz=frame_rate_hz, **options)
    pictures = list(reader)
    height, width = pictures[0][1].shape[:2]
    return Clip(
        frames=[picture for _, picture in pictures],
        audio=reader.audio.astype(np.float32) / 32768.0,
        timestamps_s=[time_s for time_s, _ in pictures],
        width=width,
        height=height,
        duration_s=reader.duration_s,
    )
