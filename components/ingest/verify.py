"""Decode a file once, end to end: does it hold what its header promises, and long enough?"""

from dataclasses import dataclass
from pathlib import Path

from components.core.media.container import MediaError, MediaProblem, probe
from components.core.media.decode import decode
from components.core.media.sound import Soundtrack


@dataclass(frozen=True, slots=True)
class Verified:
    """A file that decodes; width and height as seen, duration as decoded."""

    path: Path
    duration_s: float
    width: int
    height: int
    fps: float
    video_codec: str
    audio_codec: str
    changes: str | None = None  # on the way from the source: records/changes.Changes.text


def verify(path: Path, *, min_duration_s: float, frame_s: float) -> Verified:
    """Decode pictures and sound.

    Args:
        path: the file.
        min_duration_s: less is too short; half a frame of rounding is no lack.
        frame_s: length of a frame, as `remux` tells it.

    Raises:
        MediaError: it does not decode, lacks video or sound, or is too short.
    """
    duration_s, size_px = 0.0, (0, 0)
    sound = Soundtrack(rate_hz=16_000)
    for picture in decode(path, sound, threads=1):
        sound.forget()
        size_px = size_px if duration_s else picture.size_px
        duration_s = max(duration_s, picture.time_s + picture.length_s)
    if duration_s < min_duration_s - 0.5 * frame_s:
        raise MediaError(
            f"the video lasts {duration_s:.3f} s, less than {min_duration_s:g} s",
            problem=MediaProblem.TOO_SHORT,
        )
    info = probe(path)
    return Verified(
        path=path,
        duration_s=round(duration_s, 6),
        width=size_px[0],
        height=size_px[1],
        fps=round(info.frame_rate_hz, 6),
        video_codec=info.video_codec or "",
        audio_codec=info.audio_codec or "",
    )
