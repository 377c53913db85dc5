"""FSLA, frame-level sound localisation accuracy ("Audio-Visual Instance Segmentation", CVPR 2025).

A frame is right at a threshold when the predicted categories and the number of masks equal the ground truth
and every mask overlaps its counterpart by more than the threshold. Frames are counted over all videos.

Letters: T frames, G ground-truth tracks, P predicted tracks of one video, A = 19 thresholds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from components.core.metrics.hota import alignment_scores
from components.core.metrics.overlaps import Booleans, Floats, Integers, Overlaps

# as the published evaluator has them: 0.15 is 0.15000000000000002, and so on
THRESHOLDS: Floats = np.arange(0.05, 0.96, 0.05)[:19]
KINDS = ("n", "s", "m")  # silent, one source, more sources
_PUBLISHED_PIXELS = 1280 * 720


@dataclass(frozen=True, slots=True)
class FslaFrames:
    """kinds [T]: 0 silent, 1 one source, 2 more; right [T, A]: whether the frame is right."""

    kinds: Integers
    right: Booleans

    def sums(self) -> Floats:
        """Right frames per threshold and number of frames, by kind, [3, A + 1]: they add up over videos."""
        of_kind = [self.kinds == kind for kind in range(len(KINDS))]
        sums = [np.append(self.right[chosen].sum(0), chosen.sum()) for chosen in of_kind]
        return np.stack(sums).astype(np.float64)


def corrected_frames(overlaps: Overlaps) -> FslaFrames:
    """Judge each frame by its masks: empty ones do not exist, counterparts are of the same category."""
    truth, predicted = overlaps.truth, overlaps.predicted
    ious = overlaps.frame_ious()
    truth_present, predicted_present = truth.areas > 0, predicted.areas > 0
    kinds = np.minimum(truth_present.sum(0), 2)
    right = np.zeros((overlaps.frames, len(THRESHOLDS)), dtype=bool)
    for frame in range(overlaps.frames):
        rows, columns = np.flatnonzero(truth_present[:, frame]), np.flatnonzero(predicted_present[:, frame])
        sought, found = truth.categories[rows], predicted.categories[columns]
        if not np.array_equal(np.sort(sought), np.sort(found)):
            continue
        right[frame] = True
        for category in np.unique(sought):
            part = np.ix_(rows[sought == category], columns[found == category])
            right[frame] &= _all_matched(ious[frame][part])
    return FslaFrames(kinds, right)


def _all_matched(ious: Floats) -> Booleans:
    """Whether a one-to-one matching with all overlaps above the threshold exists, [A]; ious [n, n]."""
    if len(ious) == 1:
        return np.asarray(ious[0, 0] > THRESHOLDS)
    matched = np.zeros(len(THRESHOLDS), dtype=bool)
    for index, threshold in enumerate(THRESHOLDS):
        enough = (ious > threshold).astype(np.float64)
        matched[index] = enough[linear_sum_assignment(enough, maximize=True)].all()
        if not matched[index]:
            break
    return matched


def official_frames(overlaps: Overlaps) -> FslaFrames:
    """Judge each frame as the published evaluator's outputs show that it does.

    - Predicted categories are those of all tracks of the video, also of tracks that are empty on the frame.
    - An empty mask is known as such only at 1280x720 pixels; elsewhere it counts as a mask.
    - Tracks are matched once for the whole video, regardless of category, by the alignment score of HOTA;
      ground-truth tracks without any mask are left out of the matching but keep their place in the numbering.
    - One source: its number is sought among the matched predictions, and the place at which it is found is
      taken for the prediction's number.
    - More sources: each is compared with its matched prediction; one matched pair of unequal categories,
      present or not, makes the frame wrong.
    """
    truth, predicted = overlaps.truth, overlaps.predicted
    every_ious = overlaps.frame_ious()
    matchable = np.flatnonzero(truth.listed.any(1))
    ious = every_ious[:, matchable]
    lengths = np.full(len(predicted.categories), overlaps.frames)
    rows, columns = linear_sum_assignment(
        alignment_scores(ious, truth.listed[matchable].sum(1), lengths), maximize=True
    )
    categories_agree = bool((truth.categories[matchable[rows]] == predicted.categories[columns]).all())
    empties_known = overlaps.height * overlaps.width == _PUBLISHED_PIXELS
    masks = ((predicted.areas > 0) | (not empties_known)).sum(0)
    kinds = np.minimum(truth.listed.sum(0), 2)
    right = np.zeros((overlaps.frames, len(THRESHOLDS)), dtype=bool)
    for frame in range(overlaps.frames):
        present = np.flatnonzero(truth.listed[:, frame])
        if set(truth.categories[present]) != set(predicted.categories) or len(present) != masks[frame]:
            continue
        if len(present) == 0:
            right[frame] = True
        elif len(present) == 1:
            place = np.flatnonzero(columns == present[0])
            if len(place):
                right[frame] = every_ious[frame, present[0], place[0]] > THRESHOLDS
        elif categories_agree:
            pairs = [np.flatnonzero(rows == number) for number in present]
            if all(len(pair) for pair in pairs):
                overlaps_found = [
                    every_ious[frame, number, columns[pair[0]]]
                    for number, pair in zip(present, pairs, strict=True)
                ]
                right[frame] = min(overlaps_found) > THRESHOLDS
    return FslaFrames(kinds, right)
