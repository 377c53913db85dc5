"""Frames and masks of AVSBench as arrays. H and W: height and width, in pixels."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.core.run.errors import AvisError

_MOST_PIXELS = 50_000_000
_WHITE = 128  # grey values from here on are white


def read_frame(path: Path) -> NDArray[np.uint8]:
    """RGB [H, W, 3].

    Raises:
        AvisError: the file is missing or no picture.
    """
    with _open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_object_mask(path: Path) -> NDArray[np.bool_]:
    """Where something sounds, bool [H, W], from a black and white picture.

    Raises:
        AvisError: the file is missing or no picture, or its brightest pixel is neither black nor white.
    """
    with _open(path) as picture:
        grey = np.asarray(picture.convert("L"))
    brightest = int(grey.max())
    if 0 < brightest < _WHITE:
        raise AvisError(
            f"the brightest pixel of the mask has the grey value {brightest}, white is 255",
            where=str(path),
            fix="Get the file again, or write what sounds as 255.",
        )
    return grey >= _WHITE


def read_probability(path: Path) -> NDArray[np.float32]:
    """Grey values as probabilities, 0 to 1, float32 [H, W].

    Raises:
        AvisError: the file is missing or no picture of 8 bits a pixel.
    """
    with _open(path) as picture:
        _require_mode(picture, path, ("1", "L", "P", "RGB"))
        return np.asarray(picture.convert("L"), np.float32) / np.float32(255)


def read_colours(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """RGB [H, W, 3]; of a picture of another size than (height, width), the nearest pixels.

    Raises:
        AvisError: the file is missing or no picture.
    """
    with _open(path) as picture:
        return np.asarray(_nearest(picture.convert("RGB"), size))


def read_class_ids(path: Path, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """The values of a picture with one byte a pixel [H, W], as `read_colours`; None: it holds colours.

    Raises:
        AvisError: the file is missing or no picture of 8 bits a pixel and channel.
    """
    with _open(path) as picture:
        _require_mode(picture, path, ("L", "P", "RGB"))
        return None if picture.mode == "RGB" else np.asarray(_nearest(picture, size))


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path, formats=("PNG", "JPEG"))
        if picture.width * picture.height > _MOST_PIXELS:
            raise AvisError(
                f"the picture has {picture.width}x{picture.height} pixels",
                where=str(path),
                fix="Make it smaller.",
            )
        picture.load()
    except FileNotFoundError:
        raise AvisError("the picture is missing", where=str(path)) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).partition(" '")[0].partition(" in ")[0]
        raise AvisError(
            f"the picture cannot be read: {reason}", where=str(path), fix="Get the file again."
        ) from None
    return picture


def _require_mode(picture: Image.Image, path: Path, allowed: tuple[str, ...]) -> None:
    if picture.mode not in allowed:
        raise AvisError(
            f"the mask's pixels are of the kind {picture.mode}",
            where=str(path),
            fix="Write 8 bits a pixel, or RGB without transparency.",
        )


def _nearest(picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    if size is None or (picture.height, picture.width) == size:
        return picture
    return picture.resize(size[::-1], Image.Resampling.NEAREST)
