"""What Label Studio's tasks tell: which frame of which video each shows, and the annotation that counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.formats import Hints
from components.annotate.parsing.fields import mapping, whole
from components.annotate.track_builder import Gathering, same_size
from components.core.records.json_rows import read_list
from components.core.run.errors import AvisError

MASKS = ("brushlabels", "brush", "polygonlabels", "polygon")  # the kinds of regions that are masks


@dataclass
class Seen:
    """What the tasks of a video tell together."""

    length: int = 0
    size: tuple[int, int] | None = None
    frames: dict[int, str] = field(default_factory=dict)  # pictures
    predicted: bool = False
    annotated: bool = False

    @property
    def untouched(self) -> bool:
        """A draft that nobody has looked at: its silence means nothing."""
        return self.predicted and not self.annotated


@dataclass(frozen=True)
class Place:
    """Which frame of which video a task shows; frame None where it is a video."""

    video: str
    frame: int | None
    picture: str


def place_of(data: Mapping[str, Any], where: str, hints: Hints) -> Place:
    if isinstance(data.get("video"), str) and "image" not in data:
        address = re.split(r"[?&]d=", data["video"].split("#")[0])[-1]
        name = data.get("video_id") or re.sub(r"\.\w{2,4}$", "", address.rstrip("/").split("/")[-1])
        return Place(str(name or hints.name), None, "")
    address = data.get("image")
    if not isinstance(address, str):
        raise AvisError("The task shows neither an image nor a video", where=where)
    picture = re.split(r"[?&]d=", address)[-1]
    folder, _, file = picture.rpartition("/")
    name = str(data.get("video_id") or folder.rpartition("/")[2] or hints.name)
    if data.get("frame") is not None:
        frame = whole(data, "frame", f"{where}, data")
    else:
        digits = re.search(r"(\d{1,9})\D*$", re.sub(r"\.\w{2,4}$", "", file))
        if digits is None:
            raise AvisError(
                f"The image {address[:160]!r} tells no frame",
                where=where,
                fix="Add data.video_id and data.frame.",
            )
        frame = int(digits[1])
    if not 0 <= frame < 1_000_000:
        raise AvisError(f"Frame {frame} is none", where=where)
    return Place(name, frame, f"{name}/{file}")


def survey(path: Path, hints: Hints, gathering: Gathering) -> dict[str, Seen]:
    """First pass: videos, their lengths and sizes, and the labels in their order."""
    seen: dict[str, Seen] = {}
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for where, row in read_list(path, "tasks"):
        data = mapping(mapping(row, where).get("data"), where)
        place = place_of(data, where, hints)
        one = seen.setdefault(place.video, Seen(size=hints.sizes.get(place.video)))
        one.predicted |= bool(row.get("predictions"))
        one.annotated |= bool(annotation_of(row)[0])
        labels = data.get("labels")
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, Mapping) and isinstance(label.get("value"), str):
                gathering.category(label["value"])
        if place.frame is None:
            if one.length:
                raise AvisError(f"The video {place.video!r} has two tasks", where=where)
            one.length = max([_frames_count(region) for region in annotation_of(row)[1]] or [0])
        else:
            if place.frame in one.frames:
                raise AvisError(f"Frame {place.frame} of {place.video!r} has two tasks", where=where)
            one.frames[place.frame] = place.picture
            told = whole(data, "frames", where) if data.get("frames") is not None else 0
            one.length = max(one.length, place.frame + 1, told)
        for size in _sizes(data, annotation_of(row)[1], where):
            one.size = size
            same_size(sizes, place.video, size, f"frame {place.frame}", where)
    return seen


def _sizes(data: Mapping[str, Any], regions: list[Any], where: str) -> list[tuple[int, int]]:
    sizes = []
    if data.get("width") is not None and data.get("height") is not None:
        sizes.append((whole(data, "height", where), whole(data, "width", where)))
    for region in regions:
        if isinstance(region, Mapping) and region.get("type") in MASKS:
            sizes.append((whole(region, "original_height", where), whole(region, "original_width", where)))
    return sizes


def _frames_count(region: Any) -> int:
    value = region.get("value") if isinstance(region, Mapping) else None
    number = value.get("framesCount", value.get("frameCount")) if isinstance(value, Mapping) else None
    return int(number) if isinstance(number, int | float) and 0 < number < 1_000_000 else 0


def annotation_of(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any], int]:
    """The annotation of a task that counts, its regions, and how many others there are."""
    whole_list = row.get("annotations")
    kept = [
        one
        for one in (whole_list if isinstance(whole_list, list) else ())
        if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list)
    ]
    if not kept:
        return {}, [], 0
    latest = max(kept, key=lambda one: str(one.get("updated_at") or ""))
    return latest, list(latest["result"]), len(kept) - 1
