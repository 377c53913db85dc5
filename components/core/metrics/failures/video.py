"""What goes wrong in one video: each mask's fate, each wrong frame's cause, identity switches, false sounds.

All of it is of the `corrected` protocol (empty masks do not exist) and counted at an overlap (IoU) of 0.5. It
is counted twice: over every prediction, as the protocol's scores are, and over those whose score reaches a
threshold. Among a hundred tracks of which ninety are guesses, every frame just has too many masks.

Letters: T frames, G ground-truth tracks, P predicted tracks, N of either; C categories.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.core.metrics.failures.frame_causes import OVERLAP, SOURCES, frame_causes
from components.core.metrics.failures.identity_switches import identity_switches
from components.core.metrics.failures.mask_fates import (
    CONFUSED,
    PREDICTED_FATES,
    TRUTH_FATES,
    mask_fates,
)
from components.core.metrics.failures.matching import match_by_overlap
from components.core.metrics.failures.sound_runs import sound_runs
from components.core.metrics.failures.tally import Events, Failures, Tally, VideoFailures
from components.core.metrics.overlaps import Booleans, Floats, Integers, Overlaps, Side, canonical

SIZES = ("small", "medium", "large")
_SIZE_ENDS_PX = (128.0**2, 256.0**2)  # as average_precision has them
_TOLERANCE = 1e-12  # an overlap that equals the threshold counts


def inspect(overlaps: Overlaps, categories: Sequence[int], score_threshold: float) -> VideoFailures:
    """Find out what goes wrong in one video.

    Args:
        overlaps: all tracks of the video.
        categories: ids of all categories, in the order of the record's rows.
        score_threshold: a prediction with a lower score is not `shown`.
    """
    # equal masks of equal score: the lower category first, so that the file's order does not matter
    order = np.argsort(overlaps.predicted.categories, kind="stable")
    video = canonical(overlaps.select(np.arange(len(overlaps.truth.rows)), order))
    every, events = _inspect(video, categories)
    shown = every
    enough = video.predicted.scores >= score_threshold
    if not enough.all():
        shown, events = _inspect(video.select(np.arange(len(video.truth.rows)), enough), categories)
    return VideoFailures(overlaps.name, overlaps.frames, every, shown, events)


def _inspect(video: Overlaps, categories: Sequence[int]) -> tuple[Failures, Events]:
    truth, predicted = video.truth, video.predicted
    place = {category: index for index, category in enumerate(categories)}
    true_classes = np.array([place[int(category)] for category in truth.categories], dtype=np.int64)  # [G]
    found_classes = np.array([place[int(category)] for category in predicted.categories], dtype=np.int64)
    true_present, found_present = truth.areas.T > 0, predicted.areas.T > 0  # [T, G], [T, P]
    same = true_classes[:, None] == found_classes[None, :]  # [G, P]
    ious = video.frame_ious()  # [T, G, P]
    near = ious >= OVERLAP - _TOLERANCE

    partners = match_by_overlap(ious, near, same)  # [T, G], -1 without
    true_fates, found_fates = mask_fates(ious, near, partners, same, true_present, found_present)
    sources = np.minimum(true_present.sum(1), len(SOURCES) - 1)  # [T]
    causes, right = frame_causes(video, true_classes, found_classes, sources, len(categories))
    both = (true_present @ (true_classes[:, None] == true_classes)) & (found_present @ same.T)  # [T, G]
    switches = identity_switches(ious, near & same, both)  # [n, 4]: frame, g, p before, p now
    switched = true_classes[switches[:, 1]]
    false_sounds, false_counts = sound_runs(found_fates, found_classes, predicted)
    missed_sounds, missed_counts = sound_runs(true_fates, true_classes, truth)

    overlap = (ious * (partners[..., None] == np.arange(ious.shape[2]))).sum(2)  # [T, G], 0 without a partner

    def tally(true_groups: Integers, found_groups: Integers, groups: int) -> Tally:
        return _tally(true_fates, found_fates, overlap, true_groups, found_groups, groups)

    failures = Failures(
        by_category=tally(true_classes, found_classes, len(categories)),
        by_size=tally(_sizes(truth), _sizes(predicted), len(SIZES)),
        by_sources=tally(sources[:, None], sources[:, None], len(SOURCES)),
        frames=causes,
        fsla=right,
        confusion=_confusion(
            partners, true_present, found_fates, true_classes, found_classes, len(categories)
        ),
        switches=np.bincount(switched, minlength=len(categories)),
        false_runs=false_counts,
        missed_runs=missed_counts,
    )
    rows = np.column_stack([truth.rows[switches[:, 1]], predicted.rows[switches[:, 2:]]])
    return failures, Events(np.column_stack([switches[:, 0], switched, rows]), false_sounds, missed_sounds)


def _confusion(
    partners: Integers,
    true_present: Booleans,
    found_fates: NDArray[np.int8],
    true_classes: Integers,
    found_classes: Integers,
    categories: int,
) -> Integers:
    """Count masks by true and predicted category, [C + 1, C + 1]; the last place is "nothing"."""
    confusion = np.zeros((categories + 1, categories + 1), dtype=np.int64)
    frames, rows = np.nonzero(partners >= 0)
    np.add.at(confusion, (true_classes[rows], found_classes[partners[frames, rows]]), 1)
    np.add.at(confusion[:, -1], true_classes, (true_present & (partners < 0)).sum(0))
    np.add.at(confusion[-1], found_classes, (found_fates > CONFUSED).sum(0))
    return confusion


def _tally(
    true_fates: NDArray[np.int8],
    found_fates: NDArray[np.int8],
    overlap: Floats,
    true_groups: Integers,
    found_groups: Integers,
    groups: int,
) -> Tally:
    """Count masks by group; groups of tracks [N], or of frames [T, 1]."""
    overlaps = np.zeros(groups)
    np.add.at(overlaps, np.broadcast_to(true_groups, overlap.shape), overlap)
    tracks = np.bincount(true_groups, minlength=groups) if true_groups.ndim == 1 else np.zeros(groups, int)
    return Tally(
        _count(true_fates, true_groups, groups, len(TRUTH_FATES)),
        _count(found_fates, found_groups, groups, len(PREDICTED_FATES)),
        overlaps,
        tracks,
    )


def _count(fates: NDArray[np.int8], labels: Integers, groups: int, kinds: int) -> Integers:
    counts = np.zeros((groups, kinds), dtype=np.int64)
    present = fates >= 0
    np.add.at(counts, (np.broadcast_to(labels, fates.shape)[present], fates[present]), 1)
    return counts


def _sizes(side: Side) -> Integers:
    """Each track's place in SIZES by its mean area over the frames with a mask."""
    areas = side.areas.sum(1) / np.maximum((side.areas > 0).sum(1), 1)
    sizes: Integers = np.searchsorted(_SIZE_ENDS_PX, areas, side="left")
    return sizes
