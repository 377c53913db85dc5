"""Media files: opened safely; their headers, streams and packets; and why one is of no use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import av
import av.stream

from components.core.media.put_together import codecs_of, ends_before_index, other_file_at
from components.core.records.changes import Changes, Kind
from components.core.records.ranges import HIGHEST_RATE_HZ
from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoStream
    from av.container import InputContainer

Stream = TypeVar("Stream", "VideoStream", "AudioStream")

# Play lists and the like, which make FFmpeg open other files and addresses, are no videos here.
_SAFE = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,flv,avi,mpegts,mpeg,mpegvideo,ogg,asf,wav,w64,mp3,aac,flac,h264,hevc",
}
PRIMING_S = 0.1  # sound that begins less than this before the first picture is the encoder's priming
_ASIDE = (
    av.stream.Disposition.comment
    | av.stream.Disposition.descriptions
    | av.stream.Disposition.visual_impaired
    | av.stream.Disposition.hearing_impaired
    | av.stream.Disposition.dependent
)
_STILLS = {"mjpeg", "png", "gif", "bmp", "webp"}
_LOWEST_RATE_HZ = 0.1  # of pictures; fewer are stills
ROUNDING_S = 0.001  # containers round timestamps, Matroska to 1 ms
DAMAGED_SHARE = 0.01  # of the packets: a scratch in a long video is no reason to lose it
LONGEST_S = 12 * 3600.0  # what damage or malice may promise, and a machine would have to hold


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


def probe(path: Path) -> MediaInfo:
    """Read a file's headers.

    Raises:
        MediaError: the file cannot be opened as a video.
    """
    with open_media(path) as container:
        video, audio = best_streams(container)
        duration = container.duration
        return MediaInfo(
            container=container.format.name,
            duration_s=duration / 1e6 if duration is not None and 0 < duration <= LONGEST_S * 1e6 else None,
            width=square_width(video.width, pixel_aspect_of(video)) if video is not None else 0,
            height=video.height if video is not None else 0,
            frame_rate_hz=usual_rate_hz(video) if video is not None else 0.0,
            video_codec=video.codec_context.codec.name if video is not None else None,
            audio_codec=audio.codec_context.codec.name if audio is not None else None,
            audio_rate_hz=audio.codec_context.sample_rate if audio is not None else 0,
            channels=audio.codec_context.layout.nb_channels if audio is not None else 0,
        )


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    if not path.is_file():
        raise MediaError("the file does not exist", where=str(path))
    if path.stat().st_size == 0:
        raise MediaError("the file is empty", where=str(path), fix="Get the file again.")
    try:
        container = av.open(str(path.absolute()), mode="r", options=_SAFE)  # absolute: no protocol
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        with path.open("rb") as file:
            is_fragment = file.read(8)[4:] in (b"styp", b"sidx", b"moof")
        if is_fragment:
            raise MediaError(
                "the file is a part of a stream (DASH, HLS) without the header that tells its tracks",
                where=str(path),
                fix="Put its initialisation segment before its parts: cat init.mp4 part*.m4s > video.mp4",
            ) from None
        _refuse_unfinished(path)
        fix = "Get the file again."
        if isinstance(error, av.error.ArgumentError):  # so FFmpeg says that a format is not on the list
            reason += "; it may be of a format that is not read here, as MXF, DV and play lists are"
            fix = "Save the video as MP4 or Matroska, or get the file again."
        raise MediaError(f"the file cannot be read as a video: {reason}", where=str(path), fix=fix) from None
    with container:
        other_at = other_file_at(path)
        if other_at is not None:
            raise _put_together(path, container, other_at)
        _refuse_unfinished(path)
        yield container


def _refuse_unfinished(path: Path) -> None:
    """Of such a file FFmpeg knows some tracks, or says that it is none."""
    if ends_before_index(path):
        raise MediaError(
            "the file ends before its index does, which tells its tracks: it is half downloaded, or its "
            "recording was not finished",
            where=str(path),
            fix="Get the file again.",
        )


def _put_together(path: Path, container: InputContainer, other_at: int) -> MediaError:
    """The error of a file in which another one begins; the first one's length is that of its own bytes."""
    try:
        with path.open("rb") as file, av.open(_FirstBytes(file, other_at), options=_SAFE) as first:
            ends_s = (first.duration or 0) / 1e6
    except av.error.FFmpegError:
        ends_s = 0.0
    when = f"at {ends_s:.2f} s" if ends_s else f"at byte {other_at}"
    return MediaError(
        f"{when} another file begins: files were put end to end, and of two {container.format.name} files "
        "only the first would be read, or both at once",
        problem=MediaProblem.UNSUPPORTED,
        where=str(path),
        fix="Give the files one by one, or join them with one that knows the format (ffmpeg -f concat).",
    )


class _FirstBytes:
    """The beginning of a file, as a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def read(self, size: int) -> bytes:
        return self._file.read(max(0, min(size, self._size - self._file.tell())))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(self._size + offset if whence == 2 else offset, 0 if whence == 2 else whence)

    def tell(self) -> int:
        return self._file.tell()


def read_packets(
    container: InputContainer,
    streams: list[AudioStream | VideoStream],
    on_unnamed: Callable[[], None] = lambda: None,
) -> Iterator[Packet | None]:
    """The packets of the streams; None and the end where the file cannot be read on.

    on_unnamed: called where a stream begins that the header does not name; its packets are left out.
    """
    while True:
        try:
            yield from container.demux(streams)
            return
        except IndexError:  # PyAV, at the first packet of a stream that the header did not name: on behind it
            on_unnamed()
        except av.error.FFmpegError:
            yield None
            return


def best_streams(container: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    """The tracks that are seen and heard: the default one, or the first, of those that give anything.

    FFmpeg's own choice is the one of the highest bit rate, decoder or not: of a phone's two sound tracks the
    spatial one, which nothing decodes. A track of a still picture's codec beside another is a cover, whatever
    its flags say. Pictures and sound are of one program, where an MPEG-TS has several.
    """
    videos = [stream for stream in _pictures(container) if _is_known(stream)]
    videos = [stream for stream in videos if stream.codec_context.codec.name not in _STILLS] or videos
    if any(not stream.width for stream in videos):  # its first packets are no pictures, or there are none
        videos = [stream for stream in videos if stream.width or _gives_any(container, stream)]
    audios = [stream for stream in container.streams.audio if _is_known(stream)]
    if len(videos) > 1 and container.format.name == "mpegts":
        audios = [stream for stream in audios if _gives_any(container, stream)] or audios
        heard = [one for one in videos if any(_are_of_one_program(one, sound) for sound in audios)]
        video = _first(container, heard or videos)
        audios = [sound for sound in audios if video is None or _are_of_one_program(video, sound)] or audios
    else:
        video = _first(container, videos)
    return video, _first(container, audios)


def note_choice(container: InputContainer, changes: Changes) -> None:
    """Tell which tracks `best_streams` takes where there are several of a kind."""
    taken_streams = best_streams(container)
    for kind, streams, taken in zip(
        ("picture track", "sound track"),
        (_pictures(container), list(container.streams.audio)),
        taken_streams,
        strict=True,
    ):
        if taken is None or len(streams) < 2:
            continue
        unknown = sum(not _is_known(stream) for stream in streams)
        before = [stream for stream in streams if _is_known(stream) and _rank(stream) < _rank(taken)]
        empty = sum(not _gives_any(container, stream) for stream in before)
        changes.add(
            Kind.GUESSED,
            kind,
            "the file has several; of those that can be decoded and belong together the default one, or the "
            "first, was taken",
            example=f"{streams.index(taken) + 1} ({taken.codec_context.codec.name}) of {len(streams)}"
            + f", {unknown} without a decoder" * bool(unknown)
            + f", {empty} of which nothing decodes" * bool(empty),
        )


def tracks_taken(files: Iterable[Path]) -> Changes:
    """What `note_choice` tells of files.

    Raises:
        MediaError: one cannot be opened.
    """
    changes = Changes()
    for file in files:
        with open_media(file) as container:
            note_choice(container, changes)
    return changes


def no_pictures(container: InputContainer, path: Path) -> MediaError:
    """Why `best_streams` found no pictures."""
    streams = _pictures(container)
    if all(_is_known(stream) for stream in streams):
        if promised := max((stream.frames for stream in streams), default=0):
            return _promised_in_vain("picture", promised, path)
        what = "the picture track is empty" if streams else "the file has no video"
        return MediaError(what, problem=MediaProblem.NO_VIDEO, where=str(path), fix="Use a video.")
    return MediaError(
        f"its pictures cannot be decoded: there is no decoder for {_codecs(path, 'vide')}",
        problem=MediaProblem.UNSUPPORTED,
        where=str(path),
        fix="Save the video as H.264 or VP9.",
    )


def no_sound(container: InputContainer, path: Path) -> MediaError:
    """Why `best_streams` found no sound."""
    if not container.streams.audio:
        return MediaError(
            "the video has no sound",
            problem=MediaProblem.NO_AUDIO,
            where=str(path),
            fix="Use a video with a sound track: what sounds cannot be told without it.",
        )
    return MediaError(
        f"its sound cannot be decoded: there is no decoder for {_codecs(path, 'soun')}",
        problem=MediaProblem.UNSUPPORTED,
        where=str(path),
        fix="Save the video with AAC or Opus sound.",
    )


def no_sound_in(packets: int, promised: int, path: Path) -> MediaError:
    """Why nothing was heard of a sound track that has a decoder, so many packets, and more by its header."""
    if packets == 0 and promised:
        return _promised_in_vain("sound", promised, path)
    if packets == 0:
        return MediaError(
            "the sound track is empty",
            problem=MediaProblem.NO_AUDIO,
            where=str(path),
            fix="Use a video with sound: what sounds cannot be told without it.",
        )
    return MediaError(
        f"its sound cannot be decoded: none of its {packets} packets is sound",
        where=str(path),
        fix="Get the file again; it may be encrypted.",
    )


def _promised_in_vain(kind: str, promised: int, path: Path) -> MediaError:
    return MediaError(
        f"the header promises {promised} packets of the {kind} track, none of which is there",
        where=str(path),
        fix="Get the file again.",
    )


def _codecs(path: Path, kind: str) -> str:
    names = codecs_of(path, kind)
    return f"codec {names}" if names else "the codec"


def _pictures(container: InputContainer) -> list[VideoStream]:
    """The picture tracks: the cover of a song is none."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if cover not in stream.disposition]


def _first(container: InputContainer, streams: list[Stream]) -> Stream | None:
    """The first in rank that gives anything; where none does, the last one, for the message."""
    ranked = sorted(streams, key=_rank)
    return next(
        (stream for stream in ranked[:-1] if _gives_any(container, stream)), ranked[-1] if ranked else None
    )


def _rank(stream: VideoStream | AudioStream) -> tuple[bool, bool, int]:
    """Default ones first, those that are no commentary or description before those that are."""
    return (
        av.stream.Disposition.default not in stream.disposition,
        bool(stream.disposition & _ASIDE),
        stream.index,
    )


def _gives_any(container: InputContainer, stream: VideoStream | AudioStream) -> bool:
    """Whether a packet of it decodes: tracks may be declared and stay empty, or be encrypted."""
    with av.open(container.name, options=_SAFE) as again:
        for packet in read_packets(again, [again.streams[stream.index]]):
            with suppress(av.error.FFmpegError):
                if packet is not None and packet.decode():
                    return True
    return False


def _are_of_one_program(video: VideoStream, audio: AudioStream) -> bool:
    """Whether FFmpeg would take the same pictures and sound for both, which it looks for in their program."""
    best = video.container.streams.best
    return all(best(kind, related=video) == best(kind, related=audio) for kind in ("video", "audio"))


def _is_known(stream: VideoStream | AudioStream) -> bool:
    """Whether there is a decoder for it."""
    return stream.codec_context is not None


def clip_start_s(video: VideoStream | AudioStream, audio: AudioStream | None) -> float:
    """The file's time at which the clip begins: with its first picture, or with sound well before it."""
    starts = [
        float(stream.start_time * stream.time_base)
        if stream is not None and stream.start_time is not None and stream.time_base is not None
        else 0.0
        for stream in (video, audio or video)
    ]
    return starts[1] if starts[1] < starts[0] - PRIMING_S else starts[0]


def in_seconds(ticks: int, time_base: Fraction) -> float:
    """As float(ticks * time_base), which takes ten times as long."""
    return ticks * time_base.numerator / time_base.denominator


def usual_rate_hz(video: VideoStream) -> float:
    """Pictures per second; of stills, which have no rate, and where the header is absurd, 25."""
    rate_hz = float(video.average_rate or video.guessed_rate or 0)
    return rate_hz if _LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ else 25.0


def pixel_aspect_of(video: VideoStream) -> Fraction | None:
    """How wide a pixel is, by its height; None where the header is absurd."""
    aspect = video.sample_aspect_ratio
    return aspect if aspect and 0.1 <= aspect <= 10 else None


def square_width(width: int, pixel_aspect: Fraction | None) -> int:
    return max(1, round(width * pixel_aspect)) if pixel_aspect else width
