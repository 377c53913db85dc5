"""What is counted of what goes wrong: it adds up over videos.

Letters: N groups of masks; C categories, A = 19 thresholds of FSLA.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import numpy as np

from components.core.metrics.overlaps import Floats, Integers


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


@dataclass(frozen=True, slots=True)
class FailureScores:
    """The failures of a whole set: videos as in the ground truth, category names in the records' order."""

    categories: list[str]
    score_threshold: float
    videos: list[VideoFailures]
    every: Failures
    shown: Failures

    def selections(self) -> Iterator[tuple[str, Failures]]:
        """Both selections of predictions with their names."""
        yield "all", self.every
        yield self.shown_name, self.shown

    @property
    def shown_name(self) -> str:
        return f"score >= {self.score_threshold:g}"


def collect(
    videos: Sequence[VideoFailures], categories: Sequence[str], score_threshold: float
) -> FailureScores:
    """Add the records of all videos (at least one) up."""
    return FailureScores(
        list(categories),
        score_threshold,
        list(videos),
        reduce(add, [video.every for video in videos]),
        reduce(add, [video.shown for video in videos]),
    )
