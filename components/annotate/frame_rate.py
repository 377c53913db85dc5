"""From annotations of every frame to one frame a second, the picture shown at its middle."""

import math

from components.annotate.capabilities import count
from components.core.records.annotations import AnnotationSet, Video
from components.core.run.errors import AvisError


def one_frame_a_second(annotations: AnnotationSet, frame_rate_hz: float) -> tuple[AnnotationSet, list[str]]:
    """Keep, for second k, the frame shown at k + 0.5 s; a last second that is not whole is left out.

    Args:
        frame_rate_hz: of the annotated frames, not of the video (SA-V: 6).

    Returns:
        the annotations, and what was left out, a sentence each.

    Raises:
        AvisError: a video is shorter than a second.
    """
    if not 0.001 <= frame_rate_hz <= 1000:
        raise AvisError(f"{frame_rate_hz:g} is no frame rate", fix="Give annotated frames a second, say 6.")
    picked: dict[int, list[int]] = {}
    videos = []
    for video in annotations.videos:
        seconds = math.floor(video.length / frame_rate_hz + 1e-6)
        if seconds == 0:
            raise AvisError(
                f"The video {video.name!r} has {count(video.length, 'frame')}, "
                f"less than a second at {frame_rate_hz:g} a second",
                fix="Is the frame rate that of the annotated frames?",
            )
        frames = [min(math.floor((k + 0.5) * frame_rate_hz), video.length - 1) for k in range(seconds)]
        picked[video.id] = frames
        names = [f"{video.name}/{k:05d}.jpg" for k in range(seconds)]
        videos.append(
            Video(video.id, video.name, names, length=seconds, height=video.height, width=video.width)
        )
    for track in annotations.tracks:
        track.segmentations = [track.segmentations[k] for k in picked[track.video_id]]
    before = sum(video.length for video in annotations.videos)
    after = sum(video.length for video in videos)
    note = (
        f"of {before} frames at {frame_rate_hz:g} a second, {after} are kept: the one shown at the middle of "
        "each second"
    )
    return AnnotationSet(annotations.categories, videos, annotations.tracks, annotations.info), [note]
