"""CVAT for images 1.1: an <image> for each frame, whose shapes belong to no track.

Which object a shape shows, its attribute `track_id` tells, or its group; failing these its label, as long as
no frame has two such shapes. A task has the frames of one video, numbered as its tracks would be; or those of
several, each in a folder of its own, and then they follow each other as the export has them.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element  # builds; never parses

from components.annotate.clock import Clock
from components.annotate.formats import Hints
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
from components.annotate.parsing.frame_names import numbers_in_order
from components.annotate.parsing.xml_files import whole_attribute
from components.annotate.track_builder import Gathering, note_missing_frames, refuse_without_masks, same_size
from components.core.records.annotations import Video
from components.core.records.changes import Kind
from components.core.run.errors import AvisError


def add_images(
    gathering: Gathering, images: Sequence[Element], tasks: dict[str, Task], hints: Hints, path: Path
) -> tuple[dict[str, Clock], dict[str, str]]:
    """Add the images of all tasks; returns the videos' clocks, and why videos were left out, by name."""
    of_videos: dict[tuple[str, str], list[int]] = {}
    for place, image in enumerate(images):
        task = task_of(image, tasks, f"{path}, image {image.get('id')}")
        of_videos.setdefault((task.id, _folder(image)), []).append(place)
    clocks: dict[str, Clock] = {}
    lost: dict[str, str] = {}
    for (identity, folder), places in of_videos.items():
        task = tasks[identity]
        alone = sum(owner == identity for owner, _ in of_videos) == 1
        name = task.name if not folder or (alone and task.name in hints.sizes) else folder
        reason = hints.why_lost(name)
        if reason is not None:
            lost[name] = reason
            continue
        video = _add_video(gathering, task, name, images, places, alone, path)
        clocks[video.name] = Clock(task.first, task.step) if alone else Clock()
    return clocks, lost


def _folder(image: Element) -> str:
    return (image.get("name") or "").rpartition("/")[0].rpartition("/")[2]


def _add_video(
    gathering: Gathering,
    task: Task,
    name: str,
    images: Sequence[Element],
    own: list[int],
    alone: bool,
    path: Path,
) -> Video:
    """Add the images of one video; own: which of the images are its."""
    numbers, names = [], []
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    for image in (images[place] for place in own):
        where = f"{path}, image {image.get('name')}"
        numbers.append(whole_attribute(image.get("id"), "id", where))
        names.append(image.get("name") or "")
        height, width = (whole_attribute(image.get(side), side, where) for side in ("height", "width"))
        same_size(sizes, name, (height, width), f"image {image.get('id')}", where)
    if len(set(numbers)) < len(numbers):
        raise AvisError(f"Two images of the video {name!r} have one id", where=str(path))
    places: dict[int, int | None] = {number: place for place, number in enumerate(sorted(numbers))}
    if alone:
        places = {number: task.position(number) for number in numbers}
    by_number = sorted(zip(numbers, names, own, strict=True))
    numbers_in_order([called for _, called, _ in by_number], str(path), "task's frames")
    (height, width), _ = sizes[name]
    length = task.length if alone else len(own)
    video = gathering.video(name, height=height, width=width, length=length, where=str(path))
    masks = others = 0
    by_label: dict[str, str] = {}  # the frame in which a label was last taken for the object itself
    for number, _, place in by_number:
        image = images[place]
        where = f"{path}, image {number} ({image.get('name')})"
        frame = places[number]
        if frame is None:
            raise AvisError(task.outside(number), where=where)
        for shape in image:
            if not shown(shape):  # Datumaro writes these, too
                continue
            if shape.tag in MASKS:
                masks += 1
                _add_shape(gathering, task, video, frame, shape, where, by_label)
            elif shape.tag in NO_MASKS:
                others += 1
                gathering.changes.add(Kind.DROPPED, shape.tag, "it is no mask", example=where)
            else:
                raise AvisError(f"The image has a <{shape.tag}>", where=where, fix="Export it again.")
    if others and not masks:
        refuse_without_masks(name, others, str(path))
    present = {frame for frame in places.values() if frame is not None} | set(range(task.job_start or 0))
    note_missing_frames(gathering.changes, video.name, present, length)
    return video


def _add_shape(
    gathering: Gathering,
    task: Task,
    video: Video,
    frame: int,
    shape: Element,
    where: str,
    by_label: dict[str, str],
) -> None:
    label = shape.get("label") or ""
    if not label:
        raise AvisError(f"A {shape.tag} has no label", where=where)
    attributes = attributes_of(shape)
    note_attributes(gathering.changes, attributes, where)
    key: object = own_key(attributes)
    group = group_of(shape, label) if key is None else None
    if key is None and group is None:
        if by_label.get(label) == where:
            raise AvisError(
                f"Two shapes of {label!r} are in one image, and nothing tells which object each of them is",
                where=where,
                fix="Export as 'CVAT for video 1.1' where they are tracks; or give the label an attribute "
                "track_id, or group the shapes of an object.",
            )
        by_label[label] = where
        gathering.changes.add(
            Kind.GUESSED,
            "shape",
            "nothing tells which object it is (no track_id, no group): taken for the only one of its label",
            example=where,
        )
    key = key or group or f"label {label}"
    gathering.track(
        video, key, gathering.category(label), where, attributes.get("annotator") or task.assignee
    )
    segmentation = segmentation_of(shape, video, gathering, where)
    gathering.add(video, frame, key, segmentation, where)
