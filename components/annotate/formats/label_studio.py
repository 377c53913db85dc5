"""Label Studio JSON: a task per frame with brush or polygon regions, or a task per video with boxes.

Frames: `data.video_id` and `data.frame`, or the folder and number in `data.image`. Tracks: a number, or a
text, named `track` of the region. Of several annotations of a task the one that was changed last is taken.
Videos: boxes (VideoRectangle) become polygons, moved between their keyframes as Label Studio moves them.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.capabilities import count
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.formats.label_studio_writer import DECIMALS, write
from components.annotate.parsing.fields import mapping, numbers, whole
from components.annotate.parsing.label_studio_rle import decode_brush
from components.annotate.parsing.label_studio_video import rectangles
from components.annotate.track_builder import Gathering, missing_frames, same_size
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.json_rows import read_list
from components.core.records.masks import encode
from components.core.run.errors import AvisError

_MASKS = ("brushlabels", "brush", "polygonlabels", "polygon")


@dataclass
class _Seen:
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


def _recognise(look: Look) -> str | None:
    if "[]" not in look.keys or "data" not in look.keys:
        return None
    found = [key for key in ("annotations", "predictions") if key in look.keys]
    return f"a JSON list of tasks with data and {' and '.join(found)}" if found else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering()
    seen = _survey(path, hints, gathering)
    videos: dict[str, Video] = {}
    for name, one in seen.items():
        where = f"{path}, video {name!r}"
        if one.untouched:
            continue
        if one.size is None:
            raise AvisError(
                "No task tells the size of the frames",
                where=where,
                fix="Put width and height, in pixels, into the data of the video's tasks.",
            )
        video = gathering.video(name, height=one.size[0], width=one.size[1], length=one.length, where=where)
        names = [one.frames.get(k, "") for k in range(one.length)]
        if all(file.startswith(f"{video.name}/") and ".." not in file for file in names):
            video.file_names = names
        if one.frames:
            gathering.notes += missing_frames(video.name, set(one.frames), one.length)
        videos[name] = video
    told = _Told()
    for where, row in read_list(path, "tasks"):
        row = mapping(row, where)
        where = f"{where}, task {row.get('id')}" if "id" in row else where
        place = _place(mapping(row.get("data"), where), where, hints)
        if place.video in videos:
            _add_task(gathering, videos[place.video], place, row, where, told)
    gathering.notes += told.sentences()
    untouched = [name for name, one in seen.items() if one.untouched]
    if untouched:
        more = " …" if len(untouched) > 5 else ""
        gathering.notes.append(
            f"{count(len(untouched), 'video')} with predictions that nobody has annotated left out: "
            f"{', '.join(untouched[:5])}{more}"
        )
    if not videos and untouched:
        return Reading(AnnotationSet(dict(gathering.categories), [], []), gathering.notes)
    return Reading(gathering.finish(str(path)), gathering.notes)


@dataclass(frozen=True)
class _Place:
    """Which frame of which video a task shows; frame None where it is a video."""

    video: str
    frame: int | None
    picture: str


def _place(data: Mapping[str, Any], where: str, hints: Hints) -> _Place:
    if isinstance(data.get("video"), str) and "image" not in data:
        address = re.split(r"[?&]d=", data["video"].split("#")[0])[-1]
        name = data.get("video_id") or re.sub(r"\.\w{2,4}$", "", address.rstrip("/").split("/")[-1])
        return _Place(str(name or hints.name), None, "")
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
    return _Place(name, frame, f"{name}/{file}")


def _survey(path: Path, hints: Hints, gathering: Gathering) -> dict[str, _Seen]:
    """First pass: videos, their lengths and sizes, and the labels in their order."""
    seen: dict[str, _Seen] = {}
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for where, row in read_list(path, "tasks"):
        data = mapping(mapping(row, where).get("data"), where)
        place = _place(data, where, hints)
        one = seen.setdefault(place.video, _Seen(size=hints.sizes.get(place.video)))
        one.predicted |= bool(row.get("predictions"))
        one.annotated |= bool(_results(row)[0])
        labels = data.get("labels")
        for label in labels if isinstance(labels, list) else ():
            if isinstance(label, Mapping) and isinstance(label.get("value"), str):
                gathering.category(label["value"])
        if place.frame is None:
            if one.length:
                raise AvisError(f"The video {place.video!r} has two tasks", where=where)
            one.length = max([_frames_count(region) for region in _results(row)[1]] or [0])
        else:
            if place.frame in one.frames:
                raise AvisError(f"Frame {place.frame} of {place.video!r} has two tasks", where=where)
            one.frames[place.frame] = place.picture
            told = whole(data, "frames", where) if data.get("frames") is not None else 0
            one.length = max(one.length, place.frame + 1, told)
        for size in _sizes(data, _results(row)[1], where):
            one.size = size
            same_size(sizes, place.video, size, f"frame {place.frame}", where)
    return seen


def _sizes(data: Mapping[str, Any], regions: list[Any], where: str) -> list[tuple[int, int]]:
    sizes = []
    if data.get("width") is not None and data.get("height") is not None:
        sizes.append((whole(data, "height", where), whole(data, "width", where)))
    for region in regions:
        if isinstance(region, Mapping) and region.get("type") in _MASKS:
            sizes.append((whole(region, "original_height", where), whole(region, "original_width", where)))
    return sizes


def _frames_count(region: Any) -> int:
    value = region.get("value") if isinstance(region, Mapping) else None
    number = value.get("framesCount", value.get("frameCount")) if isinstance(value, Mapping) else None
    return int(number) if isinstance(number, int | float) and 0 < number < 1_000_000 else 0


def _results(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Any], int]:
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


@dataclass
class _Told:
    """What is said at the end, counted; alone: labels of a region without track in this task."""

    others: int = 0
    unlabelled: int = 0
    untracked: int = 0
    alone: set[str] = field(default_factory=set)
    boxes: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def sentences(self) -> list[str]:
        said = []
        if self.others:
            said.append(
                f"{count(self.others, 'annotation')} of tasks that were annotated again later, left out"
            )
        if self.unlabelled:
            tasks = count(self.unlabelled, "task")
            said.append(f"{tasks} with predictions that nobody has annotated, taken as without masks")
        if self.untracked:
            said.append(
                f"{count(self.untracked, 'region')} without a number `track`, taken for one track per label"
            )
        if self.boxes:
            said.append(
                f"the boxes of {count(self.boxes, 'track')} became rectangles: there are no masks of them"
            )
        for kind, number in self.kinds.items():
            said.append(f"{count(number, 'region')} of the kind {kind!r}, no masks, left out")
        return said


def _add_task(
    gathering: Gathering, video: Video, place: _Place, row: Mapping[str, Any], where: str, told: _Told
) -> None:
    annotation, results, others = _results(row)
    told.others += others
    told.unlabelled += not annotation and bool(row.get("predictions"))
    worker = annotation.get("completed_by")
    if isinstance(worker, Mapping):
        worker = worker.get("email") or worker.get("username") or worker.get("id")
    person = "" if worker is None else str(worker)
    regions: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for number, part in enumerate(results):
        part = mapping(part, where)
        regions[str(part.get("id") or f"region {number}")].append(part)
    if place.frame is None:
        for identity, parts in regions.items():
            told.boxes += _add_boxes(gathering, video, identity, parts, person, where, told)
        return
    told.alone = set()
    for identity, parts in regions.items():
        _add_region(gathering, video, place.frame, parts, person, f"{where}, region {identity}", told)


def _add_region(
    gathering: Gathering,
    video: Video,
    frame: int,
    parts: list[Mapping[str, Any]],
    person: str,
    where: str,
    told: _Told,
) -> None:
    shapes = [part for part in parts if part.get("type") in _MASKS]
    if not shapes:
        for part in parts:
            told.kinds[str(part.get("type"))] += 1
        return
    label = _label(parts, where)
    track = _text_of(parts, "track")
    if not track:
        told.untracked += 1
        if label in told.alone:
            raise AvisError(
                f"Two regions of {label!r} in one frame, and no number `track` tells which object each is",
                where=where,
                fix='Add <Number name="track" toName="image" perRegion="true"/> to the labeling config.',
            )
        told.alone.add(label)
    key: object = f"label {label}"
    if track:
        number = re.fullmatch(r"(?:track\s*)?(\d{1,15})(?:\.0)?", track)
        key = int(number[1]) if number else f"track {track}"
    gathering.track(video, key, gathering.category(label), where, _text_of(parts, "annotator") or person)
    for shape in shapes:
        if shape.get("image_rotation"):
            raise AvisError("The picture was rotated in Label Studio", where=where, fix="Rotate it back.")
        value = mapping(shape.get("value"), where)
        segmentation: Any
        if str(shape["type"]).startswith("brush"):
            try:
                segmentation = encode(decode_brush(value.get("rle"), video.height, video.width))
            except AvisError as error:
                raise AvisError(error.what, where=where, fix="Export it again.") from None
        else:
            segmentation = [_pixels(value.get("points"), video, where)]
        gathering.add(video, frame, key, segmentation, where)


def _label(parts: list[Mapping[str, Any]], where: str) -> str:
    for part in parts:
        value = part.get("value")
        for kind in ("brushlabels", "polygonlabels", "labels"):
            names = value.get(kind) if isinstance(value, Mapping) else None
            if isinstance(names, list) and names and isinstance(names[0], str) and names[0]:
                return names[0]
    raise AvisError("The region has no label", where=where, fix="Give it one, or delete it.")


def _text_of(parts: list[Mapping[str, Any]], name: str) -> str:
    """A number or text of the region that is called `name`; "" where there is none."""
    for part in parts:
        value = part.get("value")
        if part.get("from_name") != name or not isinstance(value, Mapping):
            continue
        text = value.get("number", value.get("text"))
        if isinstance(text, list):
            text = text[0] if text else ""
        if isinstance(text, str | int | float):
            return str(text).strip()
    return ""


def _pixels(points: object, video: Video, where: str) -> list[float]:
    if not isinstance(points, list):
        raise AvisError("A polygon has no points", where=where)
    flat = [number for point in points for number in numbers(point, where)]
    if any(len(point) != 2 for point in points):
        raise AvisError("A polygon's points are not pairs", where=where)
    sides = (video.width, video.height)
    return [round(value * sides[place % 2] / 100, DECIMALS) for place, value in enumerate(flat)]


def _add_boxes(
    gathering: Gathering,
    video: Video,
    identity: str,
    parts: list[Mapping[str, Any]],
    person: str,
    where: str,
    told: _Told,
) -> int:
    """Add a VideoRectangle; returns whether it was one."""
    for part in parts:
        if part.get("type") != "videorectangle":
            told.kinds[str(part.get("type"))] += 1
            continue
        at = f"{where}, region {identity}"
        value = mapping(part.get("value"), at)
        label = _label(parts, at)
        track = _text_of(parts, "track")
        key: object = int(track) if re.fullmatch(r"[1-9]\d{0,14}", track) else f"region {identity}"
        gathering.track(video, key, gathering.category(label), at, _text_of(parts, "annotator") or person)
        for frame, polygon in rectangles(value.get("sequence"), video, at):
            gathering.add(video, frame, key, [polygon], at)
        return 1
    return 0


FORMAT = Format(
    name="label_studio",
    description="Label Studio JSON: a list of tasks, one per frame with brush or polygon regions, or per "
    "video with boxes",
    recognise=_recognise,
    read=_read,
    write=write,
    in_zip="tasks.json",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "unused categories", "annotator",
            "track ids", "frame names",
        }
    ),
)  # fmt: skip
