"""From downloaded files to the one file that is kept: joined and cut where needed."""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from components.core.media.clocks import HOLE_S, Clock, has_clock_of_its_own, measure
from components.core.media.container import (
    ROUNDING_S,
    MediaError,
    MediaInfo,
    MediaProblem,
    best_streams,
    clip_start_s,
    open_media,
    probe,
)
from components.core.media.decode import decode
from components.core.media.encode import VideoWriter
from components.core.media.picture import Picture
from components.core.media.sound import Soundtrack
from components.core.records.changes import Changes, Kind

_ODD = "it is odd, and H.264 wants it even: the last line was repeated"
_STEP_S = 0.5  # in which a still picture is repeated
_HEADER_S = 1.0  # a header that is less wrong than this is right
_AAC_RATES_HZ = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
SUFFIXES = {".mp4", ".m4v", ".mov", ".webm", ".mkv", ".flv", ".avi", ".ts", ".ogv", ".mpg", ".wmv", ".3gp"}


def remux(
    files: list[Path], folder: Path, *, start_s: float | None, end_s: float | None, changes: Changes
) -> tuple[Path, float]:
    """Join and cut a download where needed; a file that needs neither is kept as it came.

    Args:
        files: one file, or two that hold pictures and sound.
        folder: for the results.
        start_s, end_s: the part to keep, None for the video's own start and end.
        changes: told what was moved and filled in a file that is cut, and what was odd about the channels of
            its sound; a file that stays tells it itself.

    Returns:
        The file, and how long one of its frames lasts, in seconds; 0 if its header does not tell.

    Raises:
        MediaError: it does not decode, or lacks video or sound.
    """
    path = files[0] if len(files) == 1 else join(files, folder / "joined.mkv")
    info, runs_through = probe(path), True
    frame_s = 1.0 / info.frame_rate_hz if info.frame_rate_hz else 0.0
    if start_s or end_s is not None:
        info, runs_through = _measured(path, info, end_s if end_s is not None else start_s or 0.0)
    ends_inside = end_s is not None and (info.duration_s is None or end_s < info.duration_s - frame_s)
    if start_s or ends_inside:
        path = cut(path, folder / "cut.mp4", info, start_s or 0.0, end_s, changes, search=runs_through)
    return path, frame_s


def _measured(path: Path, info: MediaInfo, until_s: float) -> tuple[MediaInfo, bool]:
    """What the packets say where the header may be wrong: the duration, and whether the time runs through.

    until_s: how far the duration matters.
    """
    with open_media(path) as container:
        may_jump = has_clock_of_its_own(container)
    if not may_jump and (info.duration_s is None or until_s < info.duration_s):
        return info, True
    length = measure(path)
    if length.parts == 1 and abs((info.duration_s or 0.0) - length.duration_s) < _HEADER_S:
        return info, True
    return replace(info, duration_s=length.duration_s), length.parts == 1


def suffix_of(path: Path) -> str:
    """The ending under which a file is kept: its own if it is one of a video, else after its container."""
    if path.suffix.lower() in SUFFIXES:
        return path.suffix.lower()
    container = probe(path).container
    return (
        ".mp4" if "mp4" in container else ".mkv" if "matroska" in container else f".{container.split(',')[0]}"
    )


def join(files: list[Path], target: Path) -> Path:
    """Put the pictures of one file and the sound of another into one, as they are."""
    with av.open(str(target), mode="w", format="matroska") as output, ExitStack() as stack:
        inputs = [stack.enter_context(open_media(file)) for file in files]
        try:
            kinds = {}
            for container in inputs:
                for kind, stream in zip(("video", "audio"), best_streams(container), strict=True):
                    if stream is not None and kind not in kinds:
                        kinds[kind] = (container, stream, output.add_stream_from_template(stream))
            for container, stream, written in kinds.values():
                path = files[inputs.index(container)]
                origin_s, changes = clip_start_s(stream, None), Changes()  # gaps: found again in the result
                clock = Clock(container, [stream], origin_s=origin_s, path=path, changes=changes)
                for packet in clock.packets():
                    if packet is None:
                        raise MediaError(
                            "pictures and sound cannot be joined: one is damaged", where=str(path)
                        )
                    if clock.parts > 1:
                        raise _apart(changes, path)
                    if packet.dts is not None:
                        packet.stream = written
                        output.mux(packet)
        except av.error.FFmpegError as error:
            raise MediaError(f"pictures and sound cannot be joined: {error.strerror}") from None
    return target


def _apart(changes: Changes, path: Path) -> MediaError:
    (jump,) = (change for change in changes if change.unit == "part")
    return MediaError(
        "pictures and sound come in files of their own, and the time of one begins anew or jumps"
        f" ({jump.examples[0]}): which of them belong together cannot be told",
        where=str(path),
        fix="Get the video as one file.",
    )


def cut(
    path: Path,
    target: Path,
    info: MediaInfo,
    start_s: float,
    end_s: float | None,
    changes: Changes,
    *,
    search: bool,
) -> Path:
    """Write the part [start_s, end_s) as an MP4: pictures to within one frame, sound to the sample.

    Two channels stay two, so that what is decided of them is decided by whoever makes one of them.

    It is encoded anew: copied packets could begin only at a key picture, seconds away.

    Args:
        path: the file, of which `info` is known.
        target: to be written.
        info: with the right duration, or none.
        start_s, end_s: the part.
        changes: receives what was moved and filled.
        search: whether a time is at one place of the file only.

    Raises:
        MediaError: nothing of the video lies in that part, or it does not decode.
    """
    if info.duration_s is not None and start_s >= info.duration_s:
        raise _nothing_there(info, start_s, end_s)
    if start_s > 0 and search:
        found = Changes()
        try:
            if _cut_from(path, target, info, start_s, end_s, found, search=True):
                changes.extend(found)
                return target
        except MediaError:
            pass  # a missing or lying table of positions: again, from the beginning
    if not _cut_from(path, target, info, start_s, end_s, changes, search=False):
        raise _nothing_there(info, start_s, end_s)
    return target


def _cut_from(
    path: Path,
    target: Path,
    info: MediaInfo,
    start_s: float,
    end_s: float | None,
    changes: Changes,
    *,
    search: bool,
) -> bool:
    """Cut, decoding from just before the start (`search`) or from the beginning of the file.

    Returns:
        False if there was no picture to write, or the search went past the start.
    """
    usual_s = 1.0 / (info.frame_rate_hz or 25.0)
    sound = Soundtrack(
        rate_hz=info.audio_rate_hz if info.audio_rate_hz in _AAC_RATES_HZ else 48_000,
        channels=min(max(info.channels, 1), 2),
        start_s=start_s,
    )
    pictures = decode(
        path, sound, start_s=start_s if search else 0.0, end_s=end_s, threads=1, changes=changes
    )
    with ExitStack() as stack:
        writer: VideoWriter | None = None
        length_s = last_s = 0.0
        rgb = np.zeros((0, 0, 3), np.uint8)
        for picture, time_s in _seen_from(start_s, pictures):
            if writer is None and search and picture.time_s > start_s + picture.length_s / 2:
                return False
            if end_s is not None and time_s >= end_s - start_s - min(picture.length_s, usual_s, HOLE_S) / 2:
                if time_s - length_s > HOLE_S:  # the one before is a still picture, shown until now
                    length_s = end_s - start_s
                continue  # decoding stops once the sound has come as far
            if writer is not None:
                _show_on(writer, rgb, last_s, time_s, usual_s)
            rgb = picture.rgb()
            for kind, why in picture.oddities:
                changes.add(kind, "frame", why)
            if writer is None:
                if rgb.shape[0] % 2 or rgb.shape[1] % 2:
                    size = f"{rgb.shape[1]}x{rgb.shape[0]}"
                    changes.add(Kind.FILLED, "picture size", _ODD, example=size)
                writer = stack.enter_context(_writer(target, rgb, info, sound))
            writer.picture(rgb, time_s)
            last_s = time_s
            length_s = max(length_s, picture.time_s + picture.length_s - start_s)
        if writer is None:
            return False
        if end_s is not None:
            length_s = min(length_s, end_s - start_s)
        _show_on(writer, rgb, last_s, length_s, usual_s)
        samples = sound.samples(round(length_s * sound.rate_hz))
        writer.sound(samples.astype(np.float32) / 32768.0)
    changes.extend(sound.changes)
    return True


def _show_on(
    writer: VideoWriter, rgb: NDArray[np.uint8], last_s: float, until_s: float, usual_s: float
) -> None:
    """Repeat a still picture, so that nothing in the cut looks like a gap.

    Its last second is repeated at the usual rate: in MP4 the last pictures last as long as those beside them.
    """
    if until_s - last_s > HOLE_S:
        left_s = until_s - last_s
        while left_s > HOLE_S + _STEP_S:
            left_s -= _STEP_S
            writer.picture(rgb, until_s - left_s)
        for steps in range(math.floor(HOLE_S / min(usual_s, HOLE_S)), 0, -1):
            writer.picture(rgb, until_s - steps * min(usual_s, HOLE_S))


def _seen_from(start_s: float, pictures: Iterable[Picture]) -> Iterator[tuple[Picture, float]]:
    """The picture seen at `start_s` and those after it, with their times from there, which only grow."""
    opening: Picture | None = None
    last_s: float | None = None
    for picture in pictures:
        time_s = picture.time_s - start_s
        if last_s is None and time_s <= ROUNDING_S:
            opening = picture
            continue
        if last_s is None:
            yield opening or picture, 0.0
            last_s = 0.0 if opening is not None else time_s
            if opening is None:
                continue
        if time_s > last_s + ROUNDING_S / 2:  # otherwise a damaged timestamp
            yield picture, time_s
            last_s = time_s
    if last_s is None and opening is not None and opening.time_s + opening.length_s > start_s + ROUNDING_S:
        yield opening, 0.0


def _writer(target: Path, rgb: NDArray[np.uint8], info: MediaInfo, sound: Soundtrack) -> VideoWriter:
    return VideoWriter(
        target,
        width=rgb.shape[1],
        height=rgb.shape[0],
        frame_rate_hz=max(info.frame_rate_hz, 1 / HOLE_S),
        audio_rate_hz=sound.rate_hz,
        channels=sound.channels,
    )


def _nothing_there(info: MediaInfo, start_s: float, end_s: float | None) -> MediaError:
    end = "the end" if end_s is None else f"{end_s:g} s"
    lasts = "" if info.duration_s is None else f": the video lasts {info.duration_s:.3f} s"
    return MediaError(f"nothing lies between {start_s:g} s and {end}{lasts}", problem=MediaProblem.TOO_SHORT)
