"""How the masks of one video overlap: measured once, used by every metric.

Letters: T frames, G ground-truth tracks, P predicted tracks of one video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.records import masks
from components.core.records.annotations import Track, Video
from components.core.records.results import Result
from components.core.run.errors import AvisError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Side:
    """The tracks of one side, ground truth or prediction; N tracks.

    rows [N]: each track's place in its file; categories [N]; scores [N] (1 for ground truth); crowd [N];
    areas [N, T] in pixels, 0 without a mask; listed [N, T]: the file has a mask there, be it empty.
    """

    rows: Integers
    categories: Integers
    scores: Floats
    crowd: Booleans
    areas: Integers
    listed: Booleans

    def select(self, tracks: Booleans | Integers) -> "Side":
        """Return some of the tracks, in the given order."""
        return Side(
            self.rows[tracks],
            self.categories[tracks],
            self.scores[tracks],
            self.crowd[tracks],
            self.areas[tracks],
            self.listed[tracks],
        )


@dataclass(frozen=True, slots=True)
class Overlaps:
    """One video: both sides and intersections [T, G, P] in pixels."""

    name: str
    height: int
    width: int
    truth: Side
    predicted: Side
    intersections: Integers

    @property
    def frames(self) -> int:
        return len(self.intersections)

    def frame_ious(self) -> Floats:
        """Intersection over union per frame, [T, G, P]; 0 where both masks are empty."""
        truth, predicted = self.truth.areas.T[:, :, None], self.predicted.areas.T[:, None, :]
        unions = truth + predicted - self.intersections
        ious: Floats = self.intersections / np.maximum(unions, 1)
        return ious

    def track_ious(self) -> Floats:
        """Intersection over union of whole tracks, [G, P]: pixels summed over frames (video mAP)."""
        truth, predicted = self.truth.areas.sum(1)[:, None], self.predicted.areas.sum(1)[None, :]
        intersections = self.intersections.sum(0)
        ious: Floats = intersections / np.maximum(truth + predicted - intersections, 1)
        return ious

    def select(self, truth: Booleans | Integers, predicted: Booleans | Integers) -> "Overlaps":
        """Return some of the tracks of each side, in the given order."""
        intersections = self.intersections[:, truth][:, :, predicted]
        return Overlaps(
            self.name,
            self.height,
            self.width,
            self.truth.select(truth),
            self.predicted.select(predicted),
            intersections,
        )

    def category(self, category: int) -> "Overlaps":
        """Return the tracks of one category."""
        return self.select(self.truth.categories == category, self.predicted.categories == category)


@dataclass(frozen=True, slots=True)
class VideoMasks:
    """What `measure` needs of one video; it travels to worker processes.

    results: (row in the results file, result whose masks are checked, compressed RLE or None).
    """

    video: Video
    tracks: Sequence[Track]
    results: Sequence[tuple[int, Result]]


def measure(item: VideoMasks) -> Overlaps:
    """Measure areas and intersections of all masks of one video.

    Raises:
        AvisError: if a ground-truth mask does not decode; it names video, annotation and frame.
    """
    from pycocotools import mask as coco

    video = item.video
    truth = [_codes(track, video) for track in item.tracks]
    predicted = [result.segmentations for _, result in item.results]
    truth_areas, predicted_areas = _areas(truth, video.length), _areas(predicted, video.length)
    intersections = np.zeros((video.length, len(truth), len(predicted)), dtype=np.int64)
    for frame in range(video.length):
        rows, columns = np.flatnonzero(truth_areas[:, frame]), np.flatnonzero(predicted_areas[:, frame])
        if not len(rows) or not len(columns):
            continue
        # pycocotools compares boxes first and runs only where they meet
        ious = coco.iou(
            [predicted[column][frame] for column in columns],
            [truth[row][frame] for row in rows],
            [0] * len(rows),
        ).T
        total = truth_areas[rows, frame][:, None] + predicted_areas[columns, frame][None, :]
        # i / (a + b - i) = iou gives back the whole number i
        intersections[frame][np.ix_(rows, columns)] = np.rint(ious * total / (1 + ious))
    return Overlaps(
        video.name,
        video.height,
        video.width,
        Side(
            np.arange(len(truth)),
            np.array([track.category_id for track in item.tracks], dtype=np.int64),
            np.ones(len(truth)),
            np.array([bool(track.iscrowd) for track in item.tracks], dtype=bool),
            truth_areas,
            _listed(truth, video.length),
        ),
        Side(
            np.array([row for row, _ in item.results], dtype=np.int64),
            np.array([result.category_id for _, result in item.results], dtype=np.int64),
            np.array([result.score for _, result in item.results], dtype=np.float64),
            np.zeros(len(predicted), dtype=bool),
            predicted_areas,
            _listed(predicted, video.length),
        ),
        intersections,
    )


def canonical(overlaps: Overlaps) -> Overlaps:
    """Return the video without its empty tracks, and the rest in an order that does not depend on the file's.

    Tracks are sorted by score and then by their masks' areas and overlaps, so that ties in a matching are
    broken alike for any order of the same tracks, at any resolution.
    """
    truth, predicted = overlaps.truth, overlaps.predicted
    # what a track looks like from outside: its areas, and what it overlaps, in an order of its own
    truth_keys = [
        (int(truth.categories[row]), tuple(truth.areas[row]), _profile(overlaps.intersections[:, row, :]))
        for row in range(len(truth.categories))
    ]
    predicted_keys = [
        (
            -float(predicted.scores[column]),
            tuple(-predicted.areas[column]),
            _profile(overlaps.intersections[:, :, column]),
        )
        for column in range(len(predicted.categories))
    ]
    rows = sorted(range(len(truth_keys)), key=truth_keys.__getitem__)
    columns = sorted(range(len(predicted_keys)), key=predicted_keys.__getitem__)
    return overlaps.select(
        np.array([row for row in rows if truth.areas[row].any()], dtype=np.int64),
        np.array([column for column in columns if predicted.areas[column].any()], dtype=np.int64),
    )


def _profile(intersections: Integers) -> tuple[tuple[int, ...], ...]:
    """Rows of overlaps with the other side's tracks, [T, N] → sorted N rows of T."""
    return tuple(sorted((tuple(column) for column in intersections.T), reverse=True))


def _codes(track: Track, video: Video) -> list[dict[str, Any] | None]:
    codes, problems = masks.compress_all(track.segmentations, video.height, video.width)
    for frame, problem in sorted(problems.items()):
        raise AvisError(
            problem, where=f"ground truth, video {video.name!r}, annotation {track.id}, frame {frame}"
        )
    return codes


def _areas(codes: Sequence[Sequence[dict[str, Any] | None]], frames: int) -> Integers:
    from pycocotools import mask as coco

    areas = np.zeros((len(codes), frames), dtype=np.int64)
    for row, track in enumerate(codes):
        present = [frame for frame, code in enumerate(track) if code is not None]
        if present:
            areas[row, present] = coco.area([track[frame] for frame in present])
    return areas


def _listed(codes: Sequence[Sequence[dict[str, Any] | None]], frames: int) -> Booleans:
    return np.array([[code is not None for code in track] for track in codes], dtype=bool).reshape(-1, frames)
