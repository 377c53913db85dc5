"""Geometry: the shape of single masks, and how it changes against the frames before and after."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import Clip, Crop, intersection
from components.qa.checks import Check, runs
from components.qa.findings import Finding, Severity

_EDGES_AT_ONCE = 512  # against all of a polygon
_MOST_PAIRS = 100_000
_ONE_COLOUR = 16  # gray levels from the darkest to the brightest pixel: one colour with a codec's noise


class BoxMismatch(Check):
    name = "box_mismatch"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 2.0
    unit = "pixels"
    explanation = "The given box is not the mask's box: one of the two was edited without the other."
    fix = "Run the annotate stage, which computes boxes from masks, and look whether the mask is right."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, (crop, box) in enumerate(zip(track.crops, track.boxes or [], strict=False)):
                if crop is None or box is None or box == []:
                    continue
                if (
                    not isinstance(box, list)
                    or len(box) != 4
                    or not all(type(value) in (int, float) and abs(value) < 1e9 for value in box)
                ):
                    message = "the box is not four numbers: left, top, width, height"
                    yield self.found(message, clip, track=track.id, frame=k)
                    continue
                given = box[0], box[1], box[0] + box[2], box[1] + box[3]
                distance = max(abs(a - b) for a, b in zip(given, crop.box, strict=True))
                if distance > self.limit:
                    message = f"the mask reaches {distance:.0f} px past its box, or the box past the mask"
                    yield self.found(message, clip, track=track.id, frame=k, value=distance)


class AreaJump(Check):
    name = "area_jump"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 4.0
    unit = "times the area before and after"
    explanation = (
        "For one frame the mask is several times larger or smaller than on both sides: a leak into the "
        "background, or half an object forgotten. A mask that is small "
        "under another labelled object or at the frame's edge does not count."
    )
    fix = "Draw the mask of this frame again. If something covered the object for a moment, waive it."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k in range(1, clip.length - 1):
                before, here, after = track.crops[k - 1 : k + 2]
                if before is None or here is None or after is None:
                    continue
                larger = min(here.area / before.area, here.area / after.area)
                smaller = min(before.area / here.area, after.area / here.area)
                if max(larger, smaller) <= self.limit:
                    continue
                if smaller > larger and (_at_edge(here, clip) or _covered(clip, track.id, k, before)):
                    continue
                factor, word = max((larger, "larger"), (smaller, "smaller"))
                message = f"the mask is {factor:.1f} times {word} than on both sides"
                yield self.found(message, clip, track=track.id, frame=k, value=factor)


def _at_edge(crop: Crop, clip: Clip) -> bool:
    """Whether a mask reaches the frame's edge, where objects come and go."""
    left, top, right, bottom = crop.box
    return left <= 1 or top <= 1 or right >= clip.width - 1 or bottom >= clip.height - 1


def _covered(clip: Clip, track_id: int, k: int, place: Crop) -> bool:
    """Whether other labelled objects lie over a good part of `place` on frame k."""
    others = [track.crops[k] for track in clip.tracks if track.id != track_id]
    return sum(intersection(place, other) for other in others if other is not None) > 0.2 * place.area


class Sliver(Check):
    name = "sliver"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 2.0
    unit = "pixels of thickness"
    explanation = "The whole mask is nowhere thicker than a line: what a slip of the brush leaves behind."
    fix = "Remove the mask (null), or draw the object."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, crop in track.masks:
                if crop.area > 2000 * self.limit:  # too large for a line across any frame
                    continue
                thickness = _thickness(crop.pixels)
                if thickness <= self.limit:
                    message = f"{crop.area} pixels, nowhere thicker than {thickness:.0f}"
                    yield self.found(message, clip, track=track.id, frame=k, value=thickness)


def _thickness(pixels: NDArray[np.bool_]) -> float:
    """The side of the largest square that fits into the mask, in pixels."""
    padded = np.pad(pixels, 1).view(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)
    radius = float(distance.max())
    doubled = cv2.erode(padded, np.ones((2, 2), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return 2.0 if radius <= 1 and doubled.any() else 2 * radius - 1


class Specks(Check):
    name = "specks"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 0.002
    unit = "share of the mask"
    explanation = (
        "Tiny islands far from the object (half its size or more), which interactive tools leave where a "
        "click went astray. Nearer ones may be what something in front of the object leaves to be seen."
    )
    fix = "Remove the islands."
    farthest = 0.5  # of the square root of the area; the sample's own clips stay below

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, crop in track.masks:
                if crop.pieces[0] == 1:
                    continue
                count = self._count(crop)
                if count:
                    message = f"{count} tiny {'island' if count == 1 else 'islands'} away from the object"
                    yield self.found(message, clip, track=track.id, frame=k, value=float(count))

    def _count(self, crop: Crop) -> int:
        number, labels, statistics, _ = cv2.connectedComponentsWithStats(
            crop.pixels.view(np.uint8), connectivity=8
        )
        areas = statistics[1:, cv2.CC_STAT_AREA]
        small = np.flatnonzero(areas < self.limit * crop.area) + 1
        if number < 3 or not len(small):
            return 0
        large = np.isin(labels, np.setdiff1d(np.arange(1, number), small))
        distance = cv2.distanceTransform((~large).view(np.uint8), cv2.DIST_L2, 3)
        near = self.farthest * np.sqrt(crop.area)
        return sum(float(distance[labels == label].min()) > near for label in small[:50])


class Pinholes(Check):
    name = "pinholes"
    group = "geometry"
    severity: Severity = "info"
    threshold = 7.0
    unit = "holes more than usual"
    explanation = (
        "Tiny holes (each under 0.2 % of the mask), more than twice as many as the track usually has: noise "
        "of a tool. What always has holes, as a drum's frame or a lattice, is not meant."
    )
    fix = "Fill the holes."
    largest = 0.002  # of the mask

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            holes = {k: self._count(crop) for k, crop in track.masks}
            usual = float(np.median(list(holes.values()))) if len(holes) > 2 else 0.0
            noisy = [k for k, count in holes.items() if count > 2 * usual + self.limit]
            for first, last in runs(noisy):
                message = f"{holes[first]} tiny holes in the mask, usually {usual:.0f}"
                yield self.found(
                    message,
                    clip,
                    track=track.id,
                    frame=first,
                    last_frame=last,
                    value=holes[first] - usual,
                )

    def _count(self, crop: Crop) -> int:
        if crop.pieces[1] == 0:
            return 0
        background = np.pad(~crop.pixels, 1, constant_values=True).view(np.uint8)
        _, _, statistics, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
        return int(np.count_nonzero(statistics[1:, cv2.CC_STAT_AREA] < self.largest * crop.area))


class SuddenHole(Check):
    name = "sudden_hole"
    group = "geometry"
    severity: Severity = "info"
    threshold = 0.05
    unit = "share of the mask with its hole"
    explanation = (
        "The mask has a large hole in one frame that it has neither before nor after, and no other labelled "
        "object lies there: a click that cut something out. Something in front of the object looks the same."
    )
    fix = "Fill the hole, unless something covers the object there."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            holes = [None if crop is None else _largest_hole(crop) for crop in track.crops]
            for k in range(1, clip.length - 1):
                before, here, after = holes[k - 1 : k + 2]
                crop = track.crops[k]
                if crop is None or here is None or before is None or after is None:
                    continue
                share = here.area / (crop.area + here.area)
                if share <= self.limit or 4 * max(before.area, after.area) > here.area:
                    continue
                if _covered(clip, track.id, k, here):
                    continue
                message = f"a hole of {share:.0%} of the mask, on this frame only"
                yield self.found(message, clip, track=track.id, frame=k, value=share)


def _largest_hole(crop: Crop) -> Crop:
    """The pixels of the largest hole."""
    if crop.pieces[1] == 0:
        return Crop(crop.x, crop.y, np.zeros((1, 1), dtype=bool), 0)
    background = np.pad(~crop.pixels, 1, constant_values=True).view(np.uint8)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(background, connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[[0, labels[0, 0]]] = 0  # the mask itself, and what lies outside
    largest = int(areas.argmax())
    return Crop(crop.x, crop.y, (labels == largest)[1:-1, 1:-1], int(areas[largest]))


class SelfIntersection(Check):
    name = "self_intersection"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 10.0
    unit = "square pixels of the smaller loop"
    explanation = (
        "The outline of a polygon crosses itself: what lies inside depends on who fills it. Outlines that "
        "only touch themselves, as around holes, do not count."
    )
    fix = "Draw the outline again from where it crosses, or save the mask as a run-length code."

    def check(self, clip: Clip) -> Iterator[Finding]:
        for track in clip.tracks:
            for k, segmentation in enumerate(track.segmentations[: clip.length]):
                if not isinstance(segmentation, list) or k in track.undecodable:
                    continue
                area = max((largest_loop(polygon, self.limit) for polygon in segmentation), default=0.0)
                if area > self.limit:
                    message = f"the outline crosses itself; a loop has {area:.0f} square pixels"
                    yield self.found(message, clip, track=track.id, frame=k, value=area)


def largest_loop(polygon: list[float], enough: float = math.inf) -> float:
    """The area of the largest loop that a polygon [x0, y0, …] cuts off by crossing itself; 0 for none.

    The first one above `enough` ends the search: a scribble crosses itself a million times.

    Of the two sides of a crossing the smaller is its loop. Crossings are found in whole thousandths of a
    pixel, without rounding in between; edges that touch or run along each other do not cross.
    """
    points = np.round(np.asarray(polygon, dtype=np.float64).reshape(-1, 2) * 1000).astype(np.int64)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    ends = np.roll(points, -1, axis=0)
    largest = 0.0
    for i, j in zip(*_near_edges(points, ends), strict=True):
        sides = [_side(points[j], ends[j], points[i]), _side(points[j], ends[j], ends[i])]
        sides += [_side(points[i], ends[i], points[j]), _side(points[i], ends[i], ends[j])]
        if 0 in sides or (sides[0] > 0) == (sides[1] > 0) or (sides[2] > 0) == (sides[3] > 0):
            continue
        where = points[i] + (ends[i] - points[i]) * (sides[0] / (sides[0] - sides[1]))
        loop = np.vstack([where, points[i + 1 : j + 1]]) / 1000
        rest = np.vstack([where, points[j + 1 :], points[: i + 1]]) / 1000
        largest = max(largest, min(_area(loop), _area(rest)))
        if largest > enough:
            break
    return largest


def _near_edges(points: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Pairs of edges i < j that have no point in common and whose boxes overlap."""
    low, high = np.minimum(points, ends), np.maximum(points, ends)
    first: list[int] = []
    second: list[int] = []
    at_once = max(1, _EDGES_AT_ONCE * 1000 // max(1000, len(points)))
    for start in range(0, len(points), at_once):
        some = slice(start, start + at_once)
        near = (low[None, :, 0] <= high[some, None, 0]) & (high[None, :, 0] >= low[some, None, 0])
        near &= (low[None, :, 1] <= high[some, None, 1]) & (high[None, :, 1] >= low[some, None, 1])
        i, j = np.nonzero(near)
        i += start
        apart = (j > i + 1) & ~((i == 0) & (j == len(points) - 1))
        first += i[apart].tolist()
        second += j[apart].tolist()
        if len(first) > _MOST_PAIRS:  # a scribble: that many are enough to find it crossing itself
            break
    return first, second


def _side(a: NDArray[np.int64], b: NDArray[np.int64], point: NDArray[np.int64]) -> int:
    (ax, ay), (bx, by), (x, y) = a.tolist(), b.tolist(), point.tolist()
    return int((bx - ax) * (y - ay) - (by - ay) * (x - ax))


def _area(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


class MaskOnBar(Check):
    name = "mask_on_bar"
    group = "geometry"
    severity: Severity = "warning"
    threshold = 0.1
    unit = "share of the mask"
    explanation = (
        "The mask lies on a bar of one colour along the frame's edge (letterbox, pillarbox), where no object "
        "can be: rows or columns that show one gray level, the same in all frames."
    )
    fix = "Shift or redraw the mask; a whole clip of these was annotated on a differently cropped video."
    glances = 5  # frames that are looked at first: most clips have no bars

    def check(self, clip: Clip) -> Iterator[Finding]:
        glance = np.linspace(0, clip.length - 1, min(self.glances, clip.length)).round().astype(int)
        whole = 0, 0, clip.width, clip.height
        if _inside_bars(clip, glance.tolist()) == whole:
            return
        left, top, right, bottom = _inside_bars(clip, list(range(clip.length)))
        if (left, top, right, bottom) == whole:
            return
        for track in clip.tracks:
            for k, crop in track.masks:
                inside = crop.pixels[
                    max(0, top - crop.y) : max(0, bottom - crop.y),
                    max(0, left - crop.x) : max(0, right - crop.x),
                ]
                share = 1 - np.count_nonzero(inside) / crop.area
                if share > self.limit:
                    message = f"{share:.0%} of the mask lies on a bar at the frame's edge"
                    yield self.found(message, clip, track=track.id, frame=k, value=share)


def _inside_bars(clip: Clip, frames: list[int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (exclusive) of what lies inside the bars, in pixels of the masks."""
    pictures = [picture for k in frames if (picture := clip.picture(k)) is not None]
    if not pictures or len({picture.shape for picture in pictures}) > 1:
        return 0, 0, clip.width, clip.height
    brightest, darkest = np.max(pictures, axis=0), np.min(pictures, axis=0)
    top, bottom = _lively(brightest.max(axis=1) - darkest.min(axis=1), clip.height)
    left, right = _lively(brightest.max(axis=0) - darkest.min(axis=0), clip.width)
    return left, top, right, bottom


def _lively(spread: NDArray[np.uint8], size: int) -> tuple[int, int]:
    """First and last + 1 row (or column) that shows more than one gray level, in pixels of the masks."""
    lively = np.flatnonzero(spread > _ONE_COLOUR)
    if not len(lively):
        return 0, size  # a clip of one colour has no bars; black_frame says so
    scale = size / len(spread)
    first, last = int(lively[0]), int(lively[-1]) + 1
    return (round(first * scale) if first > 1 else 0), (
        round(last * scale) if last < len(spread) - 1 else size
    )
