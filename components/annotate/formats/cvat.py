"""CVAT for video 1.1 XML: a task, a job or a project of several tasks; tracks of polygons or masks.

CVAT tracks polygons, never masks (cvat-ai/cvat#6264): a mask is exported as a track of one frame, and what
tells that several are one object is their `group_id`, or an attribute `track_id` of the label. So it is with
polygons: an object that something cuts in two is two tracks of a group.

Frames are numbered as in the video: frame i of a task is `start_frame` + i times the step of `frame_filter`.
In a project the tasks of a subset are numbered on: each begins where the one before it, counted from its
frame 0, would end (CVAT: ProjectData.abs_frame_id, _init_task_frame_offsets).

A shape of one frame (not of a track) is exported as a track of that shape, and of the same one with `outside`
on the next frame, but only if frame + step < stop_frame (CVAT: dump_as_cvat_interpolation); in a project the
left side has the offset and the right side has not. So a track's only shape holds for its frame alone. Real
tracks of polygons have a shape on each frame until they end.

CVAT's mask RLE runs row by row inside the mask's box and begins with background; COCO's runs column by
column over the whole frame.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element  # builds; never parses

import numpy as np

from components.annotate.formats import NO_HINTS, Clock, Format, Hints, Look, Reading
from components.annotate.formats.cvat_writer import write
from components.annotate.parsing.xml_files import parse_xml, whole_attribute
from components.annotate.track_builder import Gathering
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.changes import Changes, Kind
from components.core.records.masks import encode
from components.core.run.errors import AvisError

_VIDEO_ENDINGS = {".mp4", ".mkv", ".webm", ".mov", ".avi"}
_MASKS = ("polygon", "mask")
_NO_MASKS = ("box", "ellipse", "polyline", "points", "cuboid", "skeleton")


@dataclass
class _Task:
    """A task of the export.

    first, step: its frames are numbered first, first + step, …
    lost: why it has no media, and is not read; "" where it is.
    offset: added to these numbers where the project's tasks are numbered on.
    """

    id: str
    video: Video
    first: int
    step: int
    assignee: str
    lost: str = ""
    offset: int = 0
    repeated: int = 0  # frames without a shape, for which the polygon before them holds
    masks: int = 0  # shapes that are shown
    others: int = 0  # shapes that are shown and no masks: boxes, points, …

    def position(self, frame: int) -> int | None:
        """Which of the task's frames has this number; None where none has."""
        position, rest = divmod(frame - self.offset - self.first, self.step)
        return None if rest or not 0 <= position < self.video.length else position

    def number(self, position: int) -> int:
        """The number that the export gives to a frame."""
        return self.offset + self.first + position * self.step


@dataclass(frozen=True)
class _TrackOf:
    """A track element, its task and where it stands. frames: the numbers of its shapes' frames."""

    element: Element
    task: _Task
    where: str
    frames: list[int]


def _recognise(look: Look) -> str | None:
    if b"<annotations" not in look.head:
        return None
    if b"<version>1.1" in look.head or b"<track" in look.head:
        return "an XML file with <annotations> of version 1.1"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    root = parse_xml(path)
    if root.find("image") is not None:
        raise AvisError(
            "This is an export of 'CVAT for images', which forgets the tracks",
            where=str(path),
            fix="Export as 'CVAT for video 1.1', 'COCO 1.0' or 'Datumaro 1.0'.",
        )
    gathering = Gathering()
    tasks: dict[str, _Task] = {}
    for task in _tasks(root, path, hints, gathering):
        if task.id in tasks:
            raise AvisError(f"Two tasks of the project have the id {task.id!r}", where=str(path))
        tasks[task.id] = task
    elements = [(element, _task_of(element, tasks, path)) for element in root.iterfind("track")]
    tracks = [_track_of(element, task, path) for element, task in elements if not task.lost]
    _choose_numbering(list(tasks.values()), tracks, gathering.changes)
    groups: dict[object, list[str]] = {}
    for number, track in enumerate(tracks):
        _add_track(gathering, track, number, groups)
    for members in groups.values():
        gathering.changes.add(
            Kind.MERGED, "track", "another one of its label is in its group: they are one object",
            count=len(members) - 1, example=members[-1],
        )  # fmt: skip
    for task in tasks.values():
        _refuse_without_masks(task, path)
        gathering.changes.add(
            Kind.FILLED,
            "frame",
            "a polygon of a track is repeated until the next one; CVAT itself writes what it interpolates",
            example=task.video.name,
            count=task.repeated,
        )
    lost = {task.video.name: task.lost for task in tasks.values() if task.lost}
    if len(lost) == len(tasks):
        return Reading(AnnotationSet(dict(gathering.categories), [], []), gathering.changes, lost=lost)
    clocks = {task.video.name: Clock(task.first, task.step) for task in tasks.values()}
    return Reading(gathering.finish(str(path)), gathering.changes, clocks, lost)


def _task_of(element: Element, tasks: dict[str, _Task], path: Path) -> _Task:
    task = next(iter(tasks.values())) if len(tasks) == 1 else tasks.get(element.get("task_id", ""))
    if task is None:
        raise AvisError(
            f"The track belongs to no task of the project (task_id {element.get('task_id')!r})",
            where=f"{path}, track {element.get('id')} ({element.get('label') or ''})",
        )
    return task


def _track_of(element: Element, task: _Task, path: Path) -> _TrackOf:
    label = element.get("label") or ""
    where = f"{path}, track {element.get('id')} ({label})"
    if not label:
        raise AvisError("The track has no label", where=where)
    for shape in element:
        if shape.tag not in (*_MASKS, *_NO_MASKS):
            raise AvisError(
                f"The track is made of <{shape.tag}>", where=where, fix="Export as 'CVAT for video 1.1'."
            )
    return _TrackOf(
        element, task, where, [whole_attribute(shape.get("frame"), "frame", where) for shape in element]
    )


def _choose_numbering(tasks: list[_Task], tracks: list[_TrackOf], changes: Changes) -> None:
    """Take a project's frames as numbered on from task to task, unless only each task's own fit."""

    def all_fit() -> bool:
        return all(track.task.position(frame) is not None for track in tracks for frame in track.frames)

    offsets = [task.offset for task in tasks]
    if not any(offsets) or all_fit():
        return
    for task in tasks:
        task.offset = 0
    if all_fit():
        for task, offset in zip(tasks, offsets, strict=True):
            if offset:
                changes.add(
                    Kind.GUESSED,
                    "video",
                    "its frames are counted from its own first one: counted over the project, as CVAT does, "
                    "they would not exist",
                    example=task.video.name,
                )
        return
    for task, offset in zip(tasks, offsets, strict=True):  # neither: the message is of CVAT's own numbering
        task.offset = offset


def _refuse_without_masks(task: _Task, path: Path) -> None:
    """A video of which nothing is left would count as one in which nothing sounds."""
    if task.others and not task.masks:
        raise AvisError(
            f"The video {task.video.name!r} has {task.others} shapes and none is a polygon or a mask",
            where=str(path),
            fix="Only polygons and masks are imported: draw them, or delete the shapes if nothing sounds in "
            "it. `avis preannotate` can make masks of boxes.",
        )


def _tasks(root: Element, path: Path, hints: Hints, gathering: Gathering) -> Iterator[_Task]:
    elements = root.findall("meta/project/tasks/task") or [
        element for element in (root.find("meta/task"), root.find("meta/job")) if element is not None
    ]
    if not elements:
        raise AvisError(
            "There is no <task>, <job> or <project> in <meta>",
            where=str(path),
            fix="Export as 'CVAT for video 1.1'.",
        )
    for label in root.iterfind("meta//labels/label/name"):
        if not (label.text or "").strip():
            raise AvisError("A label has no name", where=f"{path}, meta, labels")
        gathering.category(label.text or "")
    offset, subset = 0, ""
    for element in elements:
        where = f"{path}, {element.tag} {element.findtext('id', '')}".rstrip()
        name = element.findtext("name") or element.findtext("source") or hints.name
        if Path(name).suffix.lower() in _VIDEO_ENDINGS:
            name = name[: -len(Path(name).suffix)]
        step = re.fullmatch(r"\s*step\s*=\s*(\d{1,6})\s*", element.findtext("frame_filter") or "step=1")
        if step is None or int(step[1]) == 0:
            raise AvisError(
                f"The frame filter {element.findtext('frame_filter')!r} is not 'step=N'", where=where
            )
        length = whole_attribute(element.findtext("size"), "size", where)
        lost = hints.why_lost(name) or ""
        if lost:
            video = Video(0, name, [], length, 0, 0)
        else:
            height, width = _size(element, root, name, hints, where)
            video = gathering.video(name, height=height, width=width, length=length, where=where)
        first = whole_attribute(element.findtext("start_frame") or "0", "start_frame", where)
        assignee = element.findtext("assignee/username") or ""
        if (element.findtext("subset") or "") != subset:
            offset, subset = 0, element.findtext("subset") or ""
        yield _Task(element.findtext("id", ""), video, first, int(step[1]), assignee, lost, offset)
        offset += first + int(step[1]) * length


def _size(task: Element, root: Element, name: str, hints: Hints, where: str) -> tuple[int, int]:
    """Height and width of the frames. A job's stands beside it (CVAT: JobData._init_meta)."""
    size = task.find("original_size")
    if size is None and task.tag == "job":
        size = root.find("meta/original_size")
    if size is None:
        if name in hints.sizes:
            return hints.sizes[name]
        raise AvisError(
            "The export does not tell the frames' size (original_size)",
            where=where,
            fix="CVAT writes it for tasks that are made of a video file, not of pictures. The annotate stage "
            "takes it from the media of the video, if the task is called as it is; or export as "
            "'CVAT for images 1.1', 'COCO 1.0' or 'Datumaro 1.0'.",
        )
    return (
        whole_attribute(size.findtext("height"), "original_size/height", where),
        whole_attribute(size.findtext("width"), "original_size/width", where),
    )


def _add_track(gathering: Gathering, track: _TrackOf, number: int, groups: dict[object, list[str]]) -> None:
    task, video, where = track.task, track.task.video, track.where
    by_frame: dict[int, list[Element]] = {}
    attributes: dict[str, str] = {}
    for frame, shape in zip(track.frames, track.element, strict=True):
        if shape.tag in _NO_MASKS:
            if _shown(shape):
                task.others += 1
                gathering.changes.add(
                    Kind.DROPPED, shape.tag, "it is no mask", example=f"{where}, frame {frame}"
                )
            continue
        position = task.position(frame)
        if position is None:
            raise AvisError(
                f"Frame {frame} lies outside the task's {video.length} frames, from "
                f"{task.number(0)} in steps of {task.step}",
                where=where,
            )
        by_frame.setdefault(position, []).append(shape)
        for attribute in shape.iterfind("attribute"):
            name, text = attribute.get("name", ""), (attribute.text or "").strip()
            if attributes.setdefault(name, text) != text and name == "track_id":
                gathering.changes.add(
                    Kind.GUESSED,
                    "frame",
                    "its track_id is not the one that the track began with, which is taken",
                    example=f"{where}, frame {frame}",
                )
    if not by_frame:
        return
    category_id = gathering.category(track.element.get("label", ""))
    key, grouped = _key(track.element, attributes, number)
    if grouped:
        groups.setdefault((task.id, key), []).append(where)
    gathering.track(video, key, category_id, where, attributes.get("annotator") or task.assignee)
    for start, end in _spans(by_frame, video.length):
        shapes = [shape for shape in by_frame[start] if _shown(shape)]
        task.masks += len(shapes)
        if end == video.length or all(_shown(shape) for shape in by_frame.get(end, [])):
            task.repeated += (end - start - 1) * any(shape.tag == "polygon" for shape in shapes)
        for shape in shapes:
            at = f"{where}, frame {task.number(start)}"
            segmentation = (
                [_polygon(shape, at)] if shape.tag == "polygon" else encode(_mask(shape, video, at))
            )
            for frame in range(start, end):
                gathering.add(video, frame, key, segmentation, at, one_shape_of_several=grouped)


def _shown(shape: Element) -> bool:
    return shape.get("outside", "0") != "1"


def _spans(by_frame: dict[int, list[Element]], length: int) -> Iterator[tuple[int, int]]:
    """From which frame until before which one the shapes of each frame hold.

    Polygons hold until the track's next shape. Nothing interpolates masks: they hold until an `outside`, or
    for their frame.
    """
    alone = len(by_frame) == 1
    for start, end in pairwise([*sorted(by_frame), length]):
        ended = end in by_frame and not any(_shown(shape) for shape in by_frame[end])
        masks = any(shape.tag == "mask" for shape in by_frame[start])
        yield start, end if ended or not (alone or masks) else start + 1


def _key(track: Element, attributes: dict[str, str], number: int) -> tuple[object, bool]:
    """What several tracks of the export that are one object have in common, and whether it is a group."""
    own = attributes.get("track_id", "")
    if own:
        return (int(own) if re.fullmatch(r"[1-9]\d{0,14}", own) else f"track_id {own}"), False
    group = track.get("group_id", "0")
    if group != "0":
        return f"group {group} {track.get('label')}", True
    return f"track {number}", False


def _polygon(shape: Element, where: str) -> list[float]:
    try:
        points = [[float(x) for x in point.split(",")] for point in (shape.get("points") or "").split(";")]
    except ValueError:
        raise AvisError("A polygon's points are not numbers", where=where) from None
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise AvisError("A polygon needs at least 3 points x,y", where=where)
    return [value for point in points for value in point]


def _mask(shape: Element, video: Video, where: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The shape's pixels, [H, W] of the frame."""
    left, top, width, height = (
        whole_attribute(shape.get(field), field, where) for field in ("left", "top", "width", "height")
    )
    if min(width, height) < 1:
        raise AvisError(f"A mask's box has {width}x{height} pixels", where=where)
    try:
        runs = [int(run) for run in (shape.get("rle") or "").split(",")]
    except ValueError:
        raise AvisError("A mask's rle is not a list of whole numbers", where=where) from None
    if sum(runs) != width * height or min(runs) < 0:
        raise AvisError(f"A mask's rle covers {sum(runs)} pixels, its box has {width * height}", where=where)
    if left < 0 or top < 0 or left + width > video.width or top + height > video.height:
        raise AvisError(
            f"A mask's box reaches outside the frame of {video.width}x{video.height}", where=where
        )
    mask = np.zeros((video.height, video.width), dtype=bool)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask[top : top + height, left : left + width] = values
    return mask


FORMAT = Format(
    name="cvat",
    description="CVAT for video 1.1: XML with <track>s of polygons or masks, of a task, a job or a project",
    recognise=_recognise,
    read=_read,
    write=write,
    in_zip="annotations.xml",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "unused categories", "annotator",
            "track ids",
        }
    ),
)  # fmt: skip
