"""Writes Label Studio JSON: a task for each frame, masks as brush regions, polygons as polygon regions.

A region's track stands in a number of the region (`<Number name="track" perRegion="true">`), its annotator in
a text of the region. docs/formats.md has the labeling configuration.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.annotate.formats.label_studio.brush import encode_brush
from components.core.records.annotations import AnnotationSet, Track, Video, tracks_by_video
from components.core.records.masks import decode, is_empty
from components.core.run.files import replace_file

DECIMALS = 6  # of pixels, when percents become pixels again


def write(path: Path, annotations: AnnotationSet) -> list[str]:
    """Write annotated tasks; nothing is lost that `cannot_hold` does not tell."""
    write_tasks(path, tasks(annotations))
    return []


def write_tasks(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write tasks as they come."""
    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        separator = "["
        for row in rows:
            file.write(separator + json.dumps(row, separators=(",", ":"), allow_nan=False))
            separator = ",\n"
        file.write("]\n" if separator != "[" else "[]\n")


def tasks(
    annotations: AnnotationSet, *, model: str | None = None, image_root: str = ""
) -> Iterator[dict[str, Any]]:
    """A task for each frame, in order.

    Args:
        model: name of a model: the regions become predictions of it, to be corrected; None: annotations.
        image_root: put before the frames' file names, an address or a path that Label Studio serves.

    Raises:
        AvisError: a mask does not decode.
    """
    tracks_of = tracks_by_video(annotations)
    labels = [{"value": name} for name in annotations.categories.values()]
    for video in annotations.videos:
        for frame, file_name in enumerate(video.file_names):
            result = [
                region
                for track in tracks_of[video.id]
                for region in _regions(track, frame, video, annotations.categories[track.category_id])
            ]
            data = {
                "image": f"{image_root}{file_name}", "video_id": video.name, "frame": frame,
                "frames": video.length, "width": video.width, "height": video.height, "labels": labels,
            }  # fmt: skip
            if model is None:
                yield {"data": data, "annotations": [{"result": result}]}
            else:
                yield {"data": data, "predictions": [{"model_version": model, "result": result}]}


def _regions(track: Track, frame: int, video: Video, label: str) -> Iterator[dict[str, Any]]:
    """The regions of a track in a frame, one for each polygon, and the number and text of each."""
    segmentation: Any = track.segmentations[frame]
    if is_empty(segmentation):
        return
    if isinstance(segmentation, list):
        shapes = [
            ("polygonlabels", {"points": _percents(polygon, video), "closed": True, "polygonlabels": [label]})
            for polygon in segmentation
        ]
    else:
        code = encode_brush(decode(segmentation, video.height, video.width))
        shapes = [("brushlabels", {"format": "rle", "rle": code, "brushlabels": [label]})]
    for number, (kind, value) in enumerate(shapes):
        shared = {
            "id": f"t{track.id}-{frame}-{number}", "to_name": "image", "original_width": video.width,
            "original_height": video.height, "image_rotation": 0,
        }  # fmt: skip
        yield {**shared, "from_name": kind, "type": kind, "value": value}
        yield {**shared, "from_name": "track", "type": "number", "value": {"number": track.id}}
        if track.annotator:
            text = {"text": [track.annotator]}
            yield {**shared, "from_name": "annotator", "type": "textarea", "value": text}


def _percents(polygon: list[float], video: Video) -> list[list[float]]:
    x, y = polygon[0::2], polygon[1::2]
    return [[100 * a / video.width, 100 * b / video.height] for a, b in zip(x, y, strict=True)]
