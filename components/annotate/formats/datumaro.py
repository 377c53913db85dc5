"""Datumaro JSON, which CVAT exports too: an item per frame, masks and polygons with attributes.track_id."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, numbers, text, whole
from components.annotate.parsing.foreign_rows import is_outside, refuse_two_numberings
from components.annotate.parsing.frame_names import FrameNames, refuse_other_order
from components.annotate.track_builder import (
    Gathering,
    first_number,
    note_missing_frames,
    same_size,
    video_name,
)
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, tracks_by_video, write_rows
from components.core.records.changes import Kind
from components.core.records.json_rows import read_object
from components.core.records.work_file import Frames, Numbered
from components.core.run.errors import AvisError


def _recognise(look: Look) -> str | None:
    return "a JSON object with items and categories" if {"items", "categories"} <= set(look.keys) else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    document = read_object(path, "annotations")
    gathering = Gathering(hints.work, hints.effort)
    labels = _labels(document.value("categories"), path)
    for label in labels:
        gathering.category(label)
    frames: dict[str, Numbered] = {}
    named: dict[str, bool] = {}  # videos whose names tell the frames
    alike = FrameNames()
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for where, row in document.rows("items"):
        item = mapping(row, where)
        name, frame, picture, is_named = _place(item, hints, where, alike)
        named[name] = named.get(name, True) and is_named
        of_video = frames.get(name)
        if of_video is None:
            of_video = frames[name] = Numbered(gathering.work)
        if frame in of_video:
            raise AvisError(f"Frame {frame} of the video {name!r} stands twice", where=where)
        of_video[frame] = picture
        size = _size(item, where)
        if size is not None:
            same_size(sizes, name, size, f"frame {frame}", where)
    videos = {}
    first: dict[str, int] = {}
    from_0 = any(0 in of_video for of_video in frames.values())
    for name, of_video in frames.items():
        first[name] = 0
        if named[name]:
            first[name] = first_number(
                of_video, None, gathering.changes, name, pictures=hints.lengths.get(name), from_0=from_0
            )
        where = f"{path}, video {name!r}"
        refuse_other_order(of_video, where, "items")
        present = {number - first[name] for number in of_video}
        size = sizes[name][0] if name in sizes else hints.sizes.get(name)
        if size is None:
            raise AvisError(
                f"The size of the frames of {name!r} is not in the file", where=str(path),
                fix="Export with the pictures' sizes (image.size), or extract the video's media first.",
            )  # fmt: skip
        video = gathering.video(name, height=size[0], width=size[1], length=max(present) + 1, where=where)
        numbers_of_frames = range(first[name], first[name] + video.length)
        names = Frames(of_video.taken(numbers_of_frames), video.length, missing="")
        if all(file.startswith(f"{video.name}/") and ".." not in file.split("/") for file in names):
            video.file_names = names
        videos[name] = video
        clock = note_missing_frames(gathering.changes, video.name, present, video.length)
        gathering.clocks[video.name] = clock
    of_cvat: dict[tuple[str, object], bool] = {}
    tracked: bool | None = None  # whether any mask tells its track; None: there is none
    for where, row in document.rows("items"):
        name, frame, *_ = _place(mapping(row, where), hints, where, alike)
        shapes = row.get("annotations")
        owners: dict[tuple[Any, Any], int] = {}  # the track of each group and label
        for number, shape in enumerate(shapes if isinstance(shapes, list) else ()):
            at = f"{where}, annotations[{number}]"
            shape = mapping(shape, at)
            if shape.get("type") not in ("mask", "polygon"):
                why = "it is neither a mask nor a polygon"
                gathering.leave_out(videos[name].name, str(shape.get("type")), why, at)
                continue
            attributes = shape.get("attributes")
            key = attributes.get("track_id") if isinstance(attributes, Mapping) else None
            tracked = bool(tracked) or key is not None
            if key is None:
                why = "it has no attributes.track_id, so it is of no track"
                gathering.changes.add(Kind.DROPPED, "mask", why, example=at)
                continue
            if isinstance(key, str) and re.fullmatch(r"\d{1,15}", key):
                key = int(key)
            if type(key) is not int:
                raise AvisError(f"{key!r} is no track_id", where=at)
            refuse_two_numberings(of_cvat, videos[name].name, key, attributes, at)
            label_id = whole(shape, "label_id", at)
            if not 0 <= label_id < len(labels):
                raise AvisError(f"label_id {label_id} is not among the {len(labels)} labels", where=at)
            annotator = attributes.get("annotator") if isinstance(attributes, Mapping) else ""
            gathering.track(
                videos[name], key, gathering.category(labels[label_id]), at,
                annotator if isinstance(annotator, str) else "",
            )  # fmt: skip
            if shape.get("group") and owners.setdefault((str(shape["group"]), label_id), key) != key:
                why = "it shares its group with one of another track, and stays an object of its own"
                gathering.changes.add(Kind.GUESSED, "mask", why, example=at)
            if not is_outside(attributes, gathering.changes, at):
                segmentation = _segmentation(shape, at)
                gathering.add(videos[name], frame - first[name], key, segmentation, at)
    if tracked is False:
        raise AvisError(
            "No mask or polygon has attributes.track_id: nothing tells which are one object over time",
            where=str(path),
            fix="Draw tracks, not shapes of single frames, and export again.",
        )
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _labels(value: object, path: Path) -> list[str]:
    where = f"{path}, categories.label.labels"
    label = value.get("label") if isinstance(value, Mapping) else None
    rows = label.get("labels") if isinstance(label, Mapping) else None
    if not isinstance(rows, list):
        raise AvisError("The list of labels is missing", where=where)
    names = [text(mapping(row, f"{where}[{n}]"), "name", f"{where}[{n}]") for n, row in enumerate(rows)]
    if len(set(names)) < len(names):
        raise AvisError("A label stands twice", where=where)
    return names


def _place(
    item: Mapping[str, Any], hints: Hints, where: str, alike: FrameNames
) -> tuple[str, int, str, bool]:
    """The item's video, frame and picture, and whether its name tells the frame."""
    identity = text(item, "id", where)
    folder, _, last = identity.rpartition("/")
    attributes = item.get("attr")
    video = video_name(folder or hints.name, where)
    is_named = not (isinstance(attributes, Mapping) and attributes.get("frame") is not None)
    if isinstance(attributes, Mapping) and attributes.get("frame") is not None:
        frame = whole(attributes, "frame", f"{where}, attr")
    else:
        found = alike.number(video, last, where)
        if found is None:
            raise AvisError(
                f"The item {identity[:160]!r} tells no frame", where=where, fix="It needs attr.frame."
            )
        frame = found
    if not 0 <= frame < 1_000_000:
        raise AvisError(f"Frame {frame} is none", where=where)
    image = item.get("image")
    picture = image.get("path") if isinstance(image, Mapping) else None
    return video, frame, picture if isinstance(picture, str) and picture else f"{last}.jpg", is_named


def _size(item: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    image = item.get("image")
    size = image.get("size") if isinstance(image, Mapping) else None
    if size is None:
        return None
    values = numbers(size, f"{where}, image.size")
    if len(values) != 2:
        raise AvisError("The size is not [height, width]", where=f"{where}, image.size")
    return int(values[0]), int(values[1])


def _segmentation(shape: Mapping[str, Any], where: str) -> Any:
    if shape["type"] == "polygon":
        return [numbers(shape.get("points"), f"{where}, points")]
    code = mapping(shape.get("rle"), f"{where}, rle")
    return {"size": code.get("size"), "counts": code.get("counts")}


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    document = {
        "dm_format_version": "1.0",
        "media_type": 2,
        "infos": {},
        "categories": {
            "label": {
                "labels": [
                    {"name": name, "parent": "", "attributes": []} for name in annotations.categories.values()
                ],
                "label_groups": [],
                "attributes": ["annotator", "track_id"],
            }
        },
        "items": _items(annotations),
    }
    write_rows(path, document)
    return []


def _items(annotations: AnnotationSet) -> Iterator[dict[str, Any]]:
    ids = {category: number for number, category in enumerate(annotations.categories)}
    tracks_of = tracks_by_video(annotations)
    for video in annotations.videos:
        for k in range(video.length):
            shapes: list[dict[str, Any]] = []
            for group, track in enumerate(tracks_of[video.id], start=1):
                segmentation = track.segmentations[k]
                if masks.is_empty(segmentation):
                    continue
                shape = {
                    "id": track.id, "group": group, "label_id": ids[track.category_id], "z_order": 0,
                    "attributes": {
                        "track_id": track.id, **({"annotator": track.annotator} if track.annotator else {}),
                    },
                }  # fmt: skip
                if isinstance(segmentation, list):
                    shapes += [{**shape, "type": "polygon", "points": polygon} for polygon in segmentation]
                else:
                    mask = masks.decode(segmentation, video.height, video.width)
                    shapes.append({**shape, "type": "mask", "rle": masks.encode(mask)})
            yield {
                "id": f"{video.name}/{k:05d}",
                "annotations": shapes,
                "attr": {"frame": k},
                "image": {"path": video.file_names[k], "size": [video.height, video.width]},
            }


FORMAT = Format(
    name="datumaro",
    description="Datumaro JSON (CVAT's 'Datumaro' too): items, with shapes that have attributes.track_id",
    recognise=_recognise,
    read=_read,
    write=_write,
    in_zip="annotations/default.json",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "unused categories", "annotator",
            "track ids", "frame names",
        }
    ),
)  # fmt: skip
