"""Label Studio's regions as tracks: brushes, polygons, and boxes of videos."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from components.annotate.formats.label_studio.boxes import rectangles
from components.annotate.formats.label_studio.brush import decode_brush
from components.annotate.formats.label_studio.tasks import MASKS, Place
from components.annotate.formats.label_studio.writer import DECIMALS
from components.annotate.parsing.fields import mapping, numbers
from components.annotate.parsing.label_studio_tasks import annotation_of
from components.annotate.track_builder import Gathering
from components.core.records.annotations import Video
from components.core.records.changes import Kind
from components.core.records.masks import encode
from components.core.run.errors import AvisError

_NO_SHAPES = ("choices", "textarea", "number", "rating", "taxonomy", "labels")


def add_task(gathering: Gathering, video: Video, place: Place, row: Mapping[str, Any], where: str) -> None:
    chosen = annotation_of(row)
    annotation, changes = chosen.annotation, gathering.changes
    chosen.note(changes, where)
    if not annotation and row.get("predictions"):
        changes.add(
            Kind.DROPPED,
            "task",
            "it has predictions that nobody has annotated, taken as without masks",
            example=where,
        )
    elif not annotation and place.frame is not None:
        changes.add(
            Kind.FILLED, "frame", "its task has no annotation, taken as without a mask", example=where
        )
    worker = annotation.get("completed_by")
    if isinstance(worker, Mapping):
        worker = worker.get("email") or worker.get("username") or worker.get("id")
    person = "" if worker is None else str(worker)
    regions: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for number, part in enumerate(chosen.regions):
        part = mapping(part, where)
        regions[str(part.get("id") or f"region {number}")].append(part)
    if place.frame is None:
        for identity, parts in regions.items():
            _add_boxes(gathering, video, identity, parts, person, where)
        return
    alone: set[str] = set()  # labels of regions without a track
    for identity, parts in regions.items():
        _add_region(gathering, video, place.frame, parts, person, f"{where}, region {identity}", alone)


def _add_region(
    gathering: Gathering,
    video: Video,
    frame: int,
    parts: list[Mapping[str, Any]],
    person: str,
    where: str,
    alone: set[str],
) -> None:
    shapes = [part for part in parts if part.get("type") in MASKS]
    for part in parts:
        if part.get("type") not in MASKS and not (shapes and _tells_of_a_shape(part)):
            _drop(gathering, video, part, where)
    if not shapes:
        return
    label = _label(parts, where)
    track = _text_of(parts, "track")
    if not track:
        gathering.changes.add(
            Kind.GUESSED, "region", "it has no number `track`, taken for one track per label", example=where
        )
        if label in alone:
            raise AvisError(
                f"Two regions of {label!r} in one frame, and no number `track` tells which object each is",
                where=where,
                fix='Add <Number name="track" toName="image" perRegion="true"/> to the labeling config.',
            )
        alone.add(label)
    key: object = _track_key(track) if track else f"label {label}"
    gathering.track(video, key, gathering.category(label), where, _text_of(parts, "annotator") or person)
    for shape in shapes:
        if shape.get("image_rotation"):
            raise AvisError("The picture was rotated in Label Studio", where=where, fix="Rotate it back.")
        value = mapping(shape.get("value"), where)
        segmentation: Any
        if str(shape["type"]).startswith("brush"):
            try:
                segmentation = encode(decode_brush(value.get("rle"), video.height, video.width))
            except AvisError as error:
                raise AvisError(error.what, where=where, fix="Export it again.") from None
        else:
            segmentation = [_pixels(value.get("points"), video, where)]
            if value.get("closed") is False:
                why = "its polygon was not finished in Label Studio, taken as closed"
                gathering.changes.add(Kind.GUESSED, "mask", why, example=where)
        gathering.add(video, frame, key, segmentation, where)


def _track_key(track: str) -> int | str:
    number = re.fullmatch(r"(?:track\s*)?(\d{1,15})(?:\.0)?", track)
    return int(number[1]) if number else f"track {track}"


def _label(parts: list[Mapping[str, Any]], where: str) -> str:
    for part in parts:
        value = part.get("value")
        for kind in ("brushlabels", "polygonlabels", "labels"):
            names = value.get(kind) if isinstance(value, Mapping) else None
            if isinstance(names, list) and names and isinstance(names[0], str) and names[0]:
                if len(names) > 1:
                    raise AvisError(
                        f"The region has {len(names)} labels, {', '.join(map(str, names[:5]))}",
                        where=where,
                        fix="An object has one category: take the other labels away.",
                    )
                return names[0]
    raise AvisError("The region has no label", where=where, fix="Give it one, or delete it.")


def _text_of(parts: list[Mapping[str, Any]], name: str) -> str:
    """A number or text of the region that is called `name`; "" where there is none."""
    for part in parts:
        value = part.get("value")
        if part.get("from_name") != name or not isinstance(value, Mapping):
            continue
        text = value.get("number", value.get("text"))
        if isinstance(text, list):
            text = text[0] if text else ""
        if isinstance(text, str | int | float):
            return str(text).strip()
    return ""


def _pixels(points: object, video: Video, where: str) -> list[float]:
    if not isinstance(points, list):
        raise AvisError("A polygon has no points", where=where)
    flat = [number for point in points for number in numbers(point, where)]
    if any(len(point) != 2 for point in points):
        raise AvisError("A polygon's points are not pairs", where=where)
    sides = (video.width, video.height)
    return [round(value * sides[place % 2] / 100, DECIMALS) for place, value in enumerate(flat)]


def _add_boxes(
    gathering: Gathering,
    video: Video,
    identity: str,
    parts: list[Mapping[str, Any]],
    person: str,
    where: str,
) -> None:
    """Add a region that is a VideoRectangle."""
    at = f"{where}, region {identity}"
    boxes = [part for part in parts if part.get("type") == "videorectangle"]
    for part in parts:
        if part.get("type") != "videorectangle" and not (boxes and _tells_of_a_shape(part)):
            _drop(gathering, video, part, at)
    if not boxes:
        return
    label = _label(parts, at)
    track = _text_of(parts, "track")
    key: object = _track_key(track) if track else f"region {identity}"
    gathering.track(video, key, gathering.category(label), at, _text_of(parts, "annotator") or person)
    for box in boxes:
        value = mapping(box.get("value"), at)
        for frame, polygon in rectangles(value.get("sequence"), video, gathering.changes, at):
            gathering.add(video, frame, key, [polygon], at)
    gathering.changes.add(
        Kind.FILLED, "track", "it has boxes and no masks: these became rectangles", example=at
    )


def _tells_of_a_shape(part: Mapping[str, Any]) -> bool:
    """It is no shape, but it is used: the track, the annotator or the label of one."""
    return part.get("from_name") in ("track", "annotator") or part.get("type") == "labels"


def _drop(gathering: Gathering, video: Video, part: Mapping[str, Any], where: str) -> None:
    kind = f"{part.get('type')} region"
    if part.get("original_width") is not None and part.get("type") not in _NO_SHAPES:
        gathering.leave_out(video.name, kind, "it is no mask", where)
    else:
        gathering.changes.add(Kind.DROPPED, kind, "it is no mask", example=where)
