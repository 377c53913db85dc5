"""Average precision of mask tracks: COCO's matching on video-level overlaps (Yang et al., "Video Instance
Segmentation", ICCV 2019), at IoU 0.5:0.05:0.95 and by the tracks' size.

Letters: D predicted tracks, S = 4 sizes (all, small, medium, large), A = 10 IoU thresholds, R = 101 recalls.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from components.core.metrics.overlaps import Booleans, Floats, Integers, Overlaps

# as the published evaluator has them: 0.85 is 0.8500000000000003, and an overlap may fall short by _TOLERANCE
THRESHOLDS: Floats = np.arange(0.5, 0.96, 0.05)
_TOLERANCE = np.finfo(np.float64).eps
RECALLS: Floats = np.linspace(0, 1, 101)
SIZES = ("all", "small", "medium", "large")
# mean area of a track in pixels, both ends included
_AREA_RANGES = ((0.0, np.inf), (0.0, 128.0**2), (128.0**2, 256.0**2), (256.0**2, 1e10))


@dataclass(frozen=True, slots=True)
class Detections:
    """One category in one video: truths [S] counts; scores [D], right [D, S, A], ignored [D, S, A]."""

    truths: Integers
    scores: Floats
    right: Booleans
    ignored: Booleans


def match(
    overlaps: Overlaps, truth_sizes: Floats, predicted_sizes: Floats, *, first_row_takes: bool = True
) -> Detections:
    """Match the tracks of one category in one video, best score first.

    Args:
        overlaps: the tracks of the category; equal scores keep their order.
        truth_sizes: [G] mean areas in pixels.
        predicted_sizes: [P], the same.
        first_row_takes: whether the first row of the results file takes the ground-truth track that it
            matches, as all others do (in the published evaluator it leaves it free for a second match).

    A ground-truth track outside the size, or marked as a crowd, is ignored with what matches it; so is an
    unmatched prediction outside the size.
    """
    order = np.argsort(-overlaps.predicted.scores, kind="stable")
    ious = overlaps.track_ious()[:, order].T  # [D, G]
    sizes, rows = predicted_sizes[order], overlaps.predicted.rows[order]
    shape = (len(order), len(SIZES), len(THRESHOLDS))
    right, ignored = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    truths = np.zeros(len(SIZES), dtype=np.int64)
    candidates = np.flatnonzero((ious >= THRESHOLDS[0] - _TOLERANCE).any(1))
    for size, (low, high) in enumerate(_AREA_RANGES):
        truth_ignored = (truth_sizes < low) | (truth_sizes > high) | overlaps.truth.crowd
        truths[size] = (~truth_ignored).sum()
        outside = (sizes < low) | (sizes > high)
        ignored[:, size] = outside[:, None]
        for level, threshold in enumerate(THRESHOLDS):
            taken = np.zeros(len(truth_sizes), dtype=bool)
            for detection in candidates:
                partner = _partner(ious[detection], taken, truth_ignored, threshold)
                if partner is not None:
                    taken[partner] = first_row_takes or rows[detection] != 0
                    right[detection, size, level] = not truth_ignored[partner]
                    ignored[detection, size, level] = truth_ignored[partner]
    return Detections(truths, overlaps.predicted.scores[order], right, ignored)


def _partner(ious: Floats, taken: Booleans, ignored: Booleans, threshold: float) -> int | None:
    """Return the free ground-truth track that overlaps most, an ignored one only if there is no other."""
    free = (ious >= threshold - _TOLERANCE) & ~taken
    if (free & ~ignored).any():
        free &= ~ignored
    if not free.any():
        return None
    best = np.flatnonzero(free & (ious == ious[free].max()))
    return int(best[-1])


@dataclass(frozen=True, slots=True)
class Ranking:
    """All detections of one category, best score first: D rows; `videos` [D] tells where each comes from.

    truths: [V, S] ground-truth tracks per video.
    scores: [D].
    ends: [D] true where the next detection has a lower score, or everywhere if equal scores are ranked too.
    """

    truths: Integers
    scores: Floats
    right: Booleans
    ignored: Booleans
    videos: Integers
    ends: Booleans


def rank(per_video: list[Detections], *, equal_scores_together: bool) -> Ranking:
    """Put the detections of all videos in one order.

    Args:
        per_video: one entry per video.
        equal_scores_together: a precision is read only after all detections of equal score, which makes it
            independent of the order of videos; otherwise after each, in the given order.
    """
    unordered = Ranking(
        np.stack([video.truths for video in per_video]),
        np.concatenate([video.scores for video in per_video]),
        np.concatenate([video.right for video in per_video]),
        np.concatenate([video.ignored for video in per_video]),
        np.repeat(np.arange(len(per_video)), [len(video.scores) for video in per_video]),
        np.empty(0, dtype=bool),
    )
    return _in_order(unordered, equal_scores_together)


def join(first: Ranking, second: Ranking, *, equal_scores_together: bool) -> Ranking:
    """Put two rankings into one: of V videos in the first, the second's video n becomes video V + n."""
    unordered = Ranking(
        np.concatenate([first.truths, second.truths]),
        np.concatenate([first.scores, second.scores]),
        np.concatenate([first.right, second.right]),
        np.concatenate([first.ignored, second.ignored]),
        np.concatenate([first.videos, second.videos + len(first.truths)]),
        np.empty(0, dtype=bool),
    )
    return _in_order(unordered, equal_scores_together)


def of_videos(ranking: Ranking, places: Integers, *, equal_scores_together: bool) -> Ranking:
    """Keep the detections of some videos: video places[n], none twice, becomes video n."""
    new = np.full(len(ranking.truths), -1)
    new[places] = np.arange(len(places))
    kept = new[ranking.videos] >= 0
    unordered = Ranking(
        ranking.truths[places],
        ranking.scores[kept],
        ranking.right[kept],
        ranking.ignored[kept],
        new[ranking.videos[kept]],
        np.empty(0, dtype=bool),
    )
    return _in_order(unordered, equal_scores_together)


def _in_order(ranking: Ranking, equal_scores_together: bool) -> Ranking:
    order = np.argsort(-ranking.scores, kind="stable")
    scores = ranking.scores[order]
    ends = np.ones(len(scores), dtype=bool)
    if equal_scores_together and len(scores):
        ends[:-1] = scores[1:] != scores[:-1]
    return Ranking(
        ranking.truths,
        scores,
        ranking.right[order],
        ranking.ignored[order],
        ranking.videos[order],
        ends,
    )


@dataclass(frozen=True, slots=True)
class Curves:
    """precision [S, A, R] at each recall; recall [S, A] reached; both NaN for a size without ground truth."""

    precision: Floats
    recall: Floats


def curves(ranking: Ranking, weights: Floats | None = None) -> Curves:
    """Compute the interpolated precision-recall curves of one category.

    Args:
        ranking: the category's detections.
        weights: [V] how often each video counts (bootstrap); once if not given.
    """
    video_weights = np.ones(len(ranking.truths)) if weights is None else weights
    truths = video_weights @ ranking.truths  # [S]
    detection_weights = video_weights[ranking.videos][:, None, None]
    right = np.cumsum(detection_weights * (ranking.right & ~ranking.ignored), 0)[ranking.ends]
    false = np.cumsum(detection_weights * (~ranking.right & ~ranking.ignored), 0)[ranking.ends]
    precision = np.zeros((len(truths), len(THRESHOLDS), len(RECALLS)))
    recall = np.zeros((len(truths), len(THRESHOLDS)))
    tiny = np.finfo(np.float64).tiny
    # the best precision at this or a higher recall
    best = np.maximum.accumulate((right / np.maximum(right + false, tiny))[::-1], 0)[::-1]
    for size in range(len(truths)):
        if truths[size] == 0:
            precision[size] = recall[size] = np.nan
            continue
        if not len(right):
            continue
        recalls = right[:, size] / truths[size]
        recall[size] = recalls[-1]
        for level in range(len(THRESHOLDS)):
            places = np.searchsorted(recalls[:, level], RECALLS, side="left")
            reached = places < len(recalls)
            precision[size, level, reached] = best[places[reached], size, level]
    return Curves(precision, recall)


def average_precisions(ranking: Ranking, weights: Floats) -> Floats:
    """Compute the average precision of one category for many weightings of the videos, all sizes together.

    Args:
        ranking: the category's detections.
        weights: [N, V] how often each video counts.

    Returns:
        [N] fractions: the mean of `curves(ranking, weights[n]).precision[0]`, NaN without ground truth.
    """
    truths = weights @ ranking.truths[:, 0]  # [N]
    right = ranking.right[:, 0] & ~ranking.ignored[:, 0]  # [D, A]
    false = ~ranking.right[:, 0] & ~ranking.ignored[:, 0]
    # precision is highest where something right was just found: only there (K places) it need be read
    groups: Integers = np.cumsum(ranking.ends) - ranking.ends  # [D] detections of equal score are one group
    places, levels = np.flatnonzero(ranking.ends), len(THRESHOLDS)
    useful = np.zeros(len(places), dtype=bool)
    useful[groups[right.any(1)]] = True
    places = places[useful]
    if not len(places):
        return np.where(truths > 0, 0.0, np.nan)
    segments = np.searchsorted(places, np.arange(len(right)))  # the place at which a detection first counts

    def counted(chosen: Booleans) -> Floats:
        """Weighted number of the chosen detections up to each place, [K, A, N]."""
        detections, thresholds = np.nonzero(chosen & (segments < len(places))[:, None])
        cells = (segments[detections] * levels + thresholds, ranking.videos[detections])
        shape = (len(places) * levels, len(ranking.truths))
        per_video = csr_array((np.ones(len(detections)), cells), shape=shape)
        sums: Floats = np.cumsum((per_video @ weights.T).reshape(len(places), levels, -1), axis=0)
        return sums

    hits, misses = counted(right), counted(false)
    precision = hits / np.maximum(hits + misses, np.finfo(np.float64).tiny)
    best = np.maximum.accumulate(precision[::-1], 0)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.searchsorted(RECALLS, hits / truths, side="right")  # recalls reached at each place
    gained = np.diff(reached, axis=0, prepend=0)
    values: Floats = (best * gained).sum(0).mean(0) / len(RECALLS)
    return np.where(truths > 0, values, np.nan)
