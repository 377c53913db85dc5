"""What Label Studio's tasks tell: which frame of which video each shows, and the annotation that counts."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.formats import Hints
from components.annotate.parsing.fields import mapping, whole
from components.annotate.track_builder import Gathering, same_size
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import read_list
from components.core.run.errors import AvisError

MASKS = ("brushlabels", "brush", "polygonlabels", "polygon")  # the kinds of regions that are masks
SHAPE_TOLERANCE = 0.01  # difference of width / height, share
_UPLOAD = re.compile(r"(?:^|/)data/upload/(?:\d+/)?[^/]+$")  # the number is Label Studio's project
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before an uploaded file's name


@dataclass
class Seen:
    """What the tasks of a video tell together.

    address: the video's, where its task shows it as one.
    uploaded_as: its name with what Label Studio put before it; "" where that was nothing.
    """

    length: int = 0
    size: tuple[int, int] | None = None
    frames: dict[int, str] = field(default_factory=dict)  # pictures
    address: str = ""
    uploaded_as: str = ""
    predicted: bool = False
    annotated: bool = False

    @property
    def untouched(self) -> bool:
        """A draft that nobody has looked at: its silence means nothing."""
        return self.predicted and not self.annotated


@dataclass(frozen=True)
class Place:
    """Which frame of which video a task shows; frame None where it is a video.

    uploaded_as: the video's name with what Label Studio put before it; "" where that was nothing.
    """

    video: str
    frame: int | None
    picture: str
    uploaded_as: str = ""


@dataclass(frozen=True)
class Chosen:
    """The annotation of a task that counts, its regions, and how many others there are, for each reason."""

    annotation: Mapping[str, Any] = field(default_factory=dict)
    regions: list[Any] = field(default_factory=list)
    earlier: int = 0
    skipped: int = 0
    malformed: int = 0

    def note(self, changes: Changes, where: str) -> None:
        """Count the annotations that are left out."""
        for count, why in (
            (self.earlier, "its task was annotated again later"),
            (self.skipped, "it was skipped (cancelled) in Label Studio"),
            (self.malformed, "it has no list of regions"),
        ):
            changes.add(Kind.DROPPED, "annotation", why, example=where, count=count)


def place_of(data: Mapping[str, Any], where: str, hints: Hints) -> Place:
    if isinstance(data.get("video"), str) and "image" not in data:
        address = re.split(r"[?&]d=", data["video"].split("#")[0])[-1]
        if data.get("video_id"):
            return Place(str(data["video_id"]), None, "")
        name = re.sub(r"\.\w{2,4}$", "", address.rstrip("/").split("/")[-1])
        plain = _without_prefix(address, name)
        return Place(plain or hints.name, None, "", uploaded_as=name if plain != name else "")
    address = data.get("image")
    if not isinstance(address, str):
        raise AvisError("The task shows neither an image nor a video", where=where)
    picture = re.split(r"[?&]d=", address)[-1]
    folder, _, file = picture.rpartition("/")
    if _UPLOAD.search(picture) and not data.get("video_id"):
        raise AvisError(
            f"The uploaded image {address[:160]!r} does not tell its video: Label Studio keeps the pictures "
            "of all videos of a project in one folder",
            where=where,
            fix="Add data.video_id and data.frame to the tasks.",
        )
    name = str(data.get("video_id") or folder.rpartition("/")[2] or hints.name)
    if data.get("frame") is not None:
        frame = whole(data, "frame", f"{where}, data")
    else:
        digits = re.search(r"(\d{1,9})\D*$", re.sub(r"\.\w{2,4}$", "", _without_prefix(picture, file)))
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


def _without_prefix(address: str, name: str) -> str:
    """A file's name as it was before it was uploaded to Label Studio."""
    return _UPLOAD_PREFIX.sub("", name) if _UPLOAD.search(address) else name


def survey(path: Path, hints: Hints, gathering: Gathering) -> dict[str, Seen]:
    """First pass: videos, their lengths and sizes, and the labels in their order."""
    seen: dict[str, Seen] = {}
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for where, row in read_list(path, "tasks"):
        data = mapping(mapping(row, where).get("data"), where)
        place = place_of(data, where, hints)
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
            one.length = max([_frames_count(region) for region in chosen.regions] or [0])
        else:
            if one.address:
                raise AvisError(f"{place.video!r} is a video's task and a picture's", where=where)
            if place.frame in one.frames:
                raise AvisError(f"Frame {place.frame} of {place.video!r} has two tasks", where=where)
            one.frames[place.frame] = place.picture
            told = whole(data, "frames", where) if data.get("frames") is not None else 0
            one.length = max(one.length, place.frame + 1, told)
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


def refuse_other_shape(name: str, size: tuple[int, int], media: tuple[int, int] | None, where: str) -> None:
    """Raise AvisError where the frames that were annotated have another shape than the video's media.

    The same shape at another size is no error: masks are scaled with their frames.
    """
    if media is None or min(*size, *media) < 1:
        return
    if abs(size[1] * media[0] / (size[0] * media[1]) - 1) > SHAPE_TOLERANCE:
        raise AvisError(
            f"The tasks of the video {name!r} have {size[1]}x{size[0]} pixels, "
            f"its media {media[1]}x{media[0]}: that is another shape",
            where=where,
            fix="Annotate the frames that were extracted; look for rotation and letterboxing.",
        )


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


def annotation_of(row: Mapping[str, Any]) -> Chosen:
    """Of a task's annotations, the one that was changed last."""
    listed = row.get("annotations")
    found = listed if isinstance(listed, list) else []
    skipped = [one for one in found if isinstance(one, Mapping) and one.get("was_cancelled")]
    kept = [
        one
        for one in found
        if isinstance(one, Mapping) and not one.get("was_cancelled") and isinstance(one.get("result"), list)
    ]
    malformed = len(found) - len(skipped) - len(kept)
    if not kept:
        return Chosen(skipped=len(skipped), malformed=malformed)
    latest = max(kept, key=lambda one: str(one.get("updated_at") or ""))
    return Chosen(latest, list(latest["result"]), len(kept) - 1, len(skipped), malformed)
