"""Writes CVAT for video 1.1 XML, a file per video, so that CVAT takes every shape when it is uploaded.

CVAT keeps of a track of masks the first one only. So a mask is a track of one frame, as CVAT's own exports
have it; the attribute `track_id` and `group_id` tell which belong together. An object whose frames are one
polygon each is one track. The attributes must be among the label's attributes in the CVAT task
(docs/formats.md), else CVAT forgets them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # builds; never parses

import numpy as np

from components.annotate.capabilities import count
from components.core.records.annotations import AnnotationSet, Track, Video, tracks_by_video
from components.core.records.masks import decode, is_empty
from components.core.run.errors import AvisError
from components.core.run.files import new_folder, replace_file

ATTRIBUTES = ("track_id", "annotator")
_END = "\n</annotations>"


def write(path: Path, annotations: AnnotationSet) -> list[str]:
    """Write `path`, an .xml file of one video, or a folder with <video>.xml of each.

    Raises:
        AvisError: a file is named for several videos, or a mask does not decode.
    """
    tracks_of = tracks_by_video(annotations)
    if path.suffix.lower() == ".xml":
        if len(annotations.videos) != 1:
            raise AvisError(
                f"An XML file of CVAT holds one task, the annotations have {len(annotations.videos)} videos",
                where=str(path),
                fix="Name a folder or a .zip instead: a file per video is written into it.",
            )
        with replace_file(path) as temporary:
            (video,) = annotations.videos
            masked = _write_task(temporary, video, tracks_of[video.id], annotations.categories)
    else:
        with new_folder(path) as folder:
            masked = sum(
                _write_task(folder / f"{video.name}.xml", video, tracks_of[video.id], annotations.categories)
                for video in annotations.videos
            )
    if not masked:
        return []
    return [
        f"the polygons of {count(masked, 'frame')} become masks of the same pixels: a shape of CVAT is one "
        "polygon, and a track has shapes of one kind"
    ]


def _write_task(path: Path, video: Video, tracks: Sequence[Track], categories: Mapping[int, str]) -> int:
    """Write one task, track by track; returns how many frames' polygons became masks."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    task = SubElement(SubElement(root, "meta"), "task")
    for tag, text in (
        ("id", 0), ("name", video.name), ("size", video.length), ("mode", "interpolation"),
        ("start_frame", 0), ("stop_frame", video.length - 1), ("frame_filter", ""),
    ):  # fmt: skip
        SubElement(task, tag).text = str(text)
    labels = SubElement(task, "labels")
    for name in categories.values():
        _add_label(labels, name)
    size = SubElement(task, "original_size")
    SubElement(size, "width").text = str(video.width)
    SubElement(size, "height").text = str(video.height)
    indent(root)
    masked, numbers = 0, itertools.count()
    with path.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as file:
        file.write(f"<?xml version='1.0' encoding='utf-8'?>\n{_text(root).removesuffix(_END)}")
        for track in tracks:
            label = categories[track.category_id]
            if all(is_empty(s) or (isinstance(s, list) and len(s) == 1) for s in track.segmentations):
                elements = _polygons(track, label)
            else:
                elements = _masks(track, label, video)
                masked += sum(isinstance(s, list) and not is_empty(s) for s in track.segmentations)
            for element in elements:
                element.set("id", str(next(numbers)))
                indent(element, level=1)
                file.write(f"\n  {_text(element)}")
        file.write(_END)
    return masked


def _text(element: Element) -> str:
    return tostring(element, encoding="unicode")


def _add_label(labels: Element, name: str) -> None:
    label = SubElement(labels, "label")
    SubElement(label, "name").text = name
    attributes = SubElement(label, "attributes")
    for attribute in ATTRIBUTES:
        element = SubElement(attributes, "attribute")
        for tag, text in (
            ("name", attribute), ("mutable", "False"), ("input_type", "text"), ("default_value", ""),
            ("values", ""),
        ):  # fmt: skip
            SubElement(element, tag).text = text


def _track(track: Track, label: str) -> Element:
    return Element("track", id="", label=label, source="manual", group_id=str(track.id))


def _add_attributes(shape: Element, track: Track) -> None:
    for name, text in zip(ATTRIBUTES, (str(track.id), track.annotator), strict=True):
        if text:
            SubElement(shape, "attribute", name=name).text = text


def _polygons(track: Track, label: str) -> Iterator[Element]:
    """One track: each polygon holds for its frame; `outside` ends it where the object falls silent."""
    if all(is_empty(segmentation) for segmentation in track.segmentations):
        return
    element = _track(track, label)
    points = ""
    for k, segmentation in enumerate(track.segmentations):
        shown = not is_empty(segmentation)
        if shown and isinstance(segmentation, list):
            x, y = segmentation[0][0::2], segmentation[0][1::2]
            points = ";".join(f"{a!r},{b!r}" for a, b in zip(x, y, strict=True))
        elif not points:
            continue
        shape = SubElement(
            element, "polygon", frame=str(k), keyframe="1", outside=str(int(not shown)), occluded="0",
            points=points, z_order="0",
        )  # fmt: skip
        _add_attributes(shape, track)
        if not shown:
            points = ""
    yield element


def _masks(track: Track, label: str, video: Video) -> Iterator[Element]:
    """A track of one frame for each mask."""
    for k, segmentation in enumerate(track.segmentations):
        if is_empty(segmentation):
            continue
        element = _track(track, label)
        box = _row_runs(decode(segmentation, video.height, video.width))
        for frame in range(k, min(k + 2, video.length)):
            shape = SubElement(
                element, "mask", frame=str(frame), keyframe="1", outside=str(frame - k), occluded="0",
                z_order="0",
            )  # fmt: skip
            shape.attrib.update(box)
            _add_attributes(shape, track)
        yield element


def _row_runs(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, str]:
    """The box of a mask [H, W] that has pixels, and its runs in it, row by row, background first."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    changes = np.flatnonzero(np.diff(inside.ravel(), prepend=False))
    runs = np.diff([0, *changes, inside.size])
    height, width = inside.shape
    return {
        "rle": ", ".join(map(str, runs)), "left": str(left), "top": str(top), "width": str(width),
        "height": str(height),
    }  # fmt: skip
