"""At which shift in time labels fit the pictures and the sound best. K: shifts from -FARTHEST to FARTHEST."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import Clip, Crop

FARTHEST = 5  # frames
SHIFTS = range(-FARTHEST, FARTHEST + 1)
_MOST_MASKS = 40  # of a clip: more tell no more
_MARGIN_PX, _NEAR_PX, _FAR_PX = 6, 2, 5  # of the small picture: an edge is near, what it is compared with far
_FEWEST_PX = 20  # of an outline
_STRONGEST_EDGE, _NOISE = 150.0, 4.0  # gray levels
_QUIETEST_DBFS, _LARGEST_STEP_DB = -60.0, 6.0  # beyond, silence would decide alone


@dataclass(frozen=True, slots=True)
class Shift:
    """The labels fit better `frames` later (or, below 0, earlier).

    gain: by how much, in the measure's own unit.
    chance: of so large a gain at some shift, if no shift were better.
    """

    frames: int
    gain: float
    chance: float


def picture_gains(clip: Clip) -> NDArray[np.float64]:
    """How much sharper outlines of masks stand out in the picture k frames later than in their own, [N, K].

    One row for each frame with masks, the mean of its masks: log of the gradient on the outline against that
    inside or outside of it, whichever is weaker, less the same at shift 0: of a striped thing on a plain
    ground, or a plain one on a striped ground, one side alone has edges. NaN where there is no such frame.
    """
    masks = [(k, crop) for track in clip.tracks for k, crop in enumerate(track.crops) if crop is not None]
    step = -(-len(masks) // _MOST_MASKS)
    edges: dict[int, NDArray[np.float32] | None] = {}
    rows: dict[int, list[list[float]]] = {}
    for k, crop in masks[::step] if masks else ():
        for shown in range(max(0, k - FARTHEST), min(clip.length, k + FARTHEST + 1)):
            if shown not in edges:
                edges[shown] = _edges(clip.picture(shown))
        own = edges[k]
        places = None if own is None else _outline(crop, clip, own.shape)
        if places is None:
            continue
        at = [_contrast(edges.get(k + shift), places, own) for shift in SHIFTS]
        rows.setdefault(k, []).append([value - at[FARTHEST] for value in at])
    gains = [np.mean(rows[k], axis=0) for k in sorted(rows)]
    return np.array(gains).reshape(len(gains), len(SHIFTS))


def _edges(picture: NDArray[np.uint8] | None) -> NDArray[np.float32] | None:
    """The gradient's magnitude, [h, w]; the strongest edges are cut, so that a few do not decide."""
    if picture is None:
        return None
    smooth = cv2.GaussianBlur(picture, (3, 3), 0).astype(np.float32)
    magnitude = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return np.asarray(np.minimum(magnitude, _STRONGEST_EDGE), np.float32)


def _outline(crop: Crop, clip: Clip, shape: tuple[int, ...]) -> list[NDArray[np.intp]] | None:
    """Places (flat) of a mask's outline in a picture of `shape`, and of bands outside and inside of it."""
    height, width = shape
    scale_x, scale_y = width / clip.width, height / clip.height
    left, top = max(0, int(crop.x * scale_x) - _MARGIN_PX), max(0, int(crop.y * scale_y) - _MARGIN_PX)
    right = min(width, int(crop.box[2] * scale_x) + 1 + _MARGIN_PX)
    bottom = min(height, int(crop.box[3] * scale_y) + 1 + _MARGIN_PX)
    # sampled at the small picture's pixel centres
    columns = ((np.arange(left, right) + 0.5) / scale_x).astype(int) - crop.x
    rows = ((np.arange(top, bottom) + 0.5) / scale_y).astype(int) - crop.y
    inside_x = (columns >= 0) & (columns < crop.pixels.shape[1])
    inside_y = (rows >= 0) & (rows < crop.pixels.shape[0])
    mask = np.zeros((bottom - top, right - left), np.uint8)
    mask[np.ix_(inside_y, inside_x)] = crop.pixels[np.ix_(rows[inside_y], columns[inside_x])]

    def band(reach: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        around = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        thinner = cv2.erode(mask, around, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return np.asarray(cv2.dilate(mask, around), np.uint8), np.asarray(thinner, np.uint8)

    (on_out, on_in), (near_out, near_in), (far_out, far_in) = band(1), band(_NEAR_PX), band(_FAR_PX)
    on = on_out != on_in
    # where an object leaves the frame there is an outline without an edge
    y, x = np.nonzero(on)
    seen = (x + left > 0) & (x + left < width - 1) & (y + top > 0) & (y + top < height - 1)
    places = [(y[seen] + top) * width + x[seen] + left]
    for side in (far_out != near_out, far_in != near_in):
        y, x = np.nonzero(side)
        places.append((y + top) * width + x + left)
    return places if len(places[0]) >= _FEWEST_PX and len(places[1]) else None


def _contrast(
    edges: NDArray[np.float32] | None, places: list[NDArray[np.intp]], own: NDArray[np.float32] | None
) -> float:
    if edges is None or own is None or edges.shape != own.shape:
        return np.nan
    outline, *sides = (float(edges.ravel()[of].mean()) for of in places if len(of))
    return float(np.log((outline + _NOISE) / (min(sides) + _NOISE)))


def sound_gains(clip: Clip) -> NDArray[np.float64]:
    """How much more the level rises where a label begins, and falls where one ends, k frames later, [N, K].

    One row for each label that begins or ends within the clip; dB, less the same at shift 0.
    """
    if clip.usual_level_dbfs is None or clip.length < 2:
        return np.zeros((0, len(SHIFTS)))
    steps = np.diff(np.maximum(clip.usual_level_dbfs, _QUIETEST_DBFS))
    padded = np.pad(
        np.clip(steps, -_LARGEST_STEP_DB, _LARGEST_STEP_DB), FARTHEST, constant_values=np.nan
    )  # [k + FARTHEST]: from frame k to k + 1
    present = np.array([[crop is not None for crop in track.crops] for track in clip.tracks], np.int8)
    changes = np.diff(present.reshape(len(clip.tracks), clip.length), axis=1)
    rows = [
        changes[track, k] * (padded[k : k + len(SHIFTS)] - padded[k + FARTHEST])
        for track, k in zip(*np.nonzero(changes), strict=True)
    ]
    return np.array(rows).reshape(len(rows), len(SHIFTS))


def mean_gains(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each column [K] over rows [N, K]; NaN where nothing is known."""
    known = np.isfinite(gains)
    sums = np.where(known, gains, 0).sum(axis=0)
    counts = known.sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def best_shift(gains: NDArray[np.float64], *, fewest: int, least_gain: float) -> Shift | None:
    """The shift that gains most over samples [N, K]; None where none gains.

    Each sample has one vote: its gains are divided by the largest of them, up or down, so that samples with
    strong edges do not decide alone. A t-test says whether the votes could be chance; it is corrected for
    the number of shifts.

    Args:
        fewest: samples that a shift must have to be looked at; half of the samples it must have anyway.
        least_gain: on average, before the division.
    """
    from scipy.stats import t as student

    counts = np.isfinite(gains).sum(axis=0)
    largest = np.max(np.abs(gains), axis=1, initial=0, where=np.isfinite(gains))
    votes = gains / np.maximum(largest, 1e-9)[:, None]
    means = np.where(counts >= max(fewest, len(gains) / 2), mean_gains(votes), -np.inf)
    place = int(np.argmax(means))
    if not np.isfinite(means[place]):
        return None
    gain = float(mean_gains(gains)[place])
    if place == FARTHEST or gain < least_gain:
        return None
    of_place = votes[np.isfinite(votes[:, place]), place]
    error = of_place.std(ddof=1) / np.sqrt(len(of_place))
    chance = float(student.sf(of_place.mean() / max(error, 1e-9), len(of_place) - 1)) * (len(SHIFTS) - 1)
    return Shift(SHIFTS[place], gain, min(1.0, chance))
