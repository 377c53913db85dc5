"""A decoded picture as it is to be seen: turned, with square pixels, in ordinary colours."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from numpy.typing import NDArray

from components.core.media import colours
from components.core.media.container import square_width
from components.core.records.changes import Kind

if TYPE_CHECKING:
    from av import VideoFrame

_ASLANT_DEG = 2  # a rotation further than this from a quarter turn is none
_ASLANT = (
    Kind.GUESSED,
    "it is to be turned by an angle between quarter turns; the nearest of them was taken",
)


_DOUBTFUL = (
    Kind.GUESSED,
    "packets before it are lost or damaged, and no key picture came since: it may show what was there before",
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, not yet converted: shown from `time_s` (of the clip) for `length_s`.

    is_doubtful: what it was to be made of is lost.
    """

    frame: VideoFrame
    time_s: float
    length_s: float
    pixel_aspect: Fraction | None
    is_doubtful: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as seen, turned and with square pixels."""
        width, height = square_width(self.frame.width, self.pixel_aspect), self.frame.height
        return (height, width) if _orientation(self.frame)[0] else (width, height)

    @property
    def oddities(self) -> list[tuple[Kind, str]]:
        """What `rgb` has to change or guess: kinds and reasons for `Changes`."""
        aslant = abs((self.frame.rotation + 45) % 90 - 45) > _ASLANT_DEG
        return colours.oddities(self.frame) + [_ASLANT] * aslant + [_DOUBTFUL] * self.is_doubtful

    def rgb(
        self, *, size_px: tuple[int, int] | None = None, max_height_px: int | None = None
    ) -> NDArray[np.uint8]:
        """The picture as it is seen, turned and with square pixels: uint8 [height, width, 3].

        Args:
            size_px: width and height to scale it to; None for its own.
            max_height_px: a picture that would be higher is made smaller.

        Raises:
            MediaError: its colours are coded in a way that is not converted.
        """
        width, height = size_px or self.size_px
        if max_height_px is not None and height > max_height_px:
            scale = max_height_px / height
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        is_transposed, step_x, step_y = _orientation(self.frame)
        if is_transposed:
            array = colours.to_rgb(self.frame, height, width).swapaxes(0, 1)
        else:
            array = colours.to_rgb(self.frame, width, height)
        return np.ascontiguousarray(array[::step_y, ::step_x])


def _orientation(frame: VideoFrame) -> tuple[bool, int, int]:
    """What the display matrix asks for: rows and columns exchanged, then the steps in x and in y."""
    # not frame.side_data: the frame would hold what holds it, and hundreds wait for Python's collector
    sides = SideDataContainer(frame)  # type: ignore[call-arg]  # its stub leaves the frame out
    data = next((data for data in sides if data.type is Type.DISPLAYMATRIX), None)
    if data is None:
        return False, 1, 1
    # seen at x' = a x + c y, y' = b x + d y; the first two of three rows, 16.16
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    is_transposed = abs(a) < abs(c)
    to_x, to_y = (c, b) if is_transposed else (a, d)
    return is_transposed, -1 if to_x < 0 else 1, -1 if to_y < 0 else 1
