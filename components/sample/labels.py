"""The label rule: an object is labelled in a frame if it sounds in that second and is visible there."""

import numpy as np
import numpy.typing as npt

from components.sample.mix import sounding
from components.sample.scene_parts import Scene

LEAST_VISIBLE_PX = 30  # in a frame of 640x360; in proportion to the area at other sizes


def labelled(
    scene: Scene, seen: npt.NDArray[np.uint8], frame_index: int, frame_rate_hz: float = 1.0
) -> list[bool]:
    """Per object: is it annotated in this frame? seen: [H, W] object map of the frame's instant."""
    height, width = seen.shape
    least_px = max(1.0, LEAST_VISIBLE_PX * height * width / (640 * 360))
    pixels = np.bincount(seen.ravel(), minlength=len(scene.objects) + 1)[1:]
    heard = sounding(scene, frame_index, frame_rate_hz)
    return [sounds and bool(count >= least_px) for sounds, count in zip(heard, pixels, strict=True)]
