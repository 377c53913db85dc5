"""A clip out of a video file: pictures chosen by timestamp and the sound that belongs to them, in one decode.

The time convention of the whole pipeline: picture k of a clip belongs to the time [k, k + 1) / frame_rate
and is the one shown at its middle, (k + 0.5) / frame_rate; sound sample n is heard at n / sample_rate; both
count from the clip's start.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.core.media.container import ROUNDING_S, MediaError, MediaProblem
from components.core.media.decode import decode
from components.core.media.picture import Picture
from components.core.media.published_sound import Resampling, soundtrack_for
from components.core.media.sound import UnheardSound
from components.core.records.changes import Changes, Kind

_LONGEST_TOLERANCE_S = 0.05  # at the end of a clip
_SCALED = "the picture's size changes in the middle; it was scaled to the first one's"


class ClipReader:
    """Iterate over a clip's chosen pictures, (middle of its time in seconds, RGB uint8 [H, W, 3]).

    The file is decoded once, end to end, and only the chosen pictures are converted. All have one size, that
    of the file's first picture: where the size or the rotation changes in the middle, the others are scaled
    to it. After the last picture `audio` (mono int16 [n], aligned), `duration_s` and `changes` (the pictures
    that were scaled, and of a sound that was kept what was odd about its channels) are known.

    Args:
        path: any file that FFmpeg reads.
        frame_rate_hz: pictures per second to choose.
        sample_rate_hz: of the sound.
        max_height_px: pictures higher than this are made smaller.
        require_audio: if False, a file without sound gives silence instead of an error.
        keep_audio: if False, only the sound's length is read, `audio` stays empty: for a video of any length.
        threads: of the video decoder; 0 = one per core. Use 1 where processes share the cores.
        resampling: of the sound; "resampy" as before the published VGGish.

    Raises (while iterating):
        MediaError: the file is damaged, truncated, too short, or has no video or no sound.
    """

    def __init__(
        self,
        path: Path,
        *,
        frame_rate_hz: float = 1.0,
        sample_rate_hz: int = 16_000,
        max_height_px: int | None = None,
        require_audio: bool = True,
        keep_audio: bool = True,
        threads: int = 0,
        resampling: Resampling = "ffmpeg",
    ) -> None:
        self.path = path
        self.resampling: Resampling = resampling
        self.frame_rate_hz = frame_rate_hz
        self.sample_rate_hz = sample_rate_hz
        self.max_height_px = max_height_px
        self.require_audio = require_audio
        self.keep_audio = keep_audio
        self.threads = threads
        self.audio: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self.duration_s = 0.0
        self.changes = Changes()
        self._size_px = self._last_size_px = (0, 0)
        self._odd: set[str] = set()

    def __iter__(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        sound = (
            soundtrack_for(self.path, self.resampling, rate_hz=self.sample_rate_hz)
            if self.keep_audio
            else UnheardSound()
        )
        chosen: list[Picture] = []  # their second has not ended yet: it may be cut off
        count = given = 0  # pictures chosen, yielded
        shown: Picture | None = None
        self.changes, self._odd = Changes(), set()
        pictures = decode(
            self.path,
            sound,
            require_audio=self.require_audio,
            threads=self.threads,
            changes=self.changes,
            wanted_hz=self.frame_rate_hz,
        )
        for picture in pictures:
            if shown is not None and picture.time_s < shown.time_s:
                continue  # a damaged timestamp
            while shown is not None and self._middle_s(count) < picture.time_s - ROUNDING_S:
                chosen.append(shown)
                count += 1
            if shown is None:
                self._size_px = self._last_size_px = picture.size_px
            shown = picture
            while chosen and self._end_s(given) <= picture.time_s:
                yield self._middle_s(given), self._convert(chosen.pop(0), self._middle_s(given))
                given += 1
        if shown is None:
            raise MediaError("no picture could be decoded", where=str(self.path))
        self.duration_s = shown.time_s + shown.length_s
        # Containers round durations: half a picture that is missing at the end is not missing.
        tolerance_s = min(shown.length_s / 2, _LONGEST_TOLERANCE_S)
        frames = math.floor((self.duration_s + tolerance_s) * self.frame_rate_hz)
        if frames < 1:
            raise MediaError(
                f"the video lasts {self.duration_s:.3f} s, less than the time of one frame",
                problem=MediaProblem.TOO_SHORT,
                where=str(self.path),
                fix="Use a longer video, or choose more frames a second.",
            )
        chosen += [shown] * (frames - count)
        for index in range(given, frames):
            yield self._middle_s(index), self._convert(chosen.pop(0), self._middle_s(index))
        if self.keep_audio:
            self.audio = sound.samples(round(frames / self.frame_rate_hz * self.sample_rate_hz))[:, 0]
        self.changes.extend(sound.changes)

    def _convert(self, picture: Picture, middle_s: float) -> NDArray[np.uint8]:
        size_px, last = picture.size_px, self._last_size_px
        if size_px != self._size_px:
            change = f"{last[0]}x{last[1]} to {size_px[0]}x{size_px[1]} at {middle_s:g} s"
            self.changes.add(Kind.GUESSED, "frame", _SCALED, example="" if size_px == last else change)
        self._last_size_px = size_px
        for kind, why in picture.oddities:
            self.changes.add(kind, "frame", why, example=f"from {middle_s:g} s on" * (why not in self._odd))
            self._odd.add(why)
        try:
            return picture.rgb(size_px=self._size_px, max_height_px=self.max_height_px)
        except MediaError as error:
            error.where = str(self.path)
            raise

    def _middle_s(self, index: int) -> float:
        return (index + 0.5) / self.frame_rate_hz

    def _end_s(self, index: int) -> float:
        return (index + 1) / self.frame_rate_hz
