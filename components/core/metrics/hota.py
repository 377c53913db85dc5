"""HOTA and its parts (Luiten et al., "HOTA: A Higher Order Metric for Multi-Object Tracking", 2021).

Letters: T frames, G ground-truth tracks, P predicted tracks of one category in one video, A = 19 thresholds.
"""

from dataclasses import dataclass, fields

import motrics
import numpy as np
from numpy.typing import NDArray

from components.core.metrics.overlaps import Booleans, Floats, Overlaps

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
    rows = [np.flatnonzero(present) for present in truth_present.T]
    columns = [np.flatnonzero(present) for present in predicted_present.T]
    found = motrics.compute_hota_from_similarity(
        [numbers.tolist() for numbers in rows],
        [numbers.tolist() for numbers in columns],
        [ious[np.ix_(*present)] for ious, *present in zip(overlaps.frame_ious(), rows, columns, strict=True)],
    )
    true_positives = np.asarray(found.hota_tp_alphas)
    # its means over true positives become sums again, which add up over videos
    return HotaSums(
        true_positives,
        truths - true_positives,
        predictions - true_positives,
        np.asarray(found.assa_alphas) * true_positives,
        np.asarray(found.ass_re_alphas) * true_positives,
        np.asarray(found.ass_pr_alphas) * true_positives,
        np.asarray(found.loca_alphas) * true_positives,
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
