"""Repairs of annotation files that need no judgement: `avis qa fix`.

A repair is safe when no evaluator and no training could tell the labels before from those after, except that
tools which stumbled over the old form no longer do. Repairs that change what is labelled are done on request.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from components.core.records.annotations import intervals_problem
from components.core.records.masks import MOST_PIXELS, area, bounding_box, decode, encode
from components.core.run.errors import AvisError
from components.core.run.files import new_folder, write_csv, write_text

_LARGEST_PART = 0.002  # of the mask: what the checks `specks` and `pinholes` call tiny
_FARTHEST = 0.5  # of the square root of the area, as in `specks`
_FARTHEST_PX = 1e9  # of a box's number
_BOX_TOLERANCE_PX = 2.0  # as in `box_mismatch`


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was changed. frame: None where the whole track is meant."""

    fix: str
    video: str
    track: int
    frame: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Size:
    """A video: its name, length in frames, height and width in pixels."""

    name: str
    length: int
    height: int
    width: int


Row = dict[str, Any]
RowFix = Callable[[Row, Size], Iterator[tuple[int | None, str]]]  # changes the row, yields (frame, what)


def drop_short_polygons(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Remove polygons of fewer than three points: they cover nothing."""
    for k, segmentation in enumerate(row["segmentations"]):
        if not isinstance(segmentation, list):
            continue
        whole = [polygon for polygon in segmentation if not isinstance(polygon, list) or len(polygon) >= 6]
        if len(whole) < len(segmentation):
            row["segmentations"][k] = whole or None
            yield k, f"{len(segmentation) - len(whole)} polygon(s) of fewer than three points removed"


def null_empty_masks(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Write a mask without pixels as null."""
    for k, segmentation in enumerate(row["segmentations"]):
        if not isinstance(segmentation, list | dict):
            continue
        try:
            empty = area(segmentation, size.height, size.width) == 0
        except AvisError:
            continue  # undecodable: somebody has to look
        if empty:
            row["segmentations"][k] = None
            yield k, "an empty mask became null"


def trim_length(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Cut off segmentations past the video's end where there is no mask in them."""
    beyond = row["segmentations"][size.length :]
    if beyond and all(segmentation is None for segmentation in beyond):
        del row["segmentations"][size.length :]
        yield None, f"{len(beyond)} null(s) past the video's end cut off"


def boxes_from_masks(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Compute boxes and areas that do not fit the masks anew."""
    if not any(isinstance(row.get(name), list) for name in ("bboxes", "areas")):
        return
    try:
        boxes = [bounding_box(mask, size.height, size.width) for mask in row["segmentations"]]
        areas = [area(mask, size.height, size.width) or None for mask in row["segmentations"]]
    except AvisError:
        return
    if isinstance(row.get("bboxes"), list) and not _boxes_fit(row["bboxes"], boxes):
        row["bboxes"] = boxes
        yield None, "boxes computed from the masks"
    if isinstance(row.get("areas"), list) and (
        len(row["areas"]) != len(areas)
        or any((given or None) != found for given, found in zip(row["areas"], areas, strict=True))
    ):
        row["areas"] = areas
        yield None, "areas computed from the masks"


def _boxes_fit(given: list[Any], boxes: list[list[float] | None]) -> bool:
    if len(given) != len(boxes):
        return False
    for box, expected in zip(given, boxes, strict=True):
        if expected is None or not box:
            if bool(expected) != bool(box):
                return False
        elif (
            not isinstance(box, list)
            or len(box) != 4
            or not all(type(value) in (int, float) and abs(value) < _FARTHEST_PX for value in box)
            or any(not abs(a - b) <= _BOX_TOLERANCE_PX for a, b in zip(box, expected, strict=True))
        ):
            return False
    return True


def order_intervals(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Sort sounding intervals, and join those that overlap."""
    value = row.get("sounding")
    if value is None or intervals_problem(value) is None:
        return
    if not isinstance(value, list) or any(intervals_problem([interval]) for interval in value):
        return
    joined: list[list[float]] = []
    for start, end in sorted(value):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([start, end])
    row["sounding"] = joined
    yield None, f"{len(value)} sounding intervals sorted and joined to {len(joined)}"


def remove_specks(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Remove tiny islands far from the object."""
    yield from _change_masks(row, size, _without_specks, "islands")


def fill_pinholes(row: Row, size: Size) -> Iterator[tuple[int | None, str]]:
    """Fill tiny holes."""
    yield from _change_masks(row, size, _without_pinholes, "holes")


def _change_masks(
    row: Row,
    size: Size,
    change: Callable[[NDArray[np.bool_]], tuple[NDArray[np.bool_], int]],
    what: str,
) -> Iterator[tuple[int | None, str]]:
    for k, segmentation in enumerate(row["segmentations"]):
        if not segmentation:
            continue
        try:
            mask = decode(segmentation, size.height, size.width)
        except AvisError:
            continue
        changed, count = change(mask)
        if count:
            row["segmentations"][k] = encode(changed)
            yield k, f"{count} tiny {what}"


def _without_specks(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    small = np.flatnonzero(areas < _LARGEST_PART * areas.sum()) + 1 if count > 1 else np.zeros(0, int)
    if count < 3 or not len(small):
        return mask, 0
    large = np.isin(labels, np.setdiff1d(np.arange(1, count), small))
    distance = cv2.distanceTransform((~large).view(np.uint8), cv2.DIST_L2, 3)
    far = [part for part in small if distance[labels == part].min() > _FARTHEST * np.sqrt(areas.sum())]
    return mask & ~np.isin(labels, far), len(far)


def _without_pinholes(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    padded = np.pad(~mask, 1, constant_values=True).view(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    tiny = [
        part
        for part in range(1, count)
        if statistics[part, cv2.CC_STAT_AREA] < _LARGEST_PART * np.count_nonzero(mask)
    ]
    return mask | np.isin(labels[1:-1, 1:-1], tiny), len(tiny)


SAFE: dict[str, RowFix] = {
    "short_polygon": drop_short_polygons,
    "empty_mask": null_empty_masks,
    "segmentation_length": trim_length,
    "box_mismatch": boxes_from_masks,
    "sounding_intervals": order_intervals,
}
ON_REQUEST: dict[str, RowFix] = {"specks": remove_specks, "pinholes": fill_pinholes}


def fix_file(source: Path, target: Path, also: list[str]) -> list[Repair]:
    """Repair an AVISeg JSON file; what nobody repairs is kept as it is, unknown fields too.

    Args:
        source: the file.
        target: written, with `<target>.repairs.csv` beside it, when there is something to repair.
        also: names of ON_REQUEST.

    Raises:
        AvisError: it is no AVISeg JSON.
    """
    document = _read(source)
    videos: dict[Any, Size] = {}
    twice: set[Any] = set()  # whose masks they are nobody can tell: such videos are left alone
    for row in document["videos"]:
        size = _size(row)
        if size is not None:
            if row["id"] in videos:
                twice.add(row["id"])
            videos[row["id"]] = size
    videos = {identity: size for identity, size in videos.items() if identity not in twice}
    fixes = SAFE | {name: ON_REQUEST[name] for name in also}
    # masks first, then the boxes that follow from them
    ordered = sorted(fixes, key=lambda name: name == "box_mismatch")
    repairs: list[Repair] = []
    for row in document["annotations"]:
        size = _video_of(row, videos)
        if size is None:
            continue  # the checks say so
        for name in ordered:
            for frame, what in fixes[name](row, size):
                repairs.append(Repair(name, size.name, row["id"], frame, what))
    repairs += _fix_tracks(document, videos)
    if repairs:
        write_text(target, json.dumps(document, separators=(",", ":")) + "\n")
        columns = [field.name for field in fields(Repair)]
        write_csv(target.with_name(f"{target.name}.repairs.csv"), columns, map(asdict, repairs))
    return repairs


class _NothingToRepairError(Exception):
    pass


def fix_folder(source: Path, target: Path, also: list[str]) -> list[Repair]:
    """Copy a whole folder with its .json files repaired; nothing is written where nothing is to repair.

    Raises:
        AvisError: there is no .json file, or one is no AVISeg JSON.
    """
    files = sorted(source.rglob("*.json"))
    if not files:
        raise AvisError("The folder has no .json file", where=str(source))
    repairs: list[Repair] = []
    try:
        with new_folder(target) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True)
            for file in files:
                repairs += fix_file(file, folder / file.relative_to(source), also)
            if not repairs:
                raise _NothingToRepairError
    except _NothingToRepairError:
        return []
    return repairs


def _fix_tracks(document: Row, videos: dict[Any, Size]) -> list[Repair]:
    """Repairs of whole tracks: without any mask, the very same as another, of an id that another has."""
    rows = [row for row in document["annotations"] if isinstance(row, dict)]
    largest = max((row["id"] for row in rows if type(row.get("id")) is int), default=0)
    seen_ids: set[int] = set()
    seen_masks: dict[str, int] = {}
    kept, repairs = [], []
    for row in document["annotations"]:
        size = _video_of(row, videos)
        if size is None:
            kept.append(row)
            continue
        if all(mask is None for mask in row["segmentations"]) and not row.get("sounding"):
            repairs.append(Repair("empty_track", size.name, row["id"], None, "a track without masks removed"))
            continue
        said = {name: row[name] for name in row if name not in ("id", "bboxes", "areas")}
        masks = json.dumps(said, sort_keys=True)
        if masks in seen_masks:
            what = f"removed: the very same masks as track {seen_masks[masks]}"
            repairs.append(Repair("duplicate_tracks", size.name, row["id"], None, what))
            continue
        if row["id"] in seen_ids:
            largest += 1
            what = f"its id, given twice, became {largest}"
            repairs.append(Repair("duplicate_id", size.name, row["id"], None, what))
            row["id"] = largest
        seen_ids.add(row["id"])
        seen_masks[masks] = row["id"]
        kept.append(row)
    document["annotations"] = kept
    return repairs


def _video_of(row: Any, videos: dict[Any, Size]) -> Size | None:
    """The video of an annotation; None where the row is none, or names none."""
    if not isinstance(row, dict) or type(row.get("video_id")) is not int or type(row.get("id")) is not int:
        return None
    return videos.get(row["video_id"]) if isinstance(row.get("segmentations"), list) else None


def _read(source: Path) -> Row:
    try:
        document = json.loads(source.read_bytes())
    except FileNotFoundError:
        raise AvisError("There is no such annotation file", where=str(source)) from None
    except (ValueError, RecursionError) as error:
        raise AvisError(
            f"This is not valid JSON: {error}",
            where=str(source),
            fix="Only AVISeg JSON is repaired; `avis convert SOURCE TARGET --to aviseg` makes it.",
        ) from None
    for key in ("categories", "videos", "annotations"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise AvisError(
                f"The list {key!r} is missing: this is no AVISeg JSON",
                where=str(source),
                fix="`avis convert SOURCE TARGET --to aviseg` makes it of other formats.",
            )
    return dict(document)


def _size(row: Any) -> Size | None:
    try:
        length, height, width = row["length"], row["height"], row["width"]
        name = str(row["file_names"][0]).split("/")[0]
        identity = row["id"]
    except (KeyError, TypeError, IndexError):
        return None
    if any(type(value) is not int or not 1 <= value < 1_000_000 for value in (length, height, width)):
        return None
    if type(identity) is not int or height * width > MOST_PIXELS:
        return None
    return Size(name, length, height, width)
