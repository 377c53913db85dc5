"""Frames and masks at the size at which a page shows them, and pictures inside of a page."""

import base64
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.records.masks import Segmentation, decode

Picture = NDArray[np.uint8]


def read_picture(path: Path, *, width_px: int) -> Picture | None:
    """Read a picture, [h, w, 3] RGB, scaled to a width; None where it cannot be read."""
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.is_file() else None
    if picture is None:
        return None
    height_px = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    return np.asarray(cv2.resize(picture, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)


def scaled_mask(segmentation: Segmentation, height: int, width: int, picture: Picture) -> NDArray[np.bool_]:
    """Decode a mask of height x width pixels to the size of a picture, [h, w]."""
    import cv2

    mask = decode(segmentation, height, width).astype(np.uint8)
    return np.asarray(cv2.resize(mask, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST), bool)


def jpeg_uri(picture: Picture, *, quality: int) -> str:
    """Return a picture [h, w, 3] RGB as a data URI."""
    import cv2

    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
