"""From annotations of every frame to the pictures that were extracted: at the middle of each second."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from components.annotate.capabilities import count
from components.annotate.clock import Clock
from components.core.records.annotations import AnnotationSet, PictureNames, Track, Video
from components.core.records.work_file import taken
from components.core.run.errors import AvisError

MOST_APART = 1.05  # of the time between two pictures: so far apart annotated frames may lie


def one_frame_a_second(
    annotations: AnnotationSet, frame_rate_hz: float, clocks: Mapping[str, Clock] = MappingProxyType({})
) -> tuple[AnnotationSet, list[str]]:
    """Keep, for second k, the frame shown at k + 0.5 s; a last second that is not whole is left out.

    Args:
        frame_rate_hz: of the annotated frames, not of the video (SA-V: 6).
        clocks: of videos of which the source has some frames only, by name.

    Returns:
        the annotations, and what was left out, a sentence each.

    Raises:
        AvisError: the frames lie further apart than a second, a video is shorter than that, or no mask at
            all lies in a frame that is kept.
    """
    if not 0.001 <= frame_rate_hz <= 1000:
        raise AvisError(f"{frame_rate_hz:g} is no frame rate", fix="Give annotated frames a second, say 6.")
    if frame_rate_hz * MOST_APART < 1:
        raise AvisError(
            f"At {frame_rate_hz:g} a second not every second has an annotated frame, and nobody knows what "
            "sounds in the others",
            fix="Annotate a frame of every second.",
        )
    picked: dict[int, list[int]] = {}
    videos = []
    for video in annotations.videos:
        clock = _within(clocks.get(video.name, Clock()), frame_rate_hz)
        seconds = math.floor((video.length - 1 + clock.every) / frame_rate_hz + 1e-6)
        if seconds == 0:
            raise AvisError(
                f"The video {video.name!r} has {count(video.length, 'frame')}, "
                f"less than a second at {frame_rate_hz:g} a second",
                fix="Is the frame rate that of the annotated frames?",
            )
        frames = [clock.listed(math.floor((k + 0.5) * frame_rate_hz)) for k in range(seconds)]
        picked[video.id] = [min(frame, video.length - 1) for frame in frames]
        names = PictureNames(video.name, seconds)
        videos.append(
            Video(video.id, video.name, names, length=seconds, height=video.height, width=video.width)
        )
    shown = [track for track in annotations.tracks if any(track.segmentations)]
    for track in annotations.tracks:
        track.segmentations = taken(track.segmentations, picked[track.video_id])
    left = sum(any(track.segmentations) for track in shown)
    if shown and not left:
        raise AvisError(
            f"None of the frames that are kept at {frame_rate_hz:g} a second has a mask",
            fix="If the frames between were never annotated, number the annotated ones without gaps and give "
            "the rate at which they come.",
        )
    before = sum(video.length for video in annotations.videos)
    after = sum(video.length for video in videos)
    note = (
        f"of {before} frames at {frame_rate_hz:g} a second, {after} are kept: the one shown at the middle of "
        "each second"
    )
    notes = [note]
    if left < len(shown):
        notes.append(f"{count(len(shown) - left, 'track')} had masks only in frames that are not kept")
    return AnnotationSet(annotations.categories, videos, annotations.tracks, annotations.info), notes


def frames_of_pictures(length: int, clock: Clock, pictures: int, picture_rate_hz: float) -> list[int] | None:
    """The annotated frame that is shown when each picture of the media was taken, at (k + 0.5) / its rate.

    Args:
        length: how many frames are annotated.
        clock: which of the video's they are; its rate must be known.
        pictures: how many pictures the media have.

    Returns:
        None if the annotated frames do not last as long as the media, or lie further apart than pictures.
    """
    rate_hz = clock.rate_hz
    if rate_hz is None or clock.step * picture_rate_hz > MOST_APART * rate_hz:
        return None
    clock = _within(clock, rate_hz / (clock.step * picture_rate_hz))
    end_s = (clock.first + (length - 1 + clock.every) * clock.step) / rate_hz
    # extract rounds a video's length to whole pictures; two frames more or less are a matter of counting
    if abs(end_s * picture_rate_hz - pictures) > 0.5 + 2 * clock.step * picture_rate_hz / rate_hz:
        return None
    numbers = [math.floor((k + 0.5) / picture_rate_hz * rate_hz) for k in range(pictures)]
    frames = [clock.listed((number - clock.first) // clock.step) for number in numbers]
    if not frames or frames[0] < 0 or frames[-1] > length + clock.every:
        return None
    return [min(frame, length - 1) for frame in frames]


def _within(clock: Clock, most: float) -> Clock:
    """The clock, if the frames that the source has lie at most so many apart; they tell nothing of others."""
    return clock if clock.every <= most + 1 else replace(clock, every=1)


def keep_frames(video: Video, tracks: Sequence[Track], frames: Sequence[int]) -> None:
    """Reduce a video and its tracks to some of its frames, in place."""
    video.length = len(frames)
    video.file_names = PictureNames(video.name, len(frames))
    for track in tracks:
        track.segmentations = taken(track.segmentations, frames)
