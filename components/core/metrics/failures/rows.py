"""The rows of the tables of what goes wrong: of frames, of masks, of clips and events.

Percent unless a name says masks, frames, tracks or clips.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np

from components.core.metrics.accumulate import Row
from components.core.metrics.failures.frame_causes import CAUSES, SOURCES
from components.core.metrics.failures.mask_fates import (
    ALONE,
    CONFUSED,
    POOR,
    PREDICTED_FATES,
    REST,
    RIGHT,
    SECOND,
    SILENT,
    TRUTH_FATES,
)
from components.core.metrics.failures.tally import Failures, FailureScores, Tally, VideoFailures
from components.core.metrics.failures.video import SIZES
from components.core.metrics.overlaps import Integers

NOTHING = "nothing"
_EVENTS_LISTED = 200  # runs of false and missed sounds, the longest

SWITCH_COLUMNS = ("video", "frame", "category", "truth_track", "results_row_before", "results_row_now")
_RUN = ("video", "first_frame", "frames", "category")
RUN_COLUMNS = {
    "false_sounds": (*_RUN, "results_row", "frames_nothing_sounds"),
    "missed_sounds": (*_RUN, "truth_track", "frames_nothing_predicted"),
}


def cause_rows(failures: Failures) -> list[Row]:
    """Return the wrong frames by cause, at an overlap of 0.5; the causes exclude each other."""
    frames = failures.frames.sum(0)
    wrong = frames[2:].sum()
    return [
        {
            "cause": cause,
            "frames": int(count),
            "of_wrong_frames": share(count, wrong),
            "of_all_frames": share(count, frames[0]),
        }
        for cause, count in zip(CAUSES, frames[2:], strict=True)
    ]


def outcome_rows(failures: Failures) -> list[Row]:
    """Return a row per number of sources and outcome of a frame, "right" or a cause."""
    return [
        {"sources": name, "outcome": outcome, "frames": int(failures.frames[place, column])}
        for place, name in enumerate(SOURCES)
        for column, outcome in enumerate(("right", *CAUSES), start=1)
    ]


def kind_rows(failures: Failures) -> list[Row]:
    """Return a row for silent frames, frames with one source and frames with more."""
    groups = {"silent": [0], "one source": [1], "more sources": [2, 3, 4]}
    return [{"kind": kind, **_frame_values(failures, places)} for kind, places in groups.items()]


def source_rows(failures: Failures) -> list[Row]:
    """Return a row per number of sounding objects on the frame."""
    return [
        {"sources": name, **_frame_values(failures, [place]), **_mask_values(failures.by_sources, place)}
        for place, name in enumerate(SOURCES)
    ]


def object_rows(videos: Sequence[VideoFailures], selection: str) -> list[Row]:
    """Return a row per number of objects of a clip, "every" prediction or the "shown" ones."""
    groups: dict[int, list[Failures]] = {}
    for video in videos:
        part: Failures = getattr(video, selection)
        groups.setdefault(min(int(part.by_size.tracks.sum()), len(SOURCES) - 1), []).append(part)
    rows: list[Row] = []
    for objects, parts in sorted(groups.items()):
        summed = reduce(add, parts)
        rows.append(
            {
                "objects": SOURCES[objects],
                "clips": len(parts),
                **_frame_values(summed, range(len(SOURCES))),
                "identity_switches": int(summed.switches.sum()),
                **_sounds(summed),
            }
        )
    return rows


def size_rows(failures: Failures) -> list[Row]:
    """Return a row per size of track (mean area)."""
    return [
        {
            "size": size,
            "tracks": int(failures.by_size.tracks[place]),
            **_mask_values(failures.by_size, place),
        }
        for place, size in enumerate(SIZES)
    ]


def category_rows(failures: Failures, categories: Sequence[str]) -> list[Row]:
    """Return a row per category, with what it is most often taken for."""
    rows: list[Row] = []
    for place, category in enumerate(categories):
        others = failures.confusion[place, :-1].copy()
        others[place] = 0
        taken_for = categories[int(others.argmax())] if others.any() else ""
        tally = failures.by_category
        rows.append(
            {
                "category": category,
                "tracks": int(tally.tracks[place]),
                **_mask_values(tally, place),
                "taken_for": taken_for,
                "taken_for_masks": int(others.max(initial=0)),
                "identity_switches": int(failures.switches[place]),
                "false_sound_masks": int(tally.predicted[place, [ALONE, SILENT]].sum()),
                "missed_sound_masks": int(tally.truth[place, [ALONE, SILENT]].sum()),
            }
        )
    return rows


def fate_rows(failures: Failures) -> list[Row]:
    """Return what became of the masks of either side."""
    rows: list[Row] = []
    for side, fates, counts in (
        ("truth", TRUTH_FATES, failures.by_sources.truth.sum(0)),
        ("predicted", PREDICTED_FATES, failures.by_sources.predicted.sum(0)),
    ):
        rows += [
            {"masks_of": side, "fate": fate, "masks": int(count), "percent": share(count, counts.sum())}
            for fate, count in zip(fates, counts, strict=True)
        ]
    return rows


def confusion_rows(failures: Failures, categories: Sequence[str]) -> list[Row]:
    """Return a row per pair of true and predicted category that occurs; "nothing" is missed or false."""
    names = [*categories, NOTHING]
    return [
        {"true": names[row], "predicted": names[column], "masks": int(failures.confusion[row, column])}
        for row, column in np.argwhere(failures.confusion)
    ]


def clip_rows(videos: Sequence[VideoFailures]) -> list[Row]:
    """Return a row per clip, of the shown predictions."""
    rows: list[Row] = []
    for video in videos:
        part = video.shown
        truth, predicted = part.by_sources.truth.sum(0), part.by_sources.predicted.sum(0)
        causes = part.frames[:, 2:].sum(0)
        rows.append(
            {
                "video": video.name,
                "frames": video.length,
                "objects": int(part.by_size.tracks.sum()),
                "most_sources": SOURCES[int(np.flatnonzero(part.frames[:, 0]).max(initial=0))],
                "wrong_frames": int(causes.sum()),
                "chief_cause": CAUSES[int(causes.argmax())] if causes.any() else "",
                "wrong_category_masks": int(truth[CONFUSED]),
                "missed_masks": int(truth[SECOND:].sum()),
                "false_masks": int(predicted[SECOND:].sum()),
                "identity_switches": int(part.switches.sum()),
                **_sounds(part),
            }
        )
    return rows


def switch_rows(scores: FailureScores) -> list[Row]:
    """Return a row per identity switch of the shown predictions; frames count from 0."""
    return [
        dict(zip(SWITCH_COLUMNS, _event(video.name, event, 1, scores.categories), strict=True))
        for video in scores.videos
        for event in video.events.switches
    ]


def run_rows(scores: FailureScores, kind: str) -> list[Row]:
    """Return the longest "false_sounds" or "missed_sounds" of the shown predictions, at most 200."""
    events = [(video.name, event) for video in scores.videos for event in getattr(video.events, kind)]
    events.sort(key=lambda entry: -int(entry[1][1]))  # frames; equal ones stay in the videos' order
    return [
        dict(zip(RUN_COLUMNS[kind], _event(name, event, 2, scores.categories), strict=True))
        for name, event in events[:_EVENTS_LISTED]
    ]


def _event(video: str, event: Integers, category_at: int, names: Sequence[str]) -> list[str | int]:
    values: list[str | int] = [int(value) for value in event]
    values[category_at] = names[int(event[category_at])]
    return [video, *values]


def _frame_values(failures: Failures, places: Sequence[int]) -> Row:
    frames, right = failures.frames[list(places)].sum(0), failures.fsla[list(places)].sum(0)
    return {
        "frames": int(frames[0]),
        "FSLA": share(right.mean(), frames[0]),
        "right_percent": share(frames[1], frames[0]),
        **{f"{cause.replace(' ', '_')}_frames": int(n) for cause, n in zip(CAUSES, frames[2:], strict=True)},
    }


def _mask_values(tally: Tally, place: int) -> Row:
    truth, predicted = tally.truth[place], tally.predicted[place]
    matched = truth[RIGHT] + truth[CONFUSED]
    return {
        "truth_masks": int(truth.sum()),
        "right_masks": int(truth[RIGHT]),
        "wrong_category_masks": int(truth[CONFUSED]),
        "poor_masks": int(truth[POOR]),
        "missed_masks": int(truth[[SECOND, ALONE, SILENT, REST]].sum()),
        "predicted_masks": int(predicted.sum()),
        "false_masks": int(predicted[SECOND:].sum()),
        "right_percent_of_truth": share(truth[RIGHT], truth.sum()),
        "mean_overlap": share(tally.overlap[place], matched),
    }


def _sounds(failures: Failures) -> Row:
    return {
        "false_sound_masks": int(failures.false_runs[0]),
        "false_sound_longest_frames": int(failures.false_runs[2]),
        "missed_sound_masks": int(failures.missed_runs[0]),
        "missed_sound_longest_frames": int(failures.missed_runs[2]),
    }


def share(part: float, whole: float) -> float | None:
    """Return a part in percent of the whole; None without a whole."""
    return 100 * float(part) / float(whole) if whole else None
