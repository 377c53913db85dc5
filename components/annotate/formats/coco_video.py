"""COCO video JSON (TAO, COCO-VID, CVAT's and Datumaro's COCO exports): an annotation per image and track.

What differs between writers is all taken: the frame as `frame_id`, `frame_index` or the number in
`file_name`; the track as `track_id`, `instance_id` or one of these in `attributes`; the video as `video_id`
or as the folder in `file_name`; ids as numbers or texts. CVAT and Datumaro mark every RLE with `iscrowd`:
theirs is not taken for a crowd, which is said.
"""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import flag, mapping, number_or_text, whole
from components.annotate.parsing.foreign_rows import (
    annotation_rows,
    drawn,
    gather_categories,
    is_outside,
    names_of_folders,
    note_other_box,
    note_score,
    plain_path,
    refuse_two_numberings,
)
from components.annotate.parsing.frame_names import FrameNames, refuse_other_order
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, same_size
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, write_rows
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import JsonObject, read_object
from components.core.records.work_file import Frames, Numbered, WorkFile
from components.core.run.errors import AvisError

_TRACK_FIELDS = ("track_id", "instance_id")


@dataclass(slots=True)
class _Frames:
    """A video's images while they are gathered: file name by frame, and what the file says of the video.

    first: the number that the first frame has in the file.
    """

    name: str
    identity: int | None
    files: Numbered
    length: int | None = None
    size: tuple[int, int] | None = None
    first: int = 0


def _recognise(look: Look) -> str | None:
    if "[]" in look.keys or "images" not in look.keys:
        return None
    if "annotations" in look.keys:
        return "a JSON object with images and annotations"
    if "categories" in look.keys or "videos" in look.keys:
        return "a JSON object with images"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    document = read_object(path, "annotations")
    rows = annotation_rows(document, path)
    gathering = Gathering(hints.work, hints.effort)
    gather_categories(document, gathering)
    images = _images(document, gathering.changes, path, hints, gathering.work)
    videos: dict[object, Video] = {}
    from_0 = any(0 in frames.files for frames in images.videos.values())
    for key, frames in images.videos.items():
        videos[key] = _video(gathering, frames, path, hints, from_0)
    _note_tracks(document, gathering, videos)
    crowds: dict[tuple[str, int | str], set[int]] = {}
    of_cvat: dict[tuple[str, object], bool] = {}
    for where, row in rows:
        row = mapping(row, where)
        if "segments_info" in row:
            raise AvisError(
                "The file is COCO panoptic (segments_info): its masks are in pictures beside it",
                where=where,
                fix="Export COCO instances (instances_….json), or a format of pictures such as MOTS PNG.",
            )
        where = f"{where}, annotation {row.get('id')}"
        image_id = number_or_text(row, "image_id", where)
        image = images.find(image_id)
        if image is None:
            raise AvisError(f"image_id {reprlib.repr(image_id)} is not among the images", where=where)
        video_key, frame = image
        video = videos[video_key]
        category_id = whole(row, "category_id", where)
        if category_id not in gathering.categories:
            raise AvisError(f"category_id {category_id} is not among the categories", where=where)
        key, by_attribute = _track_key(row, where)
        if by_attribute:
            refuse_two_numberings(of_cvat, video.name, key, row["attributes"], where)
        segmentation = row.get("segmentation")
        crowd = flag(row, "iscrowd", where)
        if crowd and by_attribute and isinstance(segmentation, Mapping):
            why = "iscrowd marks its run lengths, as CVAT and Datumaro do, and is taken for no crowd"
            gathering.changes.add(Kind.GUESSED, "mask", why, example=where)
            crowd = 0
        if flag(row, "ignore", where) and not crowd:
            gathering.changes.add(Kind.GUESSED, "mask", "ignore is set, taken for a crowd", example=where)
            crowd = 1
        crowds.setdefault((video.name, key), set()).add(crowd)
        gathering.track(video, key, category_id, where, _annotator(row), crowd)
        if is_outside(row.get("attributes"), gathering.changes, where):
            continue
        if not segmentation and row.get("bbox"):
            gathering.leave_out(video.name, "box", "it has no mask, taken as a frame without one", where)
        segmentation = drawn(segmentation or None, gathering.changes, where)
        gathering.add(video, frame - images.videos[video_key].first, key, segmentation, where)
        note_score(row.get("score"), gathering.changes, where)
        if row.get("bbox"):
            note_other_box(row["bbox"], _box_of(segmentation), gathering.changes, where)
    _say_of_tracks(gathering.changes, crowds)
    annotations = gathering.finish(str(path))
    info = document.value("info")
    annotations.info = dict(info) if isinstance(info, Mapping) else {}
    return Reading(annotations, gathering.changes, gathering.clocks)


def _box_of(segmentation: Any) -> list[float] | None:
    """Where a mask lies, [x, y, width, height]; None where that is not known."""
    if isinstance(segmentation, list) and segmentation:
        x, y = ([value for polygon in segmentation for value in polygon[axis::2]] for axis in (0, 1))
        return [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    return masks.box_of_text(segmentation) if segmentation else None


def _say_of_tracks(changes: Changes, crowds: Mapping[tuple[str, int | str], set[int]]) -> None:
    """Say which tracks are crowds in some frames only, and whose ids are texts.

    Args:
        crowds: the values of `iscrowd` that each track has, by video and track.
    """
    for (video, key), values in crowds.items():
        example = f"{video}, track {key}"
        if len(values) > 1:
            why = "iscrowd is set in some of its frames, all of it is taken for a crowd"
            changes.add(Kind.GUESSED, "track", why, example=example)
        if isinstance(key, str):
            changes.add(Kind.RENAMED, "track", "its id is no number, tracks are numbered", example=example)


@dataclass
class _Images:
    """by_number, by_text: (video's key, frame number in the file) by the image's id."""

    by_number: Numbered
    by_text: dict[str, tuple[object, int]] = field(default_factory=dict)
    videos: dict[object, _Frames] = field(default_factory=dict)

    def find(self, image_id: int | str) -> tuple[object, int] | None:
        if isinstance(image_id, str):
            return self.by_text.get(image_id)
        found = self.by_number.value(image_id, None)
        return None if found is None else (found[0], found[1])

    def add(self, image_id: int | str, key: object, frame: int) -> None:
        if isinstance(image_id, str):
            self.by_text[image_id] = key, frame
        else:
            self.by_number[image_id] = key, frame


def _images(document: JsonObject, changes: Changes, path: Path, hints: Hints, work: WorkFile) -> _Images:
    images = _Images(Numbered(work))
    for where, row in document.rows("videos") if "videos" in document else ():
        row = mapping(row, where)
        identity = whole(row, "id", where)
        if identity in images.videos:
            raise AvisError(f"The video id {identity} stands twice", where=where)
        name = plain_path(str(row.get("name") or row.get("file_name") or f"video_{identity}"), changes, where)
        length = whole(row, "length", where) if row.get("length") is not None else None
        images.videos[identity] = _Frames(name, identity, Numbered(work), length, _size(row, where))
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    by_folder: dict[str, _Frames] = {}
    alike = FrameNames()
    for where, row in document.rows("images"):
        row = mapping(row, where)
        file_name = plain_path(str(row.get("file_name") or ""), changes, where)
        if row.get("video_id") is None:
            folder = file_name.rpartition("/")[0] or hints.name
            frames = by_folder.setdefault(folder, _Frames(folder, None, Numbered(work)))
            key: object = f"folder {folder}"
            images.videos.setdefault(key, frames)
        else:
            key = number_or_text(row, "video_id", where)
            if key not in images.videos:
                raise AvisError(f"video_id {key!r} is not among the videos", where=where)
            frames = images.videos[key]
        frame = _frame_number(row, frames.name, file_name, alike, where)
        if frame in frames.files:
            raise AvisError(
                f"Frame {frame} of the video {frames.name!r} stands twice, "
                f"{frames.files[frame]!r} and {file_name!r}",
                where=where,
            )
        frames.files[frame] = file_name
        size = _size(row, where)
        if size is not None:
            same_size(sizes, frames.name, size, file_name or f"frame {frame}", where)
        image_id = number_or_text(row, "id", where)
        if images.find(image_id) is not None:
            raise AvisError(f"The image id {image_id!r} stands twice", where=where)
        images.add(image_id, key, frame)
    for frames in images.videos.values():
        of_images = sizes[frames.name][0] if frames.name in sizes else None
        if frames.size and of_images and frames.size != of_images:
            example = f"{frames.name}: {frames.size[1]}x{frames.size[0]}, {of_images[1]}x{of_images[0]}"
            why = "its size is not that of its images, which is taken"
            changes.add(Kind.GUESSED, "video", why, example=example)
        frames.size = of_images or frames.size
    names = names_of_folders(by_folder, changes)
    for folder, frames in by_folder.items():
        frames.name = names[folder]
    for frames in images.videos.values():
        frames.size = frames.size or hints.sizes.get(frames.name.replace("/", "-"))
        if frames.size is None:
            raise AvisError(
                f"The size of the frames of {frames.name!r} is not in the file",
                where=str(path),
                fix="Export with width and height of the images, or extract the video's media first.",
            )
    return images


def _size(row: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """(height, width) of an image or a video; None where both are missing."""
    if row.get("height") is None and row.get("width") is None:
        return None
    return whole(row, "height", where), whole(row, "width", where)


def _frame_number(row: Mapping[str, Any], video: str, file_name: str, names: FrameNames, where: str) -> int:
    for key in ("frame_id", "frame_index"):
        if row.get(key) is not None:
            number = whole(row, key, where)
            break
    else:
        found = names.number(video, PurePosixPath(file_name).stem, where)
        if found is None:
            raise AvisError(
                f"The image {file_name!r} tells no frame", where=where, fix="It needs frame_id or a number."
            )
        number = found
    if not 0 <= number <= 10_000_000:
        raise AvisError(f"Frame {number} is none", where=where)
    return number


def _video(gathering: Gathering, frames: _Frames, path: Path, hints: Hints, from_0: bool) -> Video:
    where = f"{path}, video {frames.name!r}"
    pictures = hints.lengths.get(frames.name.replace("/", "-"))
    frames.first = first_number(
        frames.files, frames.length, gathering.changes, frames.name, pictures=pictures, from_0=from_0
    )
    refuse_other_order(frames.files, where, "images")
    present = {frame - frames.first for frame in frames.files}
    length = max([*(frame + 1 for frame in present), frames.length or 0])
    height, width = frames.size or (0, 0)
    video = gathering.video(
        frames.name, height=height, width=width, length=length, where=where, identity=frames.identity
    )
    names = Frames(frames.files.taken(range(frames.first, frames.first + length)), length, missing="")
    if len(present) == length and all(
        name.startswith(f"{video.name}/") and ".." not in name.split("/") for name in names
    ):
        video.file_names = names
    if present:
        clock = note_missing_frames(gathering.changes, video.name, present, length)
        gathering.clocks[video.name] = clock
    return video


def _note_tracks(document: JsonObject, gathering: Gathering, videos: Mapping[object, Video]) -> None:
    """The tracks that the file lists by themselves, as TAO does; those without a mask stand only there."""
    for where, row in document.rows("tracks") if "tracks" in document else ():
        row = mapping(row, where)
        video = videos.get(whole(row, "video_id", where))
        category_id = whole(row, "category_id", where)
        if video is None or category_id not in gathering.categories:
            raise AvisError("video_id or category_id is not in the file", where=where)
        key = number_or_text(row, "id", where)
        gathering.track(video, key, category_id, where, _annotator(row), flag(row, "iscrowd", where))


def _annotator(row: Mapping[str, Any]) -> str:
    attributes = row.get("attributes")
    name = attributes.get("annotator") if isinstance(attributes, Mapping) else None
    return name if isinstance(name, str) else ""


def _track_key(row: Mapping[str, Any], where: str) -> tuple[int | str, bool]:
    """The annotation's track, and whether it stands in its attributes."""
    attributes = row.get("attributes")
    places = [(row, where, False)]
    if isinstance(attributes, Mapping):
        places.append((attributes, f"{where}, field attributes", True))
    for place, at, by_attribute in places:
        for name in _TRACK_FIELDS:
            if place.get(name) is not None:
                key = number_or_text(place, name, at)
                if key != -1:  # as some writers have it where there is no track
                    return key, by_attribute
    raise AvisError(
        "The annotation belongs to no track: it has no track_id, instance_id or attributes.track_id",
        where=where,
        fix="Draw tracks, not shapes of single frames, and export again.",
    )


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    write_rows(path, _document(annotations))
    return []


def _document(annotations: AnnotationSet) -> dict[str, Any]:
    return {
        "info": annotations.info,
        "categories": [{"id": number, "name": name} for number, name in annotations.categories.items()],
        "videos": [
            {"id": v.id, "name": v.name, "length": v.length, "height": v.height, "width": v.width}
            for v in annotations.videos
        ],
        "images": _image_rows(annotations),
        "tracks": (
            {
                "id": track.id,
                "video_id": track.video_id,
                "category_id": track.category_id,
                "iscrowd": track.iscrowd,
                "attributes": _attributes(track),
            }
            for track in annotations.tracks
        ),
        "annotations": _mask_rows(annotations),
    }


def _image_rows(annotations: AnnotationSet) -> Iterator[dict[str, Any]]:
    number = 0
    for video in annotations.videos:
        for frame, file_name in enumerate(video.file_names):
            number += 1
            yield {
                "id": number, "video_id": video.id, "frame_id": frame, "frame_index": frame,
                "file_name": file_name, "height": video.height, "width": video.width,
            }  # fmt: skip


def _mask_rows(annotations: AnnotationSet) -> Iterator[dict[str, Any]]:
    videos: dict[int, tuple[Video, int]] = {}  # and the id of its first image
    images = 1
    for video in annotations.videos:
        videos[video.id] = video, images
        images += len(video.file_names)
    number = 0
    for track in annotations.tracks:
        video, first_image = videos[track.video_id]
        attributes = _attributes(track)
        for frame, segmentation in enumerate(track.segmentations):
            if not segmentation or masks.is_empty(segmentation):
                continue
            number += 1
            yield {
                "id": number, "image_id": first_image + frame, "video_id": video.id,
                "category_id": track.category_id, "track_id": track.id, "instance_id": track.id,
                "segmentation": segmentation, "iscrowd": track.iscrowd,
                "bbox": masks.bounding_box(segmentation, video.height, video.width),
                "area": masks.area(segmentation, video.height, video.width),
                "attributes": attributes,
            }  # fmt: skip


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
