"""HOTA and its parts (Luiten et al., "HOTA: A Higher Order Metric for Multi-Object Tracking", 2021).

Letters: T frames, G ground-truth tracks, P predicted tracks of one category in one video, A = 19 thresholds.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from components.evaluate.overlaps import Booleans, Floats, Overlaps

THRESHOLDS: Floats = np.arange(1, 20, dtype=np.float64) * 0.05
FIELDS = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA")
_TOLERANCE = 1e-12  # an overlap that equals the threshold counts


@dataclass(frozen=True, slots=True)
class HotaSums:
    """What adds up over videos, each [A].

    true_positives, missed, false: numbers of masks; association, association_recall, association_precision:
    the sums over true positives of A(c), its recall and its precision (equations 6 to 8); iou: the sum of
    the overlaps of true positives.
    """

    true_positives: Floats
    missed: Floats
    false: Floats
    association: Floats
    association_recall: Floats
    association_precision: Floats
    iou: Floats

    def stacked(self) -> Floats:
        """The seven sums, [7, A], so that videos can be added and weighted as arrays."""
        return np.stack([getattr(self, field.name) for field in fields(self)])


def hota_sums(overlaps: Overlaps, truth_present: Booleans, predicted_present: Booleans) -> HotaSums:
    """Match the masks of one category in one video and count.

    Args:
        overlaps: the tracks of one category.
        truth_present: [G, T], where a ground-truth track has a detection.
        predicted_present: [P, T], the same for predicted tracks.
    """
    truths, predictions = truth_present.sum(), predicted_present.sum()
    zeros = np.zeros(len(THRESHOLDS))
    if not truths or not predictions:
        return HotaSums(zeros, zeros + truths, zeros + predictions, zeros, zeros, zeros, zeros)
    ious = overlaps.frame_ious() * (truth_present.T[:, :, None] & predicted_present.T[:, None, :])
    truth_lengths, predicted_lengths = truth_present.sum(1), predicted_present.sum(1)
    alignment = alignment_scores(ious, truth_lengths, predicted_lengths)

    matches = np.zeros((len(THRESHOLDS), *alignment.shape))  # [A, G, P]
    iou_sum = zeros.copy()
    for frame, frame_ious in enumerate(ious):
        rows, columns = np.flatnonzero(truth_present[:, frame]), np.flatnonzero(predicted_present[:, frame])
        if not len(rows) or not len(columns):
            continue
        part = np.ix_(rows, columns)
        first, second = linear_sum_assignment((alignment * frame_ious)[part], maximize=True)
        first, second = rows[first], columns[second]
        matched = frame_ious[first, second]
        right = matched[None, :] >= THRESHOLDS[:, None] - _TOLERANCE  # [A, pairs]
        matches[:, first, second] += right
        iou_sum += (right * matched).sum(1)

    true_positives = matches.sum((1, 2))
    unions = np.maximum(truth_lengths[:, None] + predicted_lengths[None, :] - matches, 1)
    return HotaSums(
        true_positives,
        truths - true_positives,
        predictions - true_positives,
        (matches * matches / unions).sum((1, 2)),
        (matches * matches / np.maximum(truth_lengths, 1)[:, None]).sum((1, 2)),
        (matches * matches / np.maximum(predicted_lengths, 1)[None, :]).sum((1, 2)),
        iou_sum,
    )


def alignment_scores(
    ious: Floats, truth_lengths: NDArray[np.integer], predicted_lengths: NDArray[np.integer]
) -> Floats:
    """How well each pair of tracks fits over the whole video, [G, P]: a Jaccard index of soft matches.

    Args:
        ious: [T, G, P].
        truth_lengths: [G], frames with a detection.
        predicted_lengths: [P], the same.
    """
    rivals = ious.sum(1, keepdims=True) + ious.sum(2, keepdims=True) - ious
    soft_matches = np.divide(ious, rivals, out=np.zeros_like(ious), where=rivals > _TOLERANCE).sum(0)
    unions = truth_lengths[:, None] + predicted_lengths[None, :] - soft_matches
    scores: Floats = soft_matches / np.maximum(unions, _TOLERANCE)
    return scores


def hota_values(sums: Floats, *, location_without_matches: float) -> dict[str, Floats]:
    """Turn summed counts [..., 7, A] into the fields of HOTA, each [..., A], as fractions.

    `location_without_matches` is LocA where nothing matched, which the definition leaves open.
    """
    true_positives, missed, false, association, recall, precision, iou = np.moveaxis(sums, -2, 0)
    matched = np.maximum(true_positives, 1)
    detection = true_positives / np.maximum(true_positives + missed + false, 1)
    values = {
        "DetA": detection,
        "AssA": association / matched,
        "DetRe": true_positives / np.maximum(true_positives + missed, 1),
        "DetPr": true_positives / np.maximum(true_positives + false, 1),
        "AssRe": recall / matched,
        "AssPr": precision / matched,
        "LocA": np.where(true_positives > 0, iou / matched, location_without_matches),
    }
    return {"HOTA": np.sqrt(detection * values["AssA"])} | values
