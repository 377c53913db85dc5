"""What can happen to a clip's pictures. Pictures are uint8 [H, W, 3], RGB."""

import numpy as np
from numpy.typing import NDArray

from components.core.disturbance.params import DisturbParams

Picture = NDArray[np.uint8]
_GAMMA = 2.2  # a picture's value to this power is its light
_PHOTONS = (
    1000.0  # that a pixel at full light gets: with less light they are fewer, and their number is noise
)


def disturb_picture(picture: Picture, params: DisturbParams, chance: np.random.Generator) -> Picture:
    """A picture as it arrives: the lens, the sensor, the file."""
    import cv2

    if params.blur_px is not None:
        picture = cv2.GaussianBlur(picture, (0, 0), params.blur_px)
    if params.light is not None:
        picture = darken(picture, params.light, chance)
    if params.jpeg_quality is not None:
        turned = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        _, coded = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality])
        picture = cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return picture


def darken(picture: Picture, light: float, chance: np.random.Generator) -> Picture:
    """The picture with this share of its light, and the noise of so few photons."""
    full = (np.arange(256) / 255) ** _GAMMA * light * _PHOTONS  # of each value
    photons = chance.poisson(full[picture])
    values = np.clip(photons / _PHOTONS, 0, 1) ** (1 / _GAMMA) * 255
    return np.round(values).astype(np.uint8)


def last_that_came(index: int, frames: int, share: float, chance: np.random.Generator) -> int:
    """The frame that is shown as number `index` where this share of all, but never the first, is lost."""
    lost = {int(frame) + 1 for frame in chance.permutation(frames - 1)[: round(share * frames)]}
    return next(frame for frame in range(index, -1, -1) if frame not in lost)
