"""CVAT for video 1.1 XML: one task, tracks of polygons or masks with `outside`.

A shape without `outside` holds until the track's next shape, as CVAT's own interpolation of masks does.
CVAT's mask RLE runs row by row inside the mask's box and begins with background; COCO's runs column by
column over the whole frame.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, cast
from xml.etree.ElementTree import Element, ElementTree, ParseError, SubElement, indent  # builds; never parses

import numpy as np

from components.annotate.formats import Format
from components.core.errors import AvisError
from components.core.files import replace_file
from components.core.masks import decode, encode, is_empty
from components.core.records import AnnotationSet, Track, Video


def _recognise(head: bytes) -> str | None:
    if b"<annotations" in head and (b"<version>1.1" in head or b"<track" in head):
        return "an XML file with <annotations> of version 1.1"
    return None


def _read(path: Path) -> AnnotationSet:
    root = _parse(path)
    task = root.find("meta/task")
    if task is None:
        task = root.find("meta/job")
    if task is None:
        raise AvisError(
            "There is no <task> in <meta>", where=str(path), fix="Export one task as 'CVAT for video 1.1'."
        )
    length = _integer(task.findtext("size"), "task/size", path)
    width = _integer(task.findtext("original_size/width"), "task/original_size/width", path)
    height = _integer(task.findtext("original_size/height"), "task/original_size/height", path)
    first = _integer(task.findtext("start_frame", "0"), "task/start_frame", path)
    name = _video_name(task, path)
    labels = [str(label.findtext("name")) for label in task.iterfind("labels/label")]
    category_ids = {label: number for number, label in enumerate(labels, start=1)}
    tracks: list[Track] = []
    for element in root.iterfind("track"):
        label = element.get("label", "")
        category = category_ids.setdefault(label, len(category_ids) + 1)
        where = f"{path}, track {element.get('id')} ({label})"
        shapes = _segmentations(element, first=first, length=length, height=height, width=width, where=where)
        tracks.append(Track(id=len(tracks) + 1, video_id=1, category_id=category, segmentations=shapes))
    video = Video(
        id=1,
        name=name,
        file_names=[f"{name}/{k:05d}.jpg" for k in range(length)],
        length=length,
        height=height,
        width=width,
    )
    return AnnotationSet(
        categories={number: label for label, number in category_ids.items()},
        videos=[video],
        tracks=tracks,
        info={},
    )


def _parse(path: Path) -> Element:
    import defusedxml.ElementTree
    from defusedxml.common import DefusedXmlException

    try:
        return cast(Element, defusedxml.ElementTree.parse(path, forbid_dtd=True).getroot())
    except DefusedXmlException as error:
        raise AvisError(
            "The XML declares a document type or entities, which annotations never need",
            where=str(path),
            fix="Export the task again; do not trust where this file came from.",
        ) from error
    except ParseError as error:
        raise AvisError(
            f"The XML is broken: {error}", where=str(path), fix="Export the task again."
        ) from error


def _video_name(task: Element, path: Path) -> str:
    """The task's name; an ending as of a file (clip.mp4) goes."""
    name = task.findtext("name") or task.findtext("source") or ""
    stem = name[: -len(Path(name).suffix)] if Path(name).suffix in {".mp4", ".mkv", ".webm", ".mov"} else name
    if not stem:
        raise AvisError(
            "The task has no name", where=str(path), fix="Name the CVAT task after the video's id."
        )
    return stem


def _integer(text: str | None, field: str, where: Path | str) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise AvisError(f"{field} is {text!r}, not a whole number", where=str(where)) from None


def _segmentations(
    track: Element, *, first: int, length: int, height: int, width: int, where: str
) -> list[Any]:
    """One polygon list, RLE or None per frame."""
    by_frame: dict[int, list[Element]] = {}
    for shape in track:
        if shape.tag not in ("polygon", "mask"):
            raise AvisError(
                f"The track is made of <{shape.tag}>",
                where=where,
                fix="Only polygons and masks are imported.",
            )
        frame = _integer(shape.get("frame"), "frame", where) - first
        if not 0 <= frame < length:
            raise AvisError(f"Frame {frame + first} lies outside the task's {length} frames", where=where)
        by_frame.setdefault(frame, []).append(shape)
    segmentations: list[Any] = [None] * length
    for start, end in pairwise([*sorted(by_frame), length]):
        shapes = [shape for shape in by_frame[start] if shape.get("outside", "0") != "1"]
        if not shapes:
            continue
        at = f"{where}, frame {start + first}"
        if all(shape.tag == "polygon" for shape in shapes):
            segmentation: Any = [_polygon(shape, at) for shape in shapes]
        else:
            mask = np.zeros((height, width), dtype=bool)
            for shape in shapes:
                if shape.tag == "mask":
                    _draw_mask(mask, shape, at)
                else:
                    mask |= decode([_polygon(shape, at)], height, width)
            segmentation = encode(mask)
        segmentations[start:end] = [segmentation] * (end - start)
    return segmentations


def _polygon(shape: Element, where: str) -> list[float]:
    try:
        points = [[float(x) for x in point.split(",")] for point in (shape.get("points") or "").split(";")]
    except ValueError:
        raise AvisError("A polygon's points are not numbers", where=where) from None
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise AvisError("A polygon needs at least 3 points x,y", where=where)
    return [value for point in points for value in point]


def _draw_mask(mask: np.ndarray[Any, np.dtype[np.bool_]], shape: Element, where: str) -> None:
    """Sets the shape's pixels in mask [H, W]."""
    left, top, width, height = (
        _integer(shape.get(field), field, where) for field in ("left", "top", "width", "height")
    )
    try:
        runs = [int(run) for run in (shape.get("rle") or "").split(",")]
    except ValueError:
        raise AvisError("A mask's rle is not a list of whole numbers", where=where) from None
    if sum(runs) != width * height or min(runs) < 0:
        raise AvisError(f"A mask's rle covers {sum(runs)} pixels, its box has {width * height}", where=where)
    if left < 0 or top < 0 or left + width > mask.shape[1] or top + height > mask.shape[0]:
        raise AvisError(
            f"A mask's box reaches outside the frame of {mask.shape[1]}x{mask.shape[0]}", where=where
        )
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask[top : top + height, left : left + width] |= values


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    """One task holds one video."""
    if len(annotations.videos) != 1:
        raise AvisError(
            f"A CVAT task holds one video, the annotations have {len(annotations.videos)}",
            fix="Export one video at a time.",
        )
    video = annotations.videos[0]
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    for tag, text in (
        ("name", video.name), ("size", video.length), ("mode", "interpolation"),
        ("start_frame", 0), ("stop_frame", video.length - 1),
    ):  # fmt: skip
        SubElement(task, tag).text = str(text)
    labels = SubElement(task, "labels")
    for label in annotations.categories.values():
        SubElement(SubElement(labels, "label"), "name").text = label
    size = SubElement(task, "original_size")
    SubElement(size, "width").text = str(video.width)
    SubElement(size, "height").text = str(video.height)
    for number, track in enumerate(annotations.tracks):
        element = SubElement(root, "track", id=str(number), label=annotations.categories[track.category_id])
        shown = False
        for k, segmentation in enumerate(track.segmentations):
            if not is_empty(segmentation):
                _add_mask(element, k, decode(segmentation, video.height, video.width), outside=False)
                shown = True
            elif shown:
                _add_mask(element, k, np.ones((1, 1), dtype=bool), outside=True)
                shown = False
    indent(root)
    with replace_file(path) as temporary:
        ElementTree(root).write(temporary, encoding="utf-8", xml_declaration=True)
    return (
        ["polygons became masks"]
        if any(isinstance(s, list) for track in annotations.tracks for s in track.segmentations)
        else []
    )


def _add_mask(
    element: Element, frame: int, mask: np.ndarray[Any, np.dtype[np.bool_]], *, outside: bool
) -> None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    changes = np.flatnonzero(np.diff(inside.ravel(), prepend=False))  # background first, as CVAT wants it
    runs = np.diff([0, *changes, inside.size])
    SubElement(
        element, "mask", frame=str(frame), keyframe="1", outside=str(int(outside)), occluded="0",
        rle=", ".join(str(run) for run in runs), left=str(left), top=str(top),
        width=str(inside.shape[1]), height=str(inside.shape[0]), z_order="0",
    )  # fmt: skip


FORMAT = Format(
    name="cvat",
    description="CVAT for video 1.1 XML (one task; tracks of polygons and masks)",
    recognise=_recognise,
    read=_read,
    write=_write,
)
