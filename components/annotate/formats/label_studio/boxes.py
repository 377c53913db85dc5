"""Label Studio's boxes in videos: keyframes, between which a box moves evenly."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from components.annotate.parsing.fields import mapping, whole
from components.core.records.annotations import Video
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

_SIDES = ("x", "y", "width", "height", "rotation")


def rectangles(
    sequence: object, video: Video, changes: Changes, where: str
) -> Iterator[tuple[int, list[float]]]:
    """The box of each frame that shows one, as a polygon in pixels.

    Label Studio counts frames from 1 and gives percents of the frame; a keyframe that is not `enabled` is the
    last frame that shows the box, until the next keyframe.

    Raises:
        AvisError: the keyframes are malformed.
    """
    if not isinstance(sequence, list):
        raise AvisError("The box has no sequence of keyframes", where=where)
    keyframes: dict[int, Mapping[str, Any]] = {}
    for entry in sequence:
        row = mapping(entry, where)
        frame = whole(row, "frame", where) - 1
        if not 0 <= frame < video.length:
            raise AvisError(
                f"Keyframe {frame + 1} is not among the video's {video.length} frames", where=where
            )
        for side in _SIDES:
            value = row.get(side, 0)
            if type(value) not in (int, float) or not abs(value) < 1e6:
                raise AvisError(f"{side} is {value!r}, not a number", where=f"{where}, frame {frame + 1}")
        if keyframes.setdefault(frame, row) != row:
            why = "another one of its box is of the same frame and later in the list, which is taken"
            changes.add(Kind.DROPPED, "keyframe", why, example=f"{where}, frame {frame + 1}")
        keyframes[frame] = row
    order = sorted(keyframes)
    shown: dict[int, list[float]] = {}
    for place, frame in enumerate(order):
        if not keyframes[frame].get("enabled", True):
            continue
        end = order[place + 1] if place + 1 < len(order) else video.length
        first = [float(keyframes[frame].get(side, 0)) for side in _SIDES]
        last = [float(keyframes[end].get(side, 0)) for side in _SIDES] if end in keyframes else first
        for between in range(frame, min(end + 1, video.length)):
            share = (between - frame) / (end - frame)
            shown[between] = [a + (b - a) * share for a, b in zip(first, last, strict=True)]
    for frame, box in sorted(shown.items()):
        yield frame, _corners(box, video)


def _corners(box: list[float], video: Video) -> list[float]:
    """The four corners in pixels; a box turns about its upper left one."""
    x, y, width, height, rotation = box
    left, top = x * video.width / 100, y * video.height / 100
    across, down = width * video.width / 100, height * video.height / 100
    cosine, sine = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    corners = ((0.0, 0.0), (across, 0.0), (across, down), (0.0, down))
    return [
        round(value, 6)
        for a, b in corners
        for value in (left + a * cosine - b * sine, top + a * sine + b * cosine)
    ]
