"""What goes wrong in one video: each mask's fate, each wrong frame's cause, identity switches, false sounds.

All of it is of the `corrected` protocol (empty masks do not exist) and counted at an overlap (IoU) of 0.5. It
is counted twice: over every prediction, as the protocol's scores are, and over those whose score reaches a
threshold. Among a hundred tracks of which ninety are guesses, every frame just has too many masks.

Letters: T frames, G ground-truth tracks, P predicted tracks, N of either; C categories, A = 19 thresholds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from components.core.metrics import fsla
from components.core.metrics.identity import identity_switches, match_by_overlap
from components.core.metrics.overlaps import Booleans, Floats, Integers, Overlaps, Side, canonical

OVERLAP = 0.5
SOURCES = ("0", "1", "2", "3", "4+")  # sounding objects on a frame
SIZES = ("small", "medium", "large")
# why a frame is wrong at an overlap of 0.5; the first that holds
CAUSES = (
    "false sound",  # nothing sounds, something is predicted
    "missed sound",  # something sounds, nothing is predicted
    "too many masks",
    "too few masks",
    "wrong category",  # as many masks as there should be, of other categories
    "poor mask",  # all is right but where the masks are
)
# what became of a mask of the ground truth, and of a predicted one; the first that holds
TRUTH_FATES = (
    "right",  # a mask of its category overlaps it
    "wrong category",  # the mask that overlaps it is of another category
    "shared",  # the mask that overlaps it overlaps another object more
    "nothing predicted",  # there is no predicted mask on the frame
    "track silent",  # the track that follows it elsewhere has no mask here
    "poor mask",  # a mask overlaps it, too little
    "not seen",
)
PREDICTED_FATES = (
    "right",
    "wrong category",
    "duplicate",  # the object that it overlaps has a better mask
    "nothing sounds",  # the ground truth has no mask on the frame
    "object silent",  # the object that its track follows elsewhere is silent here
    "poor mask",
    "elsewhere",
)
RIGHT, CONFUSED, SECOND, ALONE, SILENT, POOR, REST = range(7)
_POOR_OVERLAP = 0.1
_TOLERANCE = 1e-12  # an overlap that equals the threshold counts
_SIZE_ENDS_PX = (128.0**2, 256.0**2)
_RUNS_KEPT = 50  # of a video, the longest; all are counted
_LEVEL = int(np.argmin(np.abs(fsla.THRESHOLDS - OVERLAP)))


@dataclass(frozen=True, slots=True)
class Tally:
    """Masks by their fate, for each of N groups.

    truth, predicted: [N, 7] masks, columns as TRUTH_FATES and PREDICTED_FATES; overlap: [N] sum of the IoU of
    ground-truth masks that are right or of a wrong category; tracks: [N] ground-truth tracks.
    """

    truth: Integers
    predicted: Integers
    overlap: Floats
    tracks: Integers

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Failures:
    """What goes wrong in one video, or in several together.

    by_category, by_size, by_sources: masks by their category, by the mean area of their track, by the number
    of sounding objects on their frame (SOURCES).
    frames: [5, 8] by number of sources: frames, right ones, wrong ones by cause (CAUSES).
    fsla: [5, A] right frames per threshold of FSLA.
    confusion: [C + 1, C + 1] masks, true category by predicted one; the last row and column are "nothing".
    switches: [C] identity switches.
    false_runs, missed_runs: [3] false and missed sounds: masks, runs of frames, frames of the longest run.
    """

    by_category: Tally
    by_size: Tally
    by_sources: Tally
    frames: Integers
    fsla: Floats
    confusion: Integers
    switches: Integers
    false_runs: Integers
    missed_runs: Integers

    def __add__(self, other: "Failures") -> "Failures":
        longest = [
            np.array([*(mine[:2] + theirs[:2]), max(mine[2], theirs[2])])
            for mine, theirs in (
                (self.false_runs, other.false_runs),
                (self.missed_runs, other.missed_runs),
            )
        ]
        return Failures(
            self.by_category + other.by_category,
            self.by_size + other.by_size,
            self.by_sources + other.by_sources,
            self.frames + other.frames,
            self.fsla + other.fsla,
            self.confusion + other.confusion,
            self.switches + other.switches,
            *longest,
        )


@dataclass(frozen=True, slots=True)
class Events:
    """Where it happened in one video. Categories are places in the records' order, ground-truth tracks places
    among the video's annotations, predicted ones rows of the results file.

    switches: [n, 5] frame, category, ground-truth track, predicted track before and now.
    false_sounds: [n, 5] first frame, frames, category, predicted track, frames on which nothing sounds.
    missed_sounds: [n, 5] the same of ground-truth tracks, with frames on which nothing is predicted.
    The longest runs only (at most 50 of a video).
    """

    switches: Integers
    false_sounds: Integers
    missed_sounds: Integers


@dataclass(frozen=True, slots=True)
class VideoFailures:
    """One video: with every prediction, and with those whose score reaches the threshold."""

    name: str
    length: int
    every: Failures
    shown: Failures
    events: Events  # of `shown`


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
    true_classes = np.array([place[int(category)] for category in truth.categories], dtype=np.int64)
    found_classes = np.array([place[int(category)] for category in predicted.categories], dtype=np.int64)
    same = true_classes[:, None] == found_classes[None, :]
    ious = video.frame_ious()  # [T, G, P]
    near = ious >= OVERLAP - _TOLERANCE
    partners = match_by_overlap(ious, near, same)  # [T, G], -1 without
    true_present, found_present = truth.areas.T > 0, predicted.areas.T > 0  # [T, G], [T, P]
    true_fates, found_fates = _fates(ious, near, partners, same, true_present, found_present)

    sources = np.minimum(true_present.sum(1), len(SOURCES) - 1)  # [T]
    frames, right = _frames(video, true_classes, found_classes, sources, len(categories))
    frame_index, rows = np.nonzero(partners >= 0)
    columns = partners[frame_index, rows]
    overlap = np.zeros(partners.shape)
    overlap[frame_index, rows] = ious[frame_index, rows, columns]
    confusion = np.zeros((len(categories) + 1, len(categories) + 1), dtype=np.int64)
    np.add.at(confusion, (true_classes[rows], found_classes[columns]), 1)
    alone_true = (true_present & (partners < 0)).sum(0)  # [G]
    alone_found = (found_fates > CONFUSED).sum(0)  # [P]
    np.add.at(confusion[:, -1], true_classes, alone_true)
    np.add.at(confusion[-1], found_classes, alone_found)

    both = (true_present @ (true_classes[:, None] == true_classes)) & (found_present @ same.T)  # [T, G]
    switches = identity_switches(ious, near & same, both)  # [n, 4]: frame, g, p before, p now
    false_sounds, false_counts = _runs((found_fates == ALONE) | (found_fates == SILENT), found_fates == ALONE)
    missed, missed_counts = _runs((true_fates == ALONE) | (true_fates == SILENT), true_fates == ALONE)
    tallies = [
        _tally(true_fates, found_fates, overlap, *labels)
        for labels in (
            (true_classes, found_classes, len(categories)),
            (_sizes(truth), _sizes(predicted), len(SIZES)),
            (sources[:, None], sources[:, None], len(SOURCES)),
        )
    ]
    by_category, by_size, by_sources = tallies
    failures = Failures(
        by_category,
        by_size,
        by_sources,
        frames=frames,
        fsla=right,
        confusion=confusion,
        switches=np.bincount(true_classes[switches[:, 1]], minlength=len(categories)),
        false_runs=false_counts,
        missed_runs=missed_counts,
    )
    events = Events(
        np.column_stack(
            [
                switches[:, 0],
                true_classes[switches[:, 1]],
                truth.rows[switches[:, 1]],
                predicted.rows[switches[:, 2:]],
            ]
        ),
        _named(false_sounds, found_classes, predicted),
        _named(missed, true_classes, truth),
    )
    return failures, events


def _fates(
    ious: Floats,
    near: Booleans,
    partners: Integers,
    same: Booleans,
    true_present: Booleans,
    found_present: Booleans,
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Say what became of each mask, [T, G] and [T, P]; -1 where there is none."""
    matched = np.zeros_like(near)
    frames, rows = np.nonzero(partners >= 0)
    matched[frames, rows, partners[frames, rows]] = True
    # [G, P]: the frames on which two tracks overlap; ties go by how much, which is less than a frame
    closeness = np.where(near.any(0), near.sum(0) + ious.sum(0) / (len(ious) + 1), 0.0)
    followers, followed = _best(closeness), _best(closeness.T)  # [G] → p and [P] → g
    return (
        _side_fates(ious, near, matched, same, true_present, found_present, followers),
        _side_fates(
            ious.transpose(0, 2, 1),
            near.transpose(0, 2, 1),
            matched.transpose(0, 2, 1),
            same.T,
            found_present,
            true_present,
            followed,
        ),
    )


def _side_fates(
    ious: Floats,  # [T, N, M]: N of this side, M of the other
    near: Booleans,
    matched: Booleans,
    same: Booleans,  # [N, M]
    present: Booleans,  # [T, N]
    other_present: Booleans,  # [T, M]
    partners: Integers,  # [N] → m, -1 without
) -> NDArray[np.int8]:
    nobody = ~other_present.any(axis=1, keepdims=True)  # [T, 1]
    conditions = [
        (matched & same).any(2),
        matched.any(2),
        near.any(2),
        np.broadcast_to(nobody, present.shape),
        _silent(partners, other_present),
        (ious >= _POOR_OVERLAP).any(2),
    ]
    fates = np.select(conditions, range(len(conditions)), REST).astype(np.int8)
    fates[~present] = -1
    return fates


def _silent(partners: Integers, other_present: Booleans) -> Booleans:
    """Where the other side's track that belongs to a track has no mask, [T, N]."""
    if not other_present.shape[1]:
        return np.zeros((len(other_present), len(partners)), dtype=bool)
    there: Booleans = other_present[:, partners]
    return ~there & (partners >= 0)


def _best(closeness: Floats) -> Integers:
    """The other side's closest track for each, [N, M] → [N]; -1 for one that never overlaps enough."""
    if not closeness.size:
        return np.full(len(closeness), -1)
    best: Integers = np.where(closeness.max(1) > 0, closeness.argmax(1), -1)
    return best


def _frames(
    video: Overlaps, true_classes: Integers, found_classes: Integers, sources: Integers, categories: int
) -> tuple[Integers, Floats]:
    """Count frames by number of sources and cause, [5, 8], and right frames per threshold, [5, A]."""
    right = fsla.corrected_frames(video).right  # [T, A]
    true_counts = (video.truth.areas > 0).T @ np.eye(categories, dtype=np.int64)[true_classes]  # [T, C]
    found_counts = (video.predicted.areas > 0).T @ np.eye(categories, dtype=np.int64)[found_classes]
    sought, found = true_counts.sum(1), found_counts.sum(1)
    verdict = np.select(
        [
            right[:, _LEVEL],
            sought == 0,
            found == 0,
            found > sought,
            found < sought,
            (true_counts != found_counts).any(axis=1),
        ],
        range(len(CAUSES)),
        len(CAUSES),
    )
    counts = np.zeros((len(SOURCES), 2 + len(CAUSES)), dtype=np.int64)
    np.add.at(counts[:, 0], sources, 1)
    np.add.at(counts, (sources, 1 + verdict), 1)
    per_threshold = np.zeros((len(SOURCES), right.shape[1]))
    np.add.at(per_threshold, sources, right)
    return counts, per_threshold


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


def _runs(wrong: Booleans, alone: Booleans) -> tuple[Integers, Integers]:
    """Find runs of frames, each track's own, in [T, N].

    Returns:
        [n, 4] first frame, frames, track, frames that are `alone`, the longest first, at most 50; and [3]
        masks, runs and frames of the longest.
    """
    edges = np.diff(np.pad(wrong, ((1, 1), (0, 0))).astype(np.int8), axis=0)  # [T + 1, N]
    tracks, starts = np.nonzero(edges.T == 1)
    _, ends = np.nonzero(edges.T == -1)
    alone_before = np.pad(np.cumsum(alone, 0), ((1, 0), (0, 0)))  # [T + 1, N]
    runs = np.column_stack(
        [starts, ends - starts, tracks, alone_before[ends, tracks] - alone_before[starts, tracks]]
    ).astype(np.int64)
    longest = np.lexsort((runs[:, 0], -runs[:, 1]))[:_RUNS_KEPT]
    counts = np.array([int(wrong.sum()), len(runs), int(runs[:, 1].max(initial=0))])
    return runs[longest], counts


def _named(runs: Integers, classes: Integers, side: Side) -> Integers:
    """Put category and place in the file for the track, [n, 4] → [n, 5]."""
    tracks = runs[:, 2]
    return np.column_stack([runs[:, :2], classes[tracks], side.rows[tracks], runs[:, 3]])
