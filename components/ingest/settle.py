"""From downloaded files to the one file that is kept: joined, cut, decoded once end to end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from components.core.media import MediaError, MediaInfo, MediaProblem, VideoWriter, decode, probe
from components.core.soundtrack import Soundtrack

_AAC_RATES_HZ = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".flv", ".avi", ".ts", ".ogv", ".mpg", ".wmv", ".3gp"}


@dataclass(frozen=True, slots=True)
class Settled:
    """A verified file; width and height as seen, duration as decoded."""

    path: Path
    duration_s: float
    width: int
    height: int
    fps: float
    video_codec: str
    audio_codec: str


def settle(
    files: list[Path],
    folder: Path,
    *,
    start_s: float | None,
    end_s: float | None,
    min_duration_s: float,
) -> Settled:
    """Join and cut a download where needed, then decode the result end to end.

    A file that needs neither is kept as it came, in its own container.

    Args:
        files: one file, or two that hold pictures and sound.
        folder: for the results.
        start_s, end_s: the part to keep, None for the video's own start and end.
        min_duration_s: less is too short.

    Raises:
        MediaError: it does not decode, lacks video or sound, or is too short.
    """
    path = files[0] if len(files) == 1 else join(files, folder / "joined.mkv")
    before = probe(path)
    frame_s = 1.0 / before.frame_rate_hz if before.frame_rate_hz else 0.0
    ends_inside = end_s is not None and (before.duration_s is None or end_s < before.duration_s - frame_s)
    if start_s or ends_inside:
        path = cut(path, folder / "cut.mp4", start_s or 0.0, end_s)
    duration_s = 0.0
    for picture in decode(path, Soundtrack(rate_hz=16_000), threads=1):
        duration_s = max(duration_s, picture.time_s + picture.length_s)
    if duration_s < min_duration_s - 0.5 * frame_s:
        raise MediaError(
            f"the video lasts {duration_s:.3f} s, less than {min_duration_s:g} s",
            problem=MediaProblem.TOO_SHORT,
        )
    info = probe(path)
    return Settled(
        path=path,
        duration_s=round(duration_s, 6),
        width=info.width,
        height=info.height,
        fps=round(info.frame_rate_hz, 6),
        video_codec=info.video_codec or "",
        audio_codec=info.audio_codec or "",
    )


def suffix_of(path: Path) -> str:
    """The ending under which a file is kept: its own if it is one of a video, else after its container."""
    if path.suffix.lower() in _SUFFIXES:
        return path.suffix.lower()
    container = probe(path).container
    return (
        ".mp4" if "mp4" in container else ".mkv" if "matroska" in container else f".{container.split(',')[0]}"
    )


def join(files: list[Path], target: Path) -> Path:
    """Put the pictures of one file and the sound of another into one, as they are."""
    with av.open(str(target), mode="w", format="matroska") as output:
        inputs = [av.open(str(file)) for file in files]
        try:
            kinds = {}
            for container in inputs:
                for kind in ("video", "audio"):
                    stream = container.streams.best(kind)
                    if stream is not None and kind not in kinds:
                        kinds[kind] = (container, stream, output.add_stream_from_template(stream))
            for container, stream, written in kinds.values():
                for packet in container.demux(stream):
                    if packet.dts is not None:
                        packet.stream = written
                        output.mux(packet)
        except av.error.FFmpegError as error:
            raise MediaError(f"pictures and sound cannot be joined: {error.strerror}") from None
        finally:
            for container in inputs:
                container.close()
    return target


def cut(path: Path, target: Path, start_s: float, end_s: float | None) -> Path:
    """Write the part [start_s, end_s) as an MP4: pictures to within one frame, sound to the sample.

    It is encoded anew: copied packets could begin only at a key picture, seconds away.

    Raises:
        MediaError: nothing of the video lies in that part, or it does not decode.
    """
    info = probe(path)
    if info.duration_s is not None and start_s >= info.duration_s:
        raise _nothing_there(info, start_s, end_s)
    # A missing or lying table of positions takes the search past the start: then from the beginning.
    for search_from_s in (start_s, 0.0) if start_s > 0 and info.duration_s is not None else (0.0,):
        sound = Soundtrack(
            rate_hz=info.audio_rate_hz if info.audio_rate_hz in _AAC_RATES_HZ else 48_000,
            channels=min(max(info.channels, 1), 2),
            start_s=start_s,
        )
        writer: VideoWriter | None = None
        stop_s = 0.0
        first = True
        try:
            for picture in decode(path, sound, start_s=search_from_s, end_s=end_s, threads=1):
                half_s = picture.length_s / 2
                if first and search_from_s > 0 and picture.time_s > start_s + half_s:
                    break
                first = False
                if picture.time_s < start_s - half_s:
                    continue
                if end_s is not None and picture.time_s >= end_s - half_s:
                    continue  # decoding stops once the sound has come as far
                rgb = picture.rgb()
                if writer is None:
                    height, width = rgb.shape[:2]
                    writer = VideoWriter(
                        target,
                        width=width,
                        height=height,
                        frame_rate_hz=float(Fraction(info.frame_rate_hz).limit_denominator(1001)),
                        audio_rate_hz=sound.rate_hz,
                        channels=sound.channels,
                    )
                    writer.picture(rgb, 0.0)
                elif picture.time_s > start_s:
                    writer.picture(rgb, picture.time_s - start_s)
                stop_s = picture.time_s + picture.length_s - start_s
            if first:
                continue
            if writer is None:
                raise _nothing_there(info, start_s, end_s)
            length_s = stop_s if end_s is None else min(stop_s, end_s - start_s)
            samples = sound.samples(round(length_s * sound.rate_hz)).astype(np.float32) / 32768.0
            writer.sound(samples)
            writer.__exit__(None, None, None)
            return target
        except BaseException as error:
            if writer is not None:
                writer.__exit__(type(error), error, None)
            raise
    raise _nothing_there(info, start_s, end_s)


def _nothing_there(info: MediaInfo, start_s: float, end_s: float | None) -> MediaError:
    end = "the end" if end_s is None else f"{end_s:g} s"
    lasts = "" if info.duration_s is None else f": the video lasts {info.duration_s:.3f} s"
    return MediaError(f"nothing lies between {start_s:g} s and {end}{lasts}", problem=MediaProblem.TOO_SHORT)
