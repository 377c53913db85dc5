"""CVAT for video 1.1 XML: a task, a job or a project of several tasks; tracks of polygons or masks.

CVAT tracks polygons, never masks (cvat-ai/cvat#6264): a mask is exported as a track of one frame, and what
tells that several are one object is their `group_id`, or an attribute `track_id` of the label. Frames are
numbered as in the video: frame i of a task is `start_frame` + i times the step of `frame_filter`.

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

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.formats.cvat_writer import write
from components.annotate.parsing.xml_files import parse_xml, whole_attribute
from components.annotate.track_builder import Gathering
from components.core.records.annotations import Video
from components.core.records.changes import Kind
from components.core.records.masks import encode
from components.core.run.errors import AvisError

_VIDEO_ENDINGS = {".mp4", ".mkv", ".webm", ".mov", ".avi"}


@dataclass
class _Task:
    """A task of the export. frames: numbered first, first + step, …"""

    id: str
    video: Video
    first: int
    step: int
    assignee: str
    repeated: int = 0  # frames without a shape between two of a polygon track


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
    tasks = {task.id: task for task in _tasks(root, path, hints, gathering)}
    for number, element in enumerate(root.iterfind("track")):
        label = element.get("label") or ""
        where = f"{path}, track {element.get('id')} ({label})"
        task = next(iter(tasks.values())) if len(tasks) == 1 else tasks.get(element.get("task_id", ""))
        if task is None:
            raise AvisError(
                f"The track belongs to no task of the project (task_id {element.get('task_id')!r})",
                where=where,
            )
        if not label:
            raise AvisError("The track has no label", where=where)
        _add_track(gathering, task, element, gathering.category(label), number, where)
    for task in tasks.values():
        gathering.changes.add(
            Kind.FILLED,
            "frame",
            "a polygon of a track is repeated until the next one; CVAT itself writes what it interpolates",
            example=task.video.name,
            count=task.repeated,
        )
    return Reading(gathering.finish(str(path)), gathering.changes)


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
        gathering.category(label.text or "")
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
        height, width = _size(element, name, hints, where)
        video = gathering.video(
            name,
            height=height,
            width=width,
            length=whole_attribute(element.findtext("size"), "size", where),
            where=where,
        )
        first = whole_attribute(element.findtext("start_frame") or "0", "start_frame", where)
        assignee = element.findtext("assignee/username") or ""
        yield _Task(element.findtext("id", ""), video, first, int(step[1]), assignee)


def _size(task: Element, name: str, hints: Hints, where: str) -> tuple[int, int]:
    if task.find("original_size") is None:
        if name in hints.sizes:
            return hints.sizes[name]
        raise AvisError(
            "The export does not tell the frames' size (original_size)",
            where=where,
            fix="CVAT writes it for tasks that are made of a video file, not of pictures. Export as "
            "'COCO 1.0' or 'Datumaro 1.0' instead.",
        )
    return (
        whole_attribute(task.findtext("original_size/height"), "original_size/height", where),
        whole_attribute(task.findtext("original_size/width"), "original_size/width", where),
    )


def _add_track(
    gathering: Gathering, task: _Task, element: Element, category_id: int, number: int, where: str
) -> None:
    video = task.video
    by_frame: dict[int, list[Element]] = {}
    attributes: dict[str, str] = {}
    for shape in element:
        if shape.tag not in ("polygon", "mask"):
            raise AvisError(
                f"The track is made of <{shape.tag}>",
                where=where,
                fix="Only polygons and masks are imported: draw one, or delete the track. `avis preannotate` "
                "can make masks of boxes.",
            )
        frame = whole_attribute(shape.get("frame"), "frame", where)
        position, rest = divmod(frame - task.first, task.step)
        if rest or not 0 <= position < video.length:
            raise AvisError(
                f"Frame {frame} lies outside the task's {video.length} frames, from {task.first} in steps of "
                f"{task.step}",
                where=where,
            )
        by_frame.setdefault(position, []).append(shape)
        for attribute in shape.iterfind("attribute"):
            attributes.setdefault(attribute.get("name", ""), (attribute.text or "").strip())
    key = _key(element, attributes, number)
    gathering.track(video, key, category_id, where, attributes.get("annotator") or task.assignee)
    for start, end in pairwise([*sorted(by_frame), video.length]):
        shapes = [shape for shape in by_frame[start] if shape.get("outside", "0") != "1"]
        if end < video.length and all(shape.get("outside", "0") != "1" for shape in by_frame[end]):
            task.repeated += (end - start - 1) * any(shape.tag == "polygon" for shape in shapes)
        for shape in shapes:
            at = f"{where}, frame {start * task.step + task.first}"
            segmentation = (
                [_polygon(shape, at)] if shape.tag == "polygon" else encode(_mask(shape, video, at))
            )
            for frame in range(start, end):
                gathering.add(video, frame, key, segmentation, at)


def _key(track: Element, attributes: dict[str, str], number: int) -> object:
    """What several tracks of the export that are one object have in common."""
    own = attributes.get("track_id", "")
    if own:
        return int(own) if re.fullmatch(r"[1-9]\d{0,14}", own) else f"track_id {own}"
    group = track.get("group_id", "0")
    if group != "0" and all(shape.tag == "mask" for shape in track):
        return f"group {group} {track.get('label')}"
    return f"track {number}"


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
