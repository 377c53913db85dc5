"""Reading video files: pictures chosen by timestamp and the sound that belongs to them, in one decode.

The time convention of the whole pipeline: picture k of a clip belongs to the time [k, k + 1) / frame_rate
and is the one shown at its middle, (k + 0.5) / frame_rate; sound sample n is heard at n / sample_rate; both
count from the clip's start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import av.stream
import numpy as np
from numpy.typing import NDArray

from components.core.media.encode import VideoWriter, write_video
from components.core.media.sound import Soundtrack
from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer

__all__ = [
    "Clip",
    "ClipReader",
    "MediaError",
    "MediaInfo",
    "MediaProblem",
    "Picture",
    "VideoWriter",
    "decode",
    "probe",
    "read_clip",
    "read_sound",
    "stream_sound",
    "write_video",
]

_PRIMING_S = 0.1  # sound that begins less than this before the first picture is the encoder's priming
_ROUNDING_S = 0.001  # containers round timestamps, Matroska to 1 ms
_LONGEST_TOLERANCE_S = 0.05
# Play lists and the like, which make FFmpeg open other files and addresses, are no videos here.
_SAFE = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,flv,avi,mpegts,mpeg,mpegvideo,ogg,asf,wav,w64,mp3,aac,flac,h264,hevc",
}
_DAMAGED_SHARE = 0.01  # of the packets: a scratch in a long video is no reason to lose it
_MISSING_S = 1.0  # an end that comes this much earlier than the header says is a truncated file
_MISSING_SHARE = 0.05
# What damage or malice may promise in a few bytes, and a machine would have to hold.
_LARGEST_PX = 8192 * 8192  # of a picture; 8K video has half of it
_LONGEST_S = 12 * 3600.0
_LONGEST_STILL_S = 600.0  # one picture without a next one
_LOWEST_RATE_HZ = 4_000  # of sound


class MediaProblem(StrEnum):
    """Why a file is of no use."""

    CORRUPT = "corrupt"
    UNSUPPORTED = "unsupported"
    NO_VIDEO = "no_video"
    NO_AUDIO = "no_audio"
    TOO_SHORT = "too_short"


class MediaError(AvisError):
    """A video file that cannot be used; `problem` says why."""

    def __init__(
        self,
        what: str,
        *,
        problem: MediaProblem = MediaProblem.CORRUPT,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a file's headers say. Width and height are with square pixels, and not turned yet."""

    container: str
    duration_s: float | None
    width: int
    height: int
    frame_rate_hz: float
    video_codec: str | None
    audio_codec: str | None
    audio_rate_hz: int
    channels: int


@dataclass(slots=True)
class Clip:
    """A decoded clip.

    Attributes:
        frames: RGB pictures, uint8 [height, width, 3].
        audio: mono sound, float32 [round(len(frames) / frame_rate * sample_rate)] in [-1, 1).
        timestamps_s: the middle of each picture's time.
        width, height: of the pictures, in pixels.
        duration_s: of the video, the unfinished last second included.
    """

    frames: list[NDArray[np.uint8]]
    audio: NDArray[np.float32]
    timestamps_s: list[float]
    width: int
    height: int
    duration_s: float


def read_clip(
    path: Path,
    frame_rate_hz: float = 1.0,
    sample_rate_hz: int = 16_000,
    max_height_px: int | None = None,
    require_audio: bool = True,
) -> Clip:
    """Decode a video file.

    Args:
        path: any file that FFmpeg reads.
        frame_rate_hz: pictures per second to choose.
        sample_rate_hz: of the sound.
        max_height_px: pictures higher than this are made smaller.
        require_audio: if False, a file without sound gives silence instead of an error.

    Raises:
        MediaError: the file is damaged, truncated, too short, or has no video or no sound.
    """
    reader = ClipReader(
        path,
        frame_rate_hz=frame_rate_hz,
        sample_rate_hz=sample_rate_hz,
        max_height_px=max_height_px,
        require_audio=require_audio,
    )
    pictures = list(reader)
    frames = [picture for _, picture in pictures]
    height, width = frames[0].shape[:2]
    return Clip(
        frames=frames,
        audio=reader.audio.astype(np.float32) / 32768.0,
        timestamps_s=[time_s for time_s, _ in pictures],
        width=width,
        height=height,
        duration_s=reader.duration_s,
    )


def probe(path: Path) -> MediaInfo:
    """Read a file's headers.

    Raises:
        MediaError: the file cannot be opened as a video.
    """
    with _open(path) as container:
        video, audio = _best_streams(container)
        duration = container.duration
        return MediaInfo(
            container=container.format.name,
            duration_s=duration / 1e6 if duration is not None and duration > 0 else None,
            width=_square_width(video.width, _pixel_aspect(video)) if video is not None else 0,
            height=video.height if video is not None else 0,
            frame_rate_hz=_rate_hz(video) if video is not None else 0.0,
            video_codec=video.codec_context.codec.name if video is not None else None,
            audio_codec=audio.codec_context.codec.name if audio is not None else None,
            audio_rate_hz=audio.codec_context.sample_rate if audio is not None else 0,
            channels=audio.codec_context.layout.nb_channels if audio is not None else 0,
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, not yet converted: shown from `time_s` (of the clip) for `length_s`."""

    frame: VideoFrame
    time_s: float
    length_s: float
    pixel_aspect: Fraction | None

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as seen, turned and with square pixels."""
        width, height = _square_width(self.frame.width, self.pixel_aspect), self.frame.height
        return (height, width) if self._quarter_turns % 2 else (width, height)

    @property
    def _quarter_turns(self) -> int:
        return round(float(self.frame.rotation) / 90) % 4  # counterclockwise, as np.rot90 counts

    def rgb(self, *, max_height_px: int | None = None) -> NDArray[np.uint8]:
        """The picture as it is seen, turned and with square pixels: uint8 [height, width, 3]."""
        height = self.frame.height
        width = _square_width(self.frame.width, self.pixel_aspect)
        quarter_turns = self._quarter_turns
        seen_height = self.size_px[1]
        if max_height_px is not None and seen_height > max_height_px:
            scale = max_height_px / seen_height
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
        array = np.asarray(self.frame.to_ndarray(format="rgb24", width=width, height=height), dtype=np.uint8)
        return np.ascontiguousarray(np.rot90(array, quarter_turns)) if quarter_turns else array


def decode(
    path: Path,
    sound: Soundtrack,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    require_audio: bool = True,
    threads: int = 0,
) -> Iterator[Picture]:
    """Decode a file once: yield its pictures in the order of time, collect its sound in `sound`.

    Args:
        path: any file that FFmpeg reads; of several sound tracks the main one is taken.
        sound: receives every decoded piece at its time of the clip.
        start_s: begin at a key picture at or before this time, where the file can be searched.
        end_s: stop when both picture and sound are past this time.
        require_audio: if False, a file without sound is no error.
        threads: of the video decoder; 0 = one per core.

    Raises:
        MediaError: at the start, no video or no sound in the file; at the end, too much damage, or the file
            ends before its header says so.
    """
    with _open(path) as container:
        video, audio = _best_streams(container)
        if video is None:
            raise MediaError(
                "the file has no video", problem=MediaProblem.NO_VIDEO, where=str(path), fix="Use a video."
            )
        if audio is None and require_audio:
            raise MediaError(
                "the video has no sound",
                problem=MediaProblem.NO_AUDIO,
                where=str(path),
                fix="Use a video with a sound track: what sounds cannot be told without it.",
            )
        _refuse_huge(video.width, video.height, path)
        video.codec_context.options = {"max_pixels": str(_LARGEST_PX)}  # also of a size that comes later
        video.codec_context.thread_count = threads
        video.codec_context.thread_type = "AUTO" if threads != 1 else "SLICE"
        pixel_aspect = _pixel_aspect(video)
        origin_s = _origin_s(video, audio)
        if start_s > 0:
            try:
                container.seek(max(0, int((origin_s + start_s - _PRIMING_S) * 1e6)))
            except av.error.FFmpegError as error:
                raise MediaError(f"the file cannot be searched: {error.strerror}", where=str(path)) from None
        usual_s = 1.0 / _rate_hz(video)
        picture_end_s = 0.0
        packets = damaged = pictures = 0
        done = {stream.index: False for stream in (video, audio) if stream is not None}
        for packet in _packets(container, [stream for stream in (video, audio) if stream is not None]):
            packets += 1
            if packet is None:
                damaged += 1
                continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    damaged += not _hear(frame, sound, origin_s)
                    done[packet.stream.index] = end_s is not None and sound.end_s >= end_s
                    continue
                damaged += frame.is_corrupt
                time_s = picture_end_s if frame.time is None else frame.time - origin_s
                _refuse_endless(max(picture_end_s, start_s), time_s, path)
                length_s = float(frame.duration * frame.time_base) if frame.duration else usual_s
                length_s = length_s if length_s <= _LONGEST_STILL_S else usual_s
                pictures += 1
                picture_end_s = max(picture_end_s, time_s + length_s)
                done[packet.stream.index] = end_s is not None and time_s >= end_s
                yield Picture(frame, time_s, length_s, pixel_aspect)
            if all(done.values()):
                break
        if not pictures:
            raise MediaError("no picture could be decoded", where=str(path))
        if require_audio and sound.is_empty:
            raise MediaError("the sound track is empty", problem=MediaProblem.NO_AUDIO, where=str(path))
        if damaged > max(1, packets * _DAMAGED_SHARE):
            raise MediaError(
                f"{damaged} of {packets} packets are damaged", where=str(path), fix="Get the file again."
            )
        if container.duration is not None and not all(done.values()):
            expected_s = container.duration / 1e6
            # Some containers (Matroska) count the duration from time 0, not from their first packet.
            missing_s = expected_s - max(picture_end_s, sound.end_s) - max(origin_s, 0.0)
            if missing_s > max(_MISSING_S, expected_s * _MISSING_SHARE):
                raise MediaError(
                    f"the file ends {missing_s:.1f} s before the {expected_s:.1f} s its header promises",
                    where=str(path),
                    fix="Get the file again.",
                )


def read_sound(path: Path, *, rate_hz: int, channels: int = 1) -> NDArray[np.int16]:
    """Decode the whole sound of a file (any WAV, a video) from its start on: int16 [n, channels].

    Raises:
        MediaError: it has no sound, or it does not decode.
    """
    sound = Soundtrack(rate_hz=rate_hz, channels=channels)
    for _ in _decode_sound(path, sound):
        pass
    return sound.samples(round(sound.end_s * rate_hz))


def stream_sound(path: Path, *, rate_hz: int, channels: int = 1) -> Iterator[NDArray[np.int16]]:
    """Decode the sound of a file piece after piece, int16 [n, channels]: end to end what `read_sound` gives.

    Raises (while iterating):
        MediaError: it has no sound, or, at the end, it does not decode.
    """
    sound = Soundtrack(rate_hz=rate_hz, channels=channels)
    for _ in _decode_sound(path, sound):
        yield from sound.take()
    sound.finish()
    yield from sound.take()


def _decode_sound(path: Path, sound: Soundtrack) -> Iterator[None]:
    """Add the sound of a file to `sound`, a packet per step."""
    packets = damaged = 0
    with _open(path) as container:
        video, audio = _best_streams(container)
        if audio is None:
            raise MediaError("the file has no sound", problem=MediaProblem.NO_AUDIO, where=str(path))
        origin_s = _origin_s(video or audio, audio)
        for packet in _packets(container, [audio]):
            packets += 1
            if packet is None:
                damaged += 1
                continue
            try:
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        damaged += not _hear(frame, sound, origin_s)
            except av.error.FFmpegError:
                damaged += 1
            yield
    if sound.is_empty or damaged > max(1, packets * _DAMAGED_SHARE):
        raise MediaError("the sound does not decode", problem=MediaProblem.NO_AUDIO, where=str(path))


def _hear(frame: AudioFrame, sound: Soundtrack, origin_s: float) -> bool:
    """Add a decoded piece to the sound; False if its format or its time is absurd."""
    time_s = None if frame.time is None else frame.time - origin_s
    if frame.sample_rate < _LOWEST_RATE_HZ or (time_s is not None and time_s > _LONGEST_S):
        return False
    try:
        sound.add(frame, time_s)
    except av.error.FFmpegError:
        return False
    return True


class ClipReader:
    """Iterate over a clip's chosen pictures, (middle of its time in seconds, RGB uint8 [H, W, 3]).

    The file is decoded once, end to end, and only the chosen pictures are converted. After the last picture
    `audio` (mono int16 [n], aligned) and `duration_s` are known.

    Args:
        path: any file that FFmpeg reads.
        frame_rate_hz: pictures per second to choose.
        sample_rate_hz: of the sound.
        max_height_px: pictures higher than this are made smaller.
        require_audio: if False, a file without sound gives silence instead of an error.
        keep_audio: if False, the sound is only checked, and `audio` stays empty: for a video of any length.
        threads: of the video decoder; 0 = one per core. Use 1 where processes share the cores.

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
    ) -> None:
        self.path = path
        self.frame_rate_hz = frame_rate_hz
        self.sample_rate_hz = sample_rate_hz
        self.max_height_px = max_height_px
        self.require_audio = require_audio
        self.keep_audio = keep_audio
        self.threads = threads
        self.audio: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self.duration_s = 0.0

    def __iter__(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        sound = Soundtrack(rate_hz=self.sample_rate_hz)
        chosen: list[Picture] = []  # their second has not ended yet: it may be cut off
        count = given = 0  # pictures chosen, yielded
        shown: Picture | None = None
        for picture in decode(self.path, sound, require_audio=self.require_audio, threads=self.threads):
            if shown is not None and picture.time_s < shown.time_s:
                continue  # a damaged timestamp
            while shown is not None and self._middle_s(count) < picture.time_s - _ROUNDING_S:
                chosen.append(shown)
                count += 1
            shown = picture
            if not self.keep_audio:
                sound.forget()
            while chosen and self._end_s(given) <= picture.time_s:
                yield self._middle_s(given), chosen.pop(0).rgb(max_height_px=self.max_height_px)
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
            )
        chosen += [shown] * (frames - count)
        for index in range(given, frames):
            yield self._middle_s(index), chosen.pop(0).rgb(max_height_px=self.max_height_px)
        if self.keep_audio:
            self.audio = sound.samples(round(frames / self.frame_rate_hz * self.sample_rate_hz))[:, 0]

    def _middle_s(self, index: int) -> float:
        return (index + 0.5) / self.frame_rate_hz

    def _end_s(self, index: int) -> float:
        return (index + 1) / self.frame_rate_hz


@contextmanager
def _open(path: Path) -> Iterator[InputContainer]:
    if not path.is_file():
        raise MediaError("the file does not exist", where=str(path))
    if path.stat().st_size == 0:
        raise MediaError("the file is empty", where=str(path), fix="Get the file again.")
    try:
        container = av.open(str(path.absolute()), mode="r", options=_SAFE)  # absolute: no protocol
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(
            f"the file cannot be read as a video: {reason}", where=str(path), fix="Get the file again."
        ) from None
    with container:
        yield container


def _packets(container: InputContainer, streams: list[AudioStream | VideoStream]) -> Iterator[Packet | None]:
    """The packets of the streams; None and the end where the file cannot be read on."""
    while True:
        try:
            yield from container.demux(streams)
            return
        except IndexError:  # PyAV, at the first packet of a stream that the header did not name: on behind it
            continue
        except av.error.FFmpegError:
            yield None
            return


def _best_streams(container: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    best = container.streams.best("video")
    video = best if isinstance(best, av.VideoStream) and _is_known(best) and best.width > 0 else None
    if video is not None and av.stream.Disposition.attached_pic in video.disposition:
        video = None  # the cover of a song
    audio = container.streams.best("audio", related=video)
    return video, audio if isinstance(audio, av.AudioStream) and _is_known(audio) else None


def _is_known(stream: VideoStream | AudioStream) -> bool:
    """Whether there is a decoder for it."""
    return stream.codec_context is not None


def _origin_s(video: VideoStream | AudioStream, audio: AudioStream | None) -> float:
    """The file's time at which the clip begins: with its first picture, or with sound well before it."""
    starts = [
        float(stream.start_time * stream.time_base)
        if stream is not None and stream.start_time is not None and stream.time_base is not None
        else 0.0
        for stream in (video, audio or video)
    ]
    return starts[1] if starts[1] < starts[0] - _PRIMING_S else starts[0]


def _refuse_huge(width: int, height: int, path: Path) -> None:
    if width * height > _LARGEST_PX:
        raise MediaError(
            f"its pictures of {width}x{height} are larger than {_LARGEST_PX / 1e6:.0f} million pixels",
            problem=MediaProblem.UNSUPPORTED,
            where=str(path),
            fix="Use a smaller version of the video.",
        )


def _refuse_endless(before_s: float, time_s: float, path: Path) -> None:
    """A damaged timestamp years away would become a picture for every second until then."""
    if time_s > _LONGEST_S:
        raise MediaError(
            f"the video lasts longer than {_LONGEST_S / 3600:g} hours ({time_s:.0f} s)",
            problem=MediaProblem.UNSUPPORTED,
            where=str(path),
            fix="Cut it into parts.",
        )
    if time_s - before_s > _LONGEST_STILL_S:
        raise MediaError(f"no picture for {time_s - before_s:.0f} s: a timestamp is damaged", where=str(path))


def _rate_hz(video: VideoStream) -> float:
    return float(video.average_rate or video.guessed_rate or 25)


def _pixel_aspect(video: VideoStream) -> Fraction | None:
    """How wide a pixel is, by its height; None where the header is absurd."""
    aspect = video.sample_aspect_ratio
    return aspect if aspect and 0.1 <= aspect <= 10 else None


def _square_width(width: int, pixel_aspect: Fraction | None) -> int:
    return max(1, round(width * pixel_aspect)) if pixel_aspect else width
