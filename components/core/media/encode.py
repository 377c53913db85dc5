"""Writing video files: H.264 and AAC in MP4, playable everywhere."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from components.core.media.ahead import ahead
from components.core.media.colours import reformat
from components.core.run.files import replace_file

_TICKS = Fraction(1, 90_000)  # holds all usual picture rates exactly
# cpu-independent: otherwise the look-ahead reads past the end of a row, and bytes hang on what lies there
_X264 = {"preset": "veryfast", "crf": "18", "x264-params": "cpu-independent=1"}
_X264_QUICK = {**_X264, "preset": "ultrafast", "crf": "20"}  # a third of the time, up to three times the size
_AAC_QUICK = {"aac_coder": "fast"}  # two fifths to two thirds of the time, at the same bit rate


class VideoWriter:
    """An MP4 file that is being written: pictures with their times, and sound from time 0 on.

    One encoder thread, so that the same input gives the same bytes on any machine. Use it as a context.

    Args:
        path: where to write; not atomic by itself.
        width, height: of the pictures, in pixels; an odd one is made even by repeating the last line.
        frame_rate_hz: the usual rate of the pictures.
        audio_rate_hz: of the sound; None for a silent file.
        channels: of the sound, 1 or 2.
        quick: less time for a larger file.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        frame_rate_hz: float,
        audio_rate_hz: int | None,
        channels: int = 1,
        quick: bool = False,
    ) -> None:
        self._container = av.open(str(path), mode="w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(frame_rate_hz).limit_denominator(1001)
        self._video = self._container.add_stream(
            "libx264", rate=rate, options=dict(_X264_QUICK if quick else _X264)
        )
        self._video.width, self._video.height = width + width % 2, height + height % 2
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.time_base = _TICKS
        self._video.codec_context.thread_count = 1
        self._audio = None
        if audio_rate_hz is not None:
            layout = "mono" if channels == 1 else "stereo"
            options = dict(_AAC_QUICK) if quick else {}
            self._audio = self._container.add_stream(
                "aac", rate=audio_rate_hz, layout=layout, options=options
            )
            self._audio.codec_context.bit_rate = 96_000 * channels
        self._audio_rate_hz = audio_rate_hz
        self._samples = 0

    def picture(self, rgb: NDArray[np.uint8], time_s: float) -> None:
        """Add an RGB picture, uint8 [height, width, 3], shown from `time_s` on."""
        self.frame(as_frame(rgb), time_s)

    def frame(self, frame: av.VideoFrame, time_s: float) -> None:
        """Add a picture that `as_frame` made."""
        frame.pts, frame.time_base = round(time_s / _TICKS), _TICKS
        self._container.mux(self._video.encode(frame))

    def sound(self, samples: NDArray[np.float32]) -> None:
        """Add the next samples, float32 [n] or [n, channels] in [-1, 1]."""
        if self._audio is None or not len(samples):
            return
        array = np.ascontiguousarray(samples.reshape(len(samples), -1).T, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(
            array, format="fltp", layout="mono" if len(array) == 1 else "stereo"
        )
        frame.sample_rate = self._audio_rate_hz
        frame.pts, frame.time_base = self._samples, Fraction(1, self._audio_rate_hz or 1)
        self._samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._video.encode(None))
            if self._audio is not None:
                self._container.mux(self._audio.encode(None))
        self._container.close()


def as_frame(rgb: NDArray[np.uint8]) -> av.VideoFrame:
    """An RGB picture, uint8 [height, width, 3], as `VideoWriter` takes it: even, in the colours of H.264."""
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(rgb), format="rgb24")  # not copied
    return reformat(frame, "yuv420p", frame.width, frame.height)


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    frame_rate_hz: float,
    audio: Iterable[NDArray[np.float32]] | NDArray[np.float32] | None = None,
    audio_rate_hz: int = 16_000,
    quick: bool = False,
) -> None:
    """Write an MP4 (H.264 yuv420p, AAC); the file is there completely or not at all.

    Args:
        path: the file.
        frames: RGB pictures, uint8 [height, width, 3], all of one size; at least one.
        frame_rate_hz: pictures per second.
        audio: float32 [n] or [n, channels] (one or two) in [-1, 1], from the first picture on: as one array,
            or in pieces, of which only those of the current picture are held.
        audio_rate_hz: samples per second.
        quick: less time for a larger file.

    Raises:
        ValueError: there is no picture.
    """
    with replace_file(path, ".mp4") as temporary:
        writer: VideoWriter | None = None
        sound = None if audio is None else _Pieces([audio] if isinstance(audio, np.ndarray) else audio)
        try:
            for index, frame in enumerate(ahead(map(as_frame, frames))):
                if writer is None:
                    writer = VideoWriter(
                        temporary,
                        width=frame.width,
                        height=frame.height,
                        frame_rate_hz=frame_rate_hz,
                        audio_rate_hz=None if sound is None else audio_rate_hz,
                        channels=1 if sound is None else sound.channels,
                        quick=quick,
                    )
                writer.frame(frame, index / frame_rate_hz)
                if sound is not None:  # beside its picture, so that the file can be played as it loads
                    begin, end = (round(k / frame_rate_hz * audio_rate_hz) for k in (index, index + 1))
                    writer.sound(sound.next(end - begin))
            if writer is None:
                raise ValueError("a video needs at least one picture")
        except BaseException as error:
            if writer is not None:
                writer.__exit__(type(error), error, None)
            raise
        writer.__exit__(None, None, None)


class _Pieces:
    """Hands out a sound, which comes in pieces, in stretches of any length."""

    def __init__(self, pieces: Iterable[NDArray[np.float32]]) -> None:
        self._source = iter(pieces)
        self._held = next(self._source, np.zeros(0, np.float32))
        self.channels = 1 if self._held.ndim == 1 else self._held.shape[1]

    def next(self, count: int) -> NDArray[np.float32]:
        """The next samples, fewer than ``count`` only at the end."""
        waiting, known = [self._held], len(self._held)
        while known < count and (piece := next(self._source, None)) is not None:
            waiting.append(piece)
            known += len(piece)
        held = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        self._held = held[count:]
        return held[:count]
