"""CVAT for video 1.1: tracks of polygons or masks."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree.ElementTree import Element  # builds; never parses

from components.annotate.formats.cvat.shapes import (
    MASKS,
    NO_MASKS,
    attributes_of,
    group_of,
    note_attributes,
    own_key,
    segmentation_of,
    shown,
)
from components.annotate.formats.cvat.tasks import Task, task_of
from components.annotate.formats.cvat.writer import ATTRIBUTES
from components.annotate.parsing.xml_files import whole_attribute
from components.annotate.track_builder import Gathering, refuse_without_masks
from components.core.records.annotations import Video
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError


@dataclass(frozen=True, slots=True)
class _TrackOf:
    """Which track element it is, its task and where it stands. frames: the numbers of its shapes' frames."""

    number: int
    task: Task
    where: str
    frames: Sequence[int]


def add_tracks(
    gathering: Gathering,
    elements: Sequence[Element],
    tasks: dict[str, Task],
    videos: dict[str, Video],
    path: Path,
) -> None:
    """Add the tracks of all tasks that have a video; raises AvisError where one is malformed."""
    tracks = []
    for number, element in enumerate(elements):
        where = f"{path}, track {element.get('id')} ({element.get('label') or ''})"
        task = task_of(element, tasks, where)
        if task.id in videos:
            tracks.append(_track_of(element, number, task, where))
    _choose_numbering(list(tasks.values()), tracks, gathering.changes)
    groups: dict[object, list[str]] = {}
    for number, track in enumerate(tracks):
        _add_track(gathering, track, elements[track.number], videos[track.task.id], number, groups)
    for members in groups.values():
        gathering.changes.add(
            Kind.MERGED, "track", "another one of its label is in its group: they are one object",
            count=len(members) - 1, example=members[-1],
        )  # fmt: skip
    for identity, video in videos.items():
        task = tasks[identity]
        if task.others and not task.masks:
            refuse_without_masks(video.name, task.others, str(path))
        gathering.changes.add(
            Kind.FILLED,
            "frame",
            "a polygon of a track is repeated until the next one; CVAT itself writes what it interpolates",
            example=video.name,
            count=task.repeated,
        )


def _track_of(element: Element, number: int, task: Task, where: str) -> _TrackOf:
    if not element.get("label"):
        raise AvisError("The track has no label", where=where)
    for shape in element:
        if shape.tag not in (*MASKS, *NO_MASKS):
            raise AvisError(
                f"The track is made of <{shape.tag}>", where=where, fix="Export as 'CVAT for video 1.1'."
            )
    frames = array("q", (whole_attribute(shape.get("frame"), "frame", where) for shape in element))
    return _TrackOf(number, task, where, frames)


def _choose_numbering(tasks: list[Task], tracks: list[_TrackOf], changes: Changes) -> None:
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
                    example=task.name,
                )
        return
    for task, offset in zip(tasks, offsets, strict=True):  # neither: the message is of CVAT's own numbering
        task.offset = offset


def _add_track(
    gathering: Gathering,
    track: _TrackOf,
    element: Element,
    video: Video,
    number: int,
    groups: dict[object, list[str]],
) -> None:
    task, where = track.task, track.where
    by_frame: dict[int, list[Element]] = {}
    attributes: dict[str, str] = {}
    for frame, shape in zip(track.frames, element, strict=True):
        if shape.tag in NO_MASKS:
            if shown(shape):
                task.others += 1
                gathering.changes.add(
                    Kind.DROPPED, shape.tag, "it is no mask", example=f"{where}, frame {frame}"
                )
            continue
        position = task.position(frame)
        if position is None:
            raise AvisError(task.outside(frame), where=where)
        by_frame.setdefault(position, []).append(shape)
        for name, text in attributes_of(shape).items():
            if attributes.setdefault(name, text) != text and name in ATTRIBUTES:
                gathering.changes.add(
                    Kind.GUESSED,
                    "frame",
                    f"its {name} is not the one that the track began with, which is taken",
                    example=f"{where}, frame {frame}",
                )
    if not track.frames:
        gathering.changes.add(Kind.DROPPED, "track", "it has no shapes", example=where)
    if not by_frame:
        return
    note_attributes(gathering.changes, attributes, where)
    label = element.get("label", "")
    category_id = gathering.category(label)
    key: object = own_key(attributes)
    group = group_of(element, label) if key is None else None
    if key is None:
        key = group or f"track {number}"
    if group is not None:
        groups.setdefault((task.id, key), []).append(where)
    gathering.track(video, key, category_id, where, attributes.get("annotator") or task.assignee)
    for start, end in _spans(by_frame, video.length):
        shapes = [shape for shape in by_frame[start] if shown(shape)]
        task.masks += len(shapes)
        if end == video.length or all(shown(shape) for shape in by_frame.get(end, [])):
            task.repeated += (end - start - 1) * any(shape.tag == "polygon" for shape in shapes)
        for shape in shapes:
            at = f"{where}, frame {task.number(start)}"
            segmentation = segmentation_of(shape, video, gathering, at)
            for frame in range(start, end):
                gathering.add(video, frame, key, segmentation, at)


def _spans(by_frame: dict[int, list[Element]], length: int) -> Iterator[tuple[int, int]]:
    """From which frame until before which one the shapes of each frame hold.

    Polygons hold until the track's next shape. Nothing interpolates masks: they hold until an `outside`, or
    for their frame.
    """
    alone = len(by_frame) == 1
    for start, end in pairwise([*sorted(by_frame), length]):
        ended = end in by_frame and not any(shown(shape) for shape in by_frame[end])
        masks = any(shape.tag == "mask" for shape in by_frame[start])
        yield start, end if ended or not (alone or masks) else start + 1
