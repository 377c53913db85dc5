"""COCO video JSON (TAO, COCO-VID, CVAT's and Datumaro's COCO exports): an annotation per image and track.

What differs between writers is all taken: the frame as `frame_id`, `frame_index` or the number in
`file_name`; the track as `track_id`, `instance_id` or `attributes.track_id`; the video as `video_id` or as
the folder in `file_name`. CVAT and Datumaro mark every RLE with `iscrowd`: theirs is not taken for a crowd.
"""

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, text, whole
from components.annotate.track_builder import Gathering, note_missing_frames, same_size
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.changes import Kind
from components.core.records.json_rows import JsonObject, read_object
from components.core.run.errors import AvisError
from components.core.run.files import write_text


@dataclass
class _Frames:
    """A video's images while they are gathered: file name by frame, and what the file says of the video."""

    name: str
    identity: int | None = None
    length: int | None = None
    size: tuple[int, int] = (0, 0)
    files: dict[int, str] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """The number that the first frame has in the file: 1 where they end with the video's length."""
        return int(bool(self.files) and min(self.files) == 1 and self.length == max(self.files))


def _recognise(look: Look) -> str | None:
    if "[]" in look.keys or not {"images", "annotations"} <= set(look.keys):
        return None
    return "a JSON object with images and annotations"


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    document = read_object(path, "annotations")
    gathering = Gathering()
    for where, row in document.rows("categories"):
        row = mapping(row, where)
        name, identity = text(row, "name", where), whole(row, "id", where)
        if name in gathering.categories.values() or identity in gathering.categories:
            raise AvisError(f"The category {name!r} ({identity}) stands twice", where=where)
        gathering.category(name, identity)
    images = _images(document, path, hints)
    videos: dict[object, Video] = {}
    for key, frames in images.videos.items():
        videos[key] = _video(gathering, frames, path)
    _note_tracks(document, gathering, videos)
    for where, row in document.rows("annotations"):
        row = mapping(row, where)
        if "segments_info" in row:
            raise AvisError(
                "The file is COCO panoptic (segments_info): its masks are in pictures beside it",
                where=where,
                fix="Export COCO instances (instances_….json), or a format of pictures such as MOTS PNG.",
            )
        where = f"{where}, annotation {row.get('id')}"
        image_id = row.get("image_id")
        image = images.by_id.get(image_id) if isinstance(image_id, int | str) else None
        if image is None:
            raise AvisError(f"image_id {reprlib.repr(image_id)} is not among the images", where=where)
        video = videos[image[0]]
        category_id = whole(row, "category_id", where)
        if category_id not in gathering.categories:
            raise AvisError(f"category_id {category_id} is not among the categories", where=where)
        key, by_attribute = _track_key(row, where)
        crowd = int(bool(row.get("iscrowd"))) if not by_attribute else 0
        gathering.track(video, key, category_id, where, _annotator(row), crowd)
        segmentation = row.get("segmentation")
        if not segmentation and row.get("bbox"):
            gathering.changes.add(
                Kind.DROPPED, "box", "it has no mask, taken as a frame without one", example=where
            )
        gathering.add(video, image[1] - images.videos[image[0]].first, key, segmentation or None, where)
    annotations = gathering.finish(str(path))
    info = document.value("info")
    annotations.info = dict(info) if isinstance(info, Mapping) else {}
    return Reading(annotations, gathering.changes)


@dataclass
class _Images:
    """by_id: (video's key, frame number in the file)."""

    by_id: dict[object, tuple[object, int]] = field(default_factory=dict)
    videos: dict[object, _Frames] = field(default_factory=dict)


def _images(document: JsonObject, path: Path, hints: Hints) -> _Images:
    images = _Images()
    if "videos" in document:
        for where, row in document.rows("videos"):
            row = mapping(row, where)
            identity = whole(row, "id", where)
            if identity in images.videos:
                raise AvisError(f"The video id {identity} stands twice", where=where)
            name = row.get("name") or row.get("file_name") or f"video_{identity}"
            length = whole(row, "length", where) if row.get("length") is not None else None
            frames = _Frames(str(name), identity, length)
            if type(row.get("height")) is int and type(row.get("width")) is int:
                frames.size = (row["height"], row["width"])
            images.videos[identity] = frames
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for where, row in document.rows("images"):
        row = mapping(row, where)
        file_name = str(row.get("file_name") or "")
        key: object = row.get("video_id")
        if key is None:
            key = file_name.rpartition("/")[0] or hints.name
            images.videos.setdefault(key, _Frames(str(key)))
        if not isinstance(key, str | int) or key not in images.videos:
            raise AvisError(f"video_id {key!r} is not among the videos", where=where)
        frame = _frame_number(row, file_name, where)
        frames = images.videos[key]
        if frame in frames.files:
            raise AvisError(
                f"Frame {frame} of the video {frames.name!r} stands twice, "
                f"{frames.files[frame]!r} and {file_name!r}",
                where=where,
            )
        frames.files[frame] = file_name
        frames.size = (whole(row, "height", where), whole(row, "width", where))
        same_size(sizes, frames.name, frames.size, file_name or f"frame {frame}", where)
        image_id = row.get("id")
        if not isinstance(image_id, str | int) or image_id in images.by_id:
            raise AvisError(f"The image id {image_id!r} is none, or stands twice", where=where)
        images.by_id[image_id] = (key, frame)
    return images


def _frame_number(row: Mapping[str, Any], file_name: str, where: str) -> int:
    for key in ("frame_id", "frame_index"):
        if row.get(key) is not None:
            number = whole(row, key, where)
            break
    else:
        digits = re.search(r"(\d{1,9})\D*$", Path(file_name).stem)
        if digits is None:
            raise AvisError(
                f"The image {file_name!r} tells no frame", where=where, fix="It needs frame_id or a number."
            )
        number = int(digits[1])
    if not 0 <= number <= 10_000_000:
        raise AvisError(f"Frame {number} is none", where=where)
    return number


def _video(gathering: Gathering, frames: _Frames, path: Path) -> Video:
    where = f"{path}, video {frames.name!r}"
    present = {frame - frames.first: name for frame, name in frames.files.items()}
    length = max([*(frame + 1 for frame in present), frames.length or 0])
    video = gathering.video(
        frames.name, height=frames.size[0], width=frames.size[1], length=length, where=where,
        identity=frames.identity,
    )  # fmt: skip
    names = [present.get(k, "") for k in range(length)]
    if all(name.startswith(f"{video.name}/") and ".." not in name.split("/") for name in names):
        video.file_names = names
    if present:
        note_missing_frames(gathering.changes, video.name, set(present), length)
    return video


def _note_tracks(document: JsonObject, gathering: Gathering, videos: Mapping[object, Video]) -> None:
    """The tracks that the file lists by themselves, as TAO does; those without a mask stand only there."""
    for where, row in document.rows("tracks") if "tracks" in document else ():
        row = mapping(row, where)
        video = videos.get(whole(row, "video_id", where))
        category_id = whole(row, "category_id", where)
        if video is None or category_id not in gathering.categories:
            raise AvisError("video_id or category_id is not in the file", where=where)
        crowd = int(bool(row.get("iscrowd")))
        gathering.track(video, whole(row, "id", where), category_id, where, _annotator(row), crowd)


def _annotator(row: Mapping[str, Any]) -> str:
    attributes = row.get("attributes")
    name = attributes.get("annotator") if isinstance(attributes, Mapping) else None
    return name if isinstance(name, str) else ""


def _track_key(row: Mapping[str, Any], where: str) -> tuple[int, bool]:
    """The annotation's track, and whether it stands in its attributes."""
    for key in ("track_id", "instance_id"):
        if row.get(key) is not None:
            return whole(row, key, where), False
    attributes = row.get("attributes")
    if isinstance(attributes, Mapping) and attributes.get("track_id") is not None:
        value = attributes["track_id"]
        if isinstance(value, str) and re.fullmatch(r"\d{1,15}", value):
            return int(value), True
        return whole(attributes, "track_id", f"{where}, field attributes"), True
    raise AvisError(
        "The annotation belongs to no track: it has no track_id, instance_id or attributes.track_id",
        where=where,
        fix="Draw tracks, not shapes of single frames, and export again.",
    )


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    image_ids: dict[tuple[int, int], int] = {}
    for video in annotations.videos:
        for frame, file_name in enumerate(video.file_names):
            image_ids[video.id, frame] = len(images) + 1
            images.append(
                {
                    "id": len(images) + 1, "video_id": video.id, "frame_id": frame, "frame_index": frame,
                    "file_name": file_name, "height": video.height, "width": video.width,
                }
            )  # fmt: skip
    videos = {video.id: video for video in annotations.videos}
    for track in annotations.tracks:
        video = videos[track.video_id]
        attributes = _attributes(track)
        for frame, segmentation in enumerate(track.segmentations):
            if not segmentation or masks.is_empty(segmentation):
                continue
            rows.append(
                {
                    "id": len(rows) + 1, "image_id": image_ids[video.id, frame], "video_id": video.id,
                    "category_id": track.category_id, "track_id": track.id, "instance_id": track.id,
                    "segmentation": segmentation, "iscrowd": track.iscrowd,
                    "bbox": masks.bounding_box(segmentation, video.height, video.width),
                    "area": masks.area(segmentation, video.height, video.width),
                    "attributes": attributes,
                }
            )  # fmt: skip
    document = {
        "info": annotations.info,
        "categories": [{"id": number, "name": name} for number, name in annotations.categories.items()],
        "videos": [
            {"id": v.id, "name": v.name, "length": v.length, "height": v.height, "width": v.width}
            for v in annotations.videos
        ],
        "images": images,
        "tracks": [
            {
                "id": track.id,
                "video_id": track.video_id,
                "category_id": track.category_id,
                "iscrowd": track.iscrowd,
                "attributes": _attributes(track),
            }
            for track in annotations.tracks
        ],
        "annotations": rows,
    }
    write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")
    return []


def _attributes(track: Track) -> dict[str, Any]:
    """What CVAT and Datumaro have in an annotation's attributes."""
    return {"track_id": track.id, **({"annotator": track.annotator} if track.annotator else {})}


FORMAT = Format(
    name="coco_video",
    description="COCO video JSON (TAO, COCO-VID, CVAT's 'COCO 1.0'): images, and annotations with a track_id",
    recognise=_recognise,
    read=_read,
    write=_write,
    in_zip="annotations/instances_default.json",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "tracks without masks",
            "unused categories", "annotator", "crowd", "track ids", "category ids", "video ids",
            "frame names", "info",
        }
    ),
)  # fmt: skip
