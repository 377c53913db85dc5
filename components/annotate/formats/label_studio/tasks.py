"""What Label Studio's tasks tell: which frame of which video each shows, and the annotation that counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.formats import Hints
from components.annotate.parsing.fields import mapping, whole
from components.annotate.parsing.frame_names import FrameNames
from components.annotate.parsing.label_studio_tasks import (
    UPLOAD,
    annotation_of,
    data_of,
    without_upload_prefix,
)
from components.annotate.track_builder import Gathering, same_size
from components.core.records.json_rows import read_list
from components.core.run.errors import AvisError

MASKS = ("brushlabels", "brush", "polygonlabels", "polygon")  # the kinds of regions that are masks


@dataclass
class Seen:
    """What the tasks of a video tell together.

    address: the video's, where its task shows it as one.
    uploaded_as: its name with what Label Studio put before it; "" where that was nothing.
    rate_hz: of the video's frames as Label Studio counts them; None where no region tells.
    is_named: the pictures' names tell all frames, and nothing tells how many there are.
    """

    length: int = 0
    rate_hz: float | None = None
    size: tuple[int, int] | None = None
    frames: dict[int, str] = field(default_factory=dict)  # pictures
    address: str = ""
    uploaded_as: str = ""
    predicted: bool = False
    annotated: bool = False
    is_named: bool = True

    @property
    def untouched(self) -> bool:
        """A draft that nobody has looked at: its silence means nothing."""
        return self.predicted and not self.annotated

    @property
    def skipped(self) -> bool:
        """A video that nobody has annotated: its silence means nothing, either."""
        return not self.annotated


@dataclass(frozen=True)
class Place:
    """Which frame of which video a task shows; frame None where it is a video.

    uploaded_as: the video's name with what Label Studio put before it; "" where that was nothing.
    is_named: the picture's name tells the frame, and not the task's data.
    """

    video: str
    frame: int | None
    picture: str
    uploaded_as: str = ""
    is_named: bool = False


def place_of(data: Mapping[str, Any], where: str, hints: Hints, alike: FrameNames) -> Place:
    if isinstance(data.get("video"), str) and "image" not in data:
        address = _path(data["video"].split("#")[0])
        if data.get("video_id"):
            return Place(str(data["video_id"]), None, "")
        name = re.sub(r"\.\w{2,4}$", "", address.rstrip("/").split("/")[-1])
        plain = without_upload_prefix(address, name)
        return Place(plain or hints.name, None, "", uploaded_as=name if plain != name else "")
    shown = data.get("image")
    if not isinstance(shown, str):
        raise AvisError("The task shows neither an image nor a video", where=where)
    picture = _path(shown)
    folder, _, file = picture.rpartition("/")
    if UPLOAD.search(picture) and not data.get("video_id"):
        raise AvisError(
            f"The uploaded image {shown[:160]!r} does not tell its video: Label Studio keeps the pictures "
            "of all videos of a project in one folder",
            where=where,
            fix="Add data.video_id and data.frame to the tasks.",
        )
    name = str(data.get("video_id") or folder.rpartition("/")[2] or hints.name)
    is_named = data.get("frame") is None
    if not is_named:
        frame = whole(data, "frame", f"{where}, data")
    else:
        stem = re.sub(r"\.\w{2,4}$", "", without_upload_prefix(picture, file))
        found = alike.number(name, stem, where)
        if found is None:
            raise AvisError(
                f"The image {shown[:160]!r} tells no frame",
                where=where,
                fix="Add data.video_id and data.frame.",
            )
        frame = found
    if not 0 <= frame < 1_000_000:
        raise AvisError(f"Frame {frame} is none", where=where)
    return Place(name, frame, f"{name}/{file}", is_named=is_named)


def _path(address: str) -> str:
    """The path in an address: what follows `?d=` of local files; else without a query, as S3 signs with."""
    local: list[str] = re.split(r"[?&]d=", address)
    return local[-1] if len(local) > 1 else address.split("?")[0]


def survey(path: Path, hints: Hints, gathering: Gathering) -> dict[str, Seen]:
    """First pass: videos, their lengths and sizes, and the labels in their order."""
    seen: dict[str, Seen] = {}
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    alike = FrameNames()
    for where, row in read_list(path, "tasks"):
        data = data_of(mapping(row, where), where)
        place = place_of(data, where, hints, alike)
        one = seen.setdefault(place.video, Seen())
        chosen = annotation_of(row)
        one.predicted |= bool(row.get("predictions"))
        one.annotated |= bool(chosen.annotation)
        labels = data.get("labels")
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, Mapping) and isinstance(label.get("value"), str):
                gathering.category(label["value"])
        if place.frame is None:
            if one.address or one.frames:
                _refuse_second(place.video, one.address, data["video"], where)
            one.address, one.uploaded_as = data["video"] or place.video, place.uploaded_as
            for region in chosen.regions:
                number, rate_hz = _frames_count(region)
                one.length, one.rate_hz = max(one.length, number), one.rate_hz or rate_hz
        else:
            if one.address:
                raise AvisError(f"{place.video!r} is a video's task and a picture's", where=where)
            if place.frame in one.frames:
                raise AvisError(f"Frame {place.frame} of {place.video!r} has two tasks", where=where)
            one.frames[place.frame] = place.picture
            told = whole(data, "frames", where) if data.get("frames") is not None else 0
            one.length = max(one.length, place.frame + 1, told)
            one.is_named &= place.is_named and not told
        for size in _sizes(data, chosen.regions, where):
            one.size = size
            same_size(sizes, place.video, size, f"frame {place.frame}", where)
    return seen


def _refuse_second(name: str, first: str, second: str, where: str) -> None:
    if first in ("", second):
        raise AvisError(f"The video {name!r} has two tasks", where=where)
    raise AvisError(
        f"Two videos are called {name!r}: {first[:160]!r} and {second[:160]!r}",
        where=where,
        fix="Add data.video_id to their tasks, or leave one of them out.",
    )


def _sizes(data: Mapping[str, Any], regions: list[Any], where: str) -> list[tuple[int, int]]:
    """(height, width) of the frame as the task and its masks tell it; failing these, its other shapes."""
    sizes: list[tuple[int, int]] = []
    if data.get("width") is not None and data.get("height") is not None:
        sizes.append((whole(data, "height", where), whole(data, "width", where)))
    others: list[tuple[int, int]] = []
    for region in regions:
        if not isinstance(region, Mapping) or region.get("type") == "videorectangle":
            continue
        sides = region.get("original_height"), region.get("original_width")
        if region.get("type") in MASKS or None not in sides:
            size = whole(region, "original_height", where), whole(region, "original_width", where)
            (sizes if region.get("type") in MASKS else others).append(size)
    return sizes or others


def _frames_count(region: Any) -> tuple[int, float | None]:
    """How many frames a region of a video says that the video has, and how many a second."""
    value = region.get("value") if isinstance(region, Mapping) else None
    if not isinstance(value, Mapping):
        return 0, None
    number, duration_s = value.get("framesCount", value.get("frameCount")), value.get("duration")
    if not isinstance(number, int | float) or not 0 < number < 1_000_000:
        return 0, None
    if not isinstance(duration_s, int | float) or not 0 < duration_s < 1e7:
        return int(number), None
    return int(number), number / duration_s
