"""One decode of a video file: its pictures in the order of time, and the sound that belongs to them."""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from components.core.media.clocks import HOLE_S, Clock
from components.core.media.container import (
    DAMAGED_SHARE,
    LONGEST_S,
    PRIMING_S,
    MediaError,
    MediaProblem,
    best_streams,
    clip_start_s,
    in_seconds,
    no_pictures,
    no_sound,
    no_sound_in,
    open_media,
    pixel_aspect_of,
    square_width,
    usual_rate_hz,
)
from components.core.media.picture import Picture
from components.core.media.sound import Soundtrack, add_frame
from components.core.media.unseen_pictures import UnseenPictures
from components.core.records.changes import Changes, Kind

_MISSING_S = 1.0  # an end that comes this much earlier than the header says is a truncated file
_MISSING_SHARE = 0.05
# What damage or malice may promise in a few bytes, and a machine would have to hold.
_LARGEST_PX = 8192 * 8192  # of a picture; 8K video has half of it
LONGEST_STILL_S = 600.0  # one picture without a next one, and without sound
_BROKEN = "the picture before it was shown on, or FFmpeg mended it; of sound it is silent"
_ONLY = "it is the only one; it is shown as long as the sound lasts"
_LATE = "the pictures begin after the sound; it is black before"


def decode(
    path: Path,
    sound: Soundtrack,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    require_audio: bool = True,
    threads: int = 0,
    changes: Changes | None = None,
    wanted_hz: float | None = None,
) -> Iterator[Picture]:
    """Decode a file once: yield its pictures in the order of time, collect its sound in `sound`.

    Where no picture was recorded (`clocks`) a black one is yielded; sound that is missing is silent.

    Args:
        path: any file that FFmpeg reads; of several tracks `best_streams` takes one.
        sound: receives every decoded piece at its time of the clip.
        start_s: begin at a key picture at or before this time, where the file can be searched.
        end_s: stop when both picture and sound are past this time.
        require_audio: if False, a file without sound is no error.
        threads: of the video decoder; 0 = one per core.
        changes: receives what was moved and filled.
        wanted_hz: only the pictures shown at (k + 0.5) / wanted_hz are wanted: others may be left out.

    Raises:
        MediaError: at the start, no video or no sound in the file; at the end, too much damage, or the file
            ends before its header says so; in between, pictures and sound are torn apart.
    """
    with open_media(path) as container:
        video, audio = best_streams(container)
        if video is None:
            raise no_pictures(container, path)
        if audio is None and require_audio:
            raise no_sound(container, path)
        pixel_aspect = pixel_aspect_of(video)
        _refuse_huge(square_width(video.width, pixel_aspect), video.height, path)
        video.codec_context.options = {"max_pixels": str(_LARGEST_PX)}  # also of a size that comes later
        video.codec_context.thread_count = threads
        video.codec_context.thread_type = "AUTO" if threads != 1 else "SLICE"
        origin_s = clip_start_s(video, audio)
        if start_s > 0:
            try:
                container.seek(max(0, int((origin_s + start_s - PRIMING_S) * 1e6)))
            except av.error.FFmpegError as error:
                raise MediaError(f"the file cannot be searched: {error.strerror}", where=str(path)) from None
        usual_s = 1.0 / usual_rate_hz(video)
        picture_end_s = before_s = told_end_s = 0.0
        packets = pictures = seen = heard = 0
        broken_s: list[float] = []  # where each damaged packet is
        lost_s = (
            math.inf
        )  # where a picture is damaged: those after it, up to the next key picture, may be wrong
        done = {stream.index: False for stream in (video, audio) if stream is not None}
        streams = [stream for stream in (video, audio) if stream is not None]
        clock = Clock(container, streams, origin_s=origin_s, path=path, changes=changes)
        unseen = UnseenPictures(video, wanted_hz, origin_s)
        for packet in clock.packets():
            packets += 1
            if packet is None:
                broken_s.append(picture_end_s)
                lost_s = min(lost_s, picture_end_s)
                continue
            if packet.stream.index == video.index:
                unseen.look_at(packet)
                seen += packet.size > 0  # the last one asks the decoder for what it holds
                if packet.is_corrupt and packet.pts is not None:
                    lost_s = min(lost_s, in_seconds(packet.pts, video.time_base) - origin_s)
            else:
                heard += packet.size > 0
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                broken_s.append(picture_end_s)
                if packet.stream.index == video.index:
                    lost_s = min(lost_s, picture_end_s)
                continue
            for frame in frames:
                if isinstance(frame, av.AudioFrame):
                    if not add_frame(frame, sound, origin_s):
                        broken_s.append(sound.end_s)
                    done[packet.stream.index] = end_s is not None and sound.end_s >= end_s
                    continue
                time_s = picture_end_s if frame.time is None else frame.time - origin_s
                if frame.is_corrupt:
                    broken_s.append(time_s)
                    lost_s = min(lost_s, time_s)
                if frame.key_frame and time_s >= lost_s:
                    lost_s = math.inf
                hole_s = clock.hole_s(before_s + origin_s, time_s + origin_s) if pictures else None
                heard_s = sound.end_s if hole_s is None else 0.0  # a still picture, while the sound goes on
                _refuse_endless(max(picture_end_s, start_s, heard_s), time_s, path)
                length_s = in_seconds(frame.duration, frame.time_base) if frame.duration else usual_s
                told_end_s = time_s + length_s
                length_s = length_s if length_s <= LONGEST_STILL_S else usual_s
                picture = Picture(frame, time_s, length_s, pixel_aspect, is_doubtful=time_s > lost_s)
                if pictures:
                    if hole_s is not None:
                        yield _black(picture, hole_s - origin_s)
                elif time_s > HOLE_S and not start_s:
                    yield _black(picture, 0.0)
                    if changes is not None:
                        changes.add(Kind.FILLED, "gap in the pictures", _LATE, example=f"0 to {time_s:.2f} s")
                before_s = time_s
                pictures += 1
                picture_end_s = max(picture_end_s, time_s + length_s)
                done[packet.stream.index] = end_s is not None and time_s >= end_s
                yield picture
            if all(done.values()):
                break
        if not seen:
            raise no_pictures(container, path)
        if not pictures:
            raise MediaError("no picture could be decoded", where=str(path))
        if require_audio and sound.is_empty:
            raise no_sound_in(heard, audio.frames if audio else 0, path)
        if len(broken_s) > max(1, packets * DAMAGED_SHARE):
            raise MediaError(
                f"{len(broken_s)} of {packets} packets are damaged, the first at {broken_s[0]:.1f} s"
                + ": its parts may differ in their codecs" * (clock.parts > 1),
                where=str(path),
                fix="Get the file again.",
            )
        if changes is not None:
            for at_s in broken_s:
                changes.add(Kind.FILLED, "damaged packet", _BROKEN, example=f"at {at_s:.2f} s")
        if not sound.is_empty and not all(done.values()):
            # The last picture is longer than a time is trusted, or the only one, whose length nothing tells.
            until_s = sound.end_s if pictures == 1 else min(told_end_s, sound.end_s)
            if until_s - picture_end_s > HOLE_S:
                if pictures == 1 and until_s > told_end_s + HOLE_S and changes is not None:
                    changes.add(Kind.FILLED, "picture", _ONLY, example=f"{until_s:.2f} s")
                yield Picture(picture.frame, picture_end_s, until_s - picture_end_s, pixel_aspect)
                picture_end_s = until_s
        if not sound.is_empty and changes is not None and not all(done.values()):
            _note_ends(picture_end_s, sound.end_s, changes)
        # Of several parts the header, or FFmpeg's guess, tells only one.
        if container.duration is not None and not all(done.values()) and clock.runs_through:
            expected_s = container.duration / 1e6
            if container.format.name == "avi" and video.time_base:  # FFmpeg shortens what is cut off
                expected_s = max(expected_s, in_seconds(video.frames, video.time_base))
            # Some containers (Matroska) count the duration from time 0, not from their first packet.
            missing_s = expected_s - max(picture_end_s, sound.end_s) - max(origin_s, 0.0)
            if missing_s > max(_MISSING_S, expected_s * _MISSING_SHARE):
                raise MediaError(
                    f"the file ends {missing_s:.1f} s before the {expected_s:.1f} s its header promises",
                    where=str(path),
                    fix="Get the file again.",
                )


def _black(after: Picture, time_s: float) -> Picture:
    """What is seen from `time_s` until a picture comes: nothing, in its size."""
    width, height = after.size_px
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="rgb24")
    return Picture(frame, time_s, after.time_s - time_s, None)


def _note_ends(pictures_s: float, sound_s: float, changes: Changes) -> None:
    """Tell where one of the two ends well before the other."""
    if pictures_s - sound_s > HOLE_S:
        span = f"{sound_s:.2f} s to {pictures_s:.2f} s"
        changes.add(
            Kind.FILLED, "end of the sound", "it ends before the pictures; it is silent", example=span
        )
    elif sound_s - pictures_s > HOLE_S:
        span = f"{pictures_s:.2f} s to {sound_s:.2f} s"
        changes.add(Kind.DROPPED, "end of the sound", "it goes on after the last picture", example=span)


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
    if time_s > LONGEST_S:
        raise MediaError(
            f"the video lasts longer than {LONGEST_S / 3600:g} hours ({time_s:.0f} s)",
            problem=MediaProblem.UNSUPPORTED,
            where=str(path),
            fix="Cut it into parts.",
        )
    if time_s - before_s > LONGEST_STILL_S:
        raise MediaError(
            f"no picture for {time_s - before_s:.0f} s after {before_s:.1f} s: a timestamp is damaged",
            where=str(path),
        )
