"""From decoded pictures to RGB: what their colours mean, HDR, and two moments in one picture.

Matrix and range are those that the file names; where it names none, BT.601 and limited, as FFmpeg takes it.
Primaries are converted for HDR only: of ordinary video they lie near each other.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from components.core.media.container import MediaError, MediaProblem
from components.core.records.changes import Kind

if TYPE_CHECKING:
    from av import VideoFrame

_HDR = (
    Kind.CLIPPED,
    "it is HDR; it was brought to the brightness and the colours of ordinary video",
)
_INTERLACED = (
    Kind.FILLED,
    "it is interlaced; of its two moments the upper field's was taken, and the lines between filled from it",
)
_NO_MATRIX = (Kind.GUESSED, "how its colours are coded is not told in a way that is known; BT.601 was taken")
_NO_RANGE = (Kind.GUESSED, "its range of levels is not told in a way that is known; limited was taken")

# H.273, table 4. FFmpeg converts the first ones; 0 is RGB, 2 unspecified.
_CONVERTED = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
_NOT_CONVERTED = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE 2085",
    13: "constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-R",
    17: "YCgCo-R",
}
_UNSPECIFIED = 2

# BT.2087-0 inverted: linear light of BT.2020's primaries in those of BT.709, a row for each.
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_WHITE = 203.0  # cd/m², of paper in HDR (BT.2408); 1.0 from here on
_KNEE = 0.6  # of that white: up to here light stays as it is, brighter is compressed below 1.0
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # BT.2100, table 5: the display's peak, cd/m², and its system gamma
_DISPLAY_GAMMA = 2.4  # BT.1886
_own = threading.local()  # a thread's reformatter
_STEPS = 4096  # of linear light's square root, finer than 8 bits


def to_rgb(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """A picture as ordinary video shows it, scaled: uint8 [height, width, 3].

    Raises:
        MediaError: its colours are coded in a way that is not converted.
    """
    try:
        return _converted(frame, width, height)
    except av.error.FFmpegError as error:
        raise MediaError(
            f"its pictures ({frame.format.name}) cannot be converted: {error.strerror}",
            problem=MediaProblem.UNSUPPORTED,
            fix="Save the video as H.264 with the colours of BT.709.",
        ) from None


def _converted(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    if frame.interlaced_frame and frame.height > 1:
        field = _rgb_of_moments(frame, frame.width, frame.height)[::2]  # [ceil(height / 2), width, 3]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(field), format="rgb24")
    return _rgb_of_moments(frame, width, height)


def reformat(frame: VideoFrame, pixels: str, width: int, height: int) -> VideoFrame:
    """As the frame's own `reformat`, which makes its tables anew for each frame."""
    if not hasattr(_own, "reformatter"):
        _own.reformatter = VideoReformatter()
    return _own.reformatter.reformat(frame, width, height, pixels, threads=1)


def oddities(frame: VideoFrame) -> list[tuple[Kind, str]]:
    """What `to_rgb` has to change or guess."""
    found = []
    if _is_hdr(frame):
        found.append(_HDR)
    if frame.interlaced_frame and frame.height > 1:
        found.append(_INTERLACED)
    if frame.colorspace not in _CONVERTED and frame.colorspace not in _NOT_CONVERTED:
        found.append(_NO_MATRIX)
    if frame.color_range not in list(ColorRange)[:3]:
        found.append(_NO_RANGE)
    return found


def _is_hdr(frame: VideoFrame) -> bool:
    return frame.color_trc in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def _rgb_of_moments(frame: VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """RGB; of an interlaced picture its lines stay where they are."""
    if frame.colorspace in _NOT_CONVERTED:
        raise MediaError(
            f"its pictures' colours are coded as {_NOT_CONVERTED[frame.colorspace]}, which is not converted",
            problem=MediaProblem.UNSUPPORTED,
            fix="Save the video with the colours of BT.709.",
        )
    if frame.colorspace not in _CONVERTED:
        frame.colorspace = _UNSPECIFIED
    if frame.color_range not in list(ColorRange)[:3]:
        frame.color_range = ColorRange.UNSPECIFIED
    if not _is_hdr(frame):
        frame = reformat(frame, "rgb24", width, height)
        return np.asarray(frame.to_ndarray(), dtype=np.uint8)
    signal = frame.to_ndarray(format="rgb48le", width=width, height=height)  # uint16 [height, width, 3]
    is_hlg = frame.color_trc == ColorTrc.ARIB_STD_B67
    light = _light_of_hlg(signal) if is_hlg else _pq_table()[signal]  # 1.0 is white
    if frame.color_primaries != ColorPrimaries.BT709:
        light = light @ _TO_BT709.T
    return _shown(light)


def _shown(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Light of any brightness as levels: bright colours keep their hue, what is out of range is clipped."""
    peak = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])  # many times faster than max
    room = 1.0 - _KNEE
    compressed = 1.0 - room * np.exp(np.minimum(_KNEE - peak, 0.0) / room)
    light = light * np.where(peak > _KNEE, compressed / np.maximum(peak, _KNEE), 1.0)[..., None]
    index = np.sqrt(np.clip(light, 0.0, 1.0)) * (_STEPS - 1) + 0.5
    return _display_table()[index.astype(np.uint16)]


@cache
def _display_table() -> NDArray[np.uint8]:
    """The level of each square root of light."""
    light = np.linspace(0.0, 1.0, _STEPS) ** 2
    return np.round(255 * light ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)


@cache
def _pq_table() -> NDArray[np.float32]:
    """Light of each 16-bit signal, SMPTE 2084 (BT.2100, table 4); 1.0 is white."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = np.linspace(0.0, 1.0, 65536) ** (1 / m2)
    nits = 10_000 * (np.maximum(root - c1, 0.0) / (c2 - c3 * root)) ** (1 / m1)
    return (nits / _WHITE).astype(np.float32)


@cache
def _hlg_table() -> NDArray[np.float32]:
    """Light of the scene of each 16-bit signal (BT.2100, table 5), 1.0 at the highest."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.linspace(0.0, 1.0, 65536)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


def _light_of_hlg(signal: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Light of the display, 1.0 is white: the system's gamma is applied to the scene's luminance."""
    scene = _hlg_table()[signal]
    luminance = scene @ np.array([[0.2627], [0.6780], [0.0593]], np.float32)
    gain = np.maximum(luminance, 1e-9) ** np.float32(_HLG_GAMMA - 1) * np.float32(_HLG_PEAK / _WHITE)
    return np.asarray(scene * gain, dtype=np.float32)
