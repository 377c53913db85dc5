"""Pictures that need no decoding: nobody is shown them, and no other picture is made of them.

Of H.264 alone: a picture that says there that it is no reference is none. HEVC's may be one for other layers,
and other codecs have none, or their decoders skip none.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from components.core.media.container import ROUNDING_S, in_seconds

if TYPE_CHECKING:
    from av import Packet, VideoStream

_REORDERED = 16  # H.264 puts no picture more than so many places before its turn


class UnseenPictures:
    """Tells a decoder to skip what lies between the moments of which a picture is wanted.

    Args:
        video: its decoder is told.
        rate_hz: wanted is what is shown at (k + 0.5) / rate_hz.
        origin_s: the file's time from which these count.
    """

    def __init__(self, video: VideoStream, rate_hz: float | None, origin_s: float) -> None:
        self._context = video.codec_context
        self._rate_hz = rate_hz if self._context.codec.name == "h264" else None
        self._origin_s = origin_s
        self._shown_s: deque[float] = deque(maxlen=_REORDERED)  # of the packets before
        self._skips = False

    def look_at(self, packet: Packet) -> None:
        """To be called with each of the stream's packets before it is decoded.

        One is skipped where a picture that came before it is shown after it, and before the next moment of
        which a picture is wanted; it is decoded all the same if others are made of it.
        """
        if self._rate_hz is None:
            return
        skips = False
        if packet.pts is not None and not packet.is_discard:
            time_s = in_seconds(packet.pts, packet.time_base) - self._origin_s
            moment = math.ceil((time_s - 2 * ROUNDING_S) * self._rate_hz - 0.5)
            moment_s = (moment + 0.5) / self._rate_hz
            skips = any(time_s < later_s <= moment_s for later_s in self._shown_s)
            self._shown_s.append(time_s)
        if skips != self._skips:
            self._skips = skips
            self._context.skip_frame = "NONREF" if skips else "DEFAULT"
