"""CVAT's shapes: what is a mask, its pixels, its attributes, and which object it says that it shows."""

import re
import reprlib
from typing import Any
from xml.etree.ElementTree import Element  # builds; never parses

import cv2
import numpy as np

from components.annotate.formats.cvat.writer import ATTRIBUTES
from components.annotate.parsing.xml_files import whole_attribute
from components.annotate.track_builder import Gathering
from components.core.records.annotations import Video
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError

MASKS = ("polygon", "mask")
NO_MASKS = ("box", "ellipse", "polyline", "points", "cuboid", "skeleton", "tag")


def shown(shape: Element) -> bool:
    """Whether the object is in view: `outside` ends a track."""
    return shape.get("outside", "0") != "1"


def attributes_of(shape: Element) -> dict[str, str]:
    """A shape's own attributes by name."""
    return {one.get("name", ""): (one.text or "").strip() for one in shape.iterfind("attribute")}


def note_attributes(changes: Changes, attributes: dict[str, str], where: str) -> None:
    """Count those that a track has no place for."""
    for name in attributes:
        if name not in ATTRIBUTES:
            changes.add(
                Kind.DROPPED, "attribute", "a track has no place for it", example=f"{where}, attribute {name}"
            )


def own_key(attributes: dict[str, str]) -> int | str | None:
    """What the attribute track_id says: which object of the clip it is; None where nothing does."""
    own = attributes.get("track_id", "")
    if not own:
        return None
    return int(own) if re.fullmatch(r"[1-9]\d{0,14}", own) else f"track_id {own}"


def told_keys(keys: dict[int, object]) -> dict[int, object]:
    """Of tracks' keys by id those that track_id told: the others mean nothing in another file."""
    return {
        identity: key
        for identity, key in keys.items()
        if isinstance(key, int) or str(key).startswith("track_id ")
    }


def group_of(element: Element, label: str) -> str | None:
    """What shapes or tracks of one group and label have in common; None for those without a group."""
    group = element.get("group_id", "0")
    return None if group == "0" else f"group {group} {label}"


def segmentation_of(shape: Element, video: Video, gathering: Gathering, where: str) -> Any:
    """A polygon as polygons, a mask as run lengths; raises AvisError where it is malformed."""
    return [_polygon(shape, where)] if shape.tag == "polygon" else _mask(shape, video, gathering, where)


def _polygon(shape: Element, where: str) -> list[float]:
    try:
        points = [[float(x) for x in point.split(",")] for point in (shape.get("points") or "").split(";")]
    except ValueError:
        raise AvisError("A polygon's points are not numbers", where=where) from None
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise AvisError("A polygon needs at least 3 points x,y", where=where)
    return [value for point in points for value in point]


def _mask(shape: Element, video: Video, gathering: Gathering, where: str) -> dict[str, Any]:
    """The shape's pixels as run lengths of the frame: only the columns of its box are looked at."""
    left, top, width, height = (
        whole_attribute(shape.get(field), field, where) for field in ("left", "top", "width", "height")
    )
    if min(width, height) < 1:
        raise AvisError(f"A mask's box has {width}x{height} pixels", where=where)
    try:
        runs = [int(run) for run in (shape.get("rle") or "").split(",")]
    except ValueError:
        raise AvisError("A mask's rle is not a list of whole numbers", where=where) from None
    if min(runs) < 0:
        raise AvisError("A mask's rle has a run of less than no pixels", where=where)
    if sum(runs) != width * height:
        covered = reprlib.repr(sum(runs))
        raise AvisError(f"A mask's rle covers {covered} pixels, its box has {width * height}", where=where)
    if left < 0 or top < 0 or left + width > video.width or top + height > video.height:
        raise AvisError(
            f"A mask's box reaches outside the frame of {video.width}x{video.height}", where=where
        )
    gathering.spend_pixels(height * width, where)
    values = np.repeat(np.arange(len(runs), dtype=np.uint8) % 2, runs).reshape(height, width)
    columns = np.zeros((width, height + 2), dtype=np.uint8)  # each begins and ends with background
    columns[:, 1:-1] = cv2.transpose(values).reshape(width, height)
    column, row = np.divmod(np.flatnonzero(np.diff(columns.ravel())), height + 2)
    edges = ((left + column) * video.height + top + row).reshape(-1, 2)  # of each run of the mask
    apart = np.ones(len(edges) + 1, dtype=bool)  # where the box is as high as the frame, a run may go on
    apart[1:-1] = edges[1:, 0] != edges[:-1, 1]
    bounds = np.stack([edges[apart[:-1], 0], edges[apart[1:], 1]], axis=1).ravel()
    counts = np.diff(bounds, prepend=0, append=video.height * video.width).tolist()
    if not counts[-1]:
        counts.pop()
    return {"size": [video.height, video.width], "counts": counts}
