"""Score predicted tracks against ground truth: from records, or from two files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from components.core.metrics.accumulate import (
    Added,
    Counts,
    Row,
    Value,
    add_up,
    all_values,
    category_values,
    clip_values,
    count,
)
from components.core.metrics.failures.tally import FailureScores, VideoFailures, collect
from components.core.metrics.failures.video import inspect
from components.core.metrics.overlaps import VideoMasks, measure
from components.core.metrics.protocols import PROTOCOLS, Protocol, Summary, summarise
from components.core.records.annotations import AnnotationSet, Track, Video, read_annotations, tracks_by_video
from components.core.records.changes import Changes
from components.core.records.checked_results import (
    NumberedResult,
    ResultsIndex,
    index_results,
    read_rows,
    results_of,
)
from components.core.records.other_programs import Reading
from components.core.records.results import Result
from components.core.run.engine import progress_bar, run_items
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.workers.worker import Outcome

_MASKS_WORTH_PROCESSES = 60_000  # fewer are measured sooner than processes start

I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class VideoRows:
    """One video with its ground truth and the rows of the results file about it, not yet read."""

    video: Video
    tracks: Sequence[Track]
    rows: Sequence[tuple[int, bytes]]
    path: Path
    reading: Reading


@dataclass(frozen=True, slots=True)
class ProtocolScores:
    """One protocol's numbers, in percent; None where there is nothing to score.

    values: by name. categories, clips: one row for each. counts, added: what they were made of, for curves
    and intervals.
    """

    values: dict[str, Value]
    categories: list[Row]
    clips: list[Row]
    counts: Counts
    added: Added


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores by protocol, the rows that were left out (lenient reading) with the reason, what goes wrong
    if that was asked for, and what reading the results changed."""

    protocols: dict[Protocol, ProtocolScores]
    left_out: list[str] = field(default_factory=list)
    failures: FailureScores | None = None
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """What one video contributes; failures are looked for if asked for."""

    protocols: dict[Protocol, Summary]
    failures: VideoFailures | None


def score(
    annotations: AnnotationSet,
    results: Sequence[Result],
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    engine: EngineParams | None = None,
    failure_score_threshold: float | None = None,
) -> Scores:
    """Score predicted tracks.

    Args:
        annotations: the ground truth.
        results: the predicted tracks; their order matters to `official` only.
        protocols: which to compute.
        engine: where large sets are measured; the numbers are the same anywhere.
        failure_score_threshold: find out what goes wrong, too (components/core/metrics/failures/video.py).

    Raises:
        AvisError: the ground truth has no videos or no categories, or a track does not fit it.
    """
    predicted: dict[int, list[NumberedResult]] = {video.id: [] for video in annotations.videos}
    for row, result in results_of(results, annotations):
        predicted[result.video_id].append((row, result))
    items = [
        (video.name, VideoMasks(video, tracks, predicted[video.id]))
        for video, tracks in _tracks_by_video(annotations)
    ]
    work = partial(
        summarise_video,
        categories=sorted(annotations.categories),
        protocols=tuple(protocols),
        failure_score_threshold=failure_score_threshold,
    )
    masks = sum(item.video.length * (len(item.tracks) + len(item.results)) for _, item in items)
    found = _in_order(work, items, masks, engine or EngineParams())
    return _scores(annotations, found, protocols, failure_score_threshold)


def score_files(
    ground_truth: Path,
    results: Path,
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    lenient: bool = False,
    engine: EngineParams | None = None,
) -> Scores:
    """Score a results file against a ground-truth file in AVISeg format.

    Args:
        ground_truth, results: the files.
        protocols: which to compute.
        lenient: leave out wrong rows of the results and list them, instead of stopping.
        engine: as in `score`.

    Raises:
        AvisError: a file is missing or wrong; it names row, video and frame.
    """
    annotations = read_annotations(ground_truth)
    index = index_results(results, annotations, lenient=lenient)
    return score_indexed(annotations, index, protocols, lenient=lenient, engine=engine)


def protocols_of(choice: Literal["official", "corrected", "both"]) -> tuple[Protocol, ...]:
    """Return the protocols that a choice stands for."""
    return PROTOCOLS if choice == "both" else (choice,)


def numbers(scores: Scores, *, lenient: bool = False) -> dict[str, dict[str, Value]]:
    """Return {protocol: {name: percent}}, rounded as published; "left_out" counts rows if `lenient`."""
    found = {str(name): rounded(part.values) for name, part in scores.protocols.items()}
    if lenient:
        for values in found.values():
            values["left_out"] = len(scores.left_out)
    return found


def rounded(values: dict[str, Value]) -> dict[str, Value]:
    """Round numbers as they are published, to two decimals."""
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in values.items()}


def score_indexed(
    annotations: AnnotationSet,
    index: ResultsIndex,
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    lenient: bool = False,
    engine: EngineParams | None = None,
    failure_score_threshold: float | None = None,
) -> Scores:
    """Score the rows of a results file that `index_results` found; otherwise as `score_files` and `score`."""
    items = [
        (video.name, VideoRows(video, tracks, index.of(video), index.path, index.reading))
        for video, tracks in _tracks_by_video(annotations)
    ]
    work = partial(
        summarise_rows,
        categories=annotations.categories,
        protocols=tuple(protocols),
        lenient=lenient,
        failure_score_threshold=failure_score_threshold,
    )
    masks = sum(item.video.length * (len(item.tracks) + len(item.rows)) for _, item in items)
    found = _in_order(work, items, masks, engine or EngineParams())
    left_out = sorted([*index.left_out, *(problem for _, problems in found for problem in problems)])
    summaries = [summary for summary, _ in found]
    scores = _scores(annotations, summaries, protocols, failure_score_threshold)
    return replace(scores, left_out=[message for _, message in left_out], changes=index.changes)


def _tracks_by_video(annotations: AnnotationSet) -> list[tuple[Video, list[Track]]]:
    if not annotations.videos or not annotations.categories:
        raise AvisError("the ground truth has no videos or no categories, so there is nothing to score")
    tracks = tracks_by_video(annotations)
    return [(video, tracks[video.id]) for video in annotations.videos]


def _in_order(
    work: Callable[[I], R], items: Sequence[tuple[str, I]], masks: int, engine: EngineParams
) -> list[R]:
    """Apply `work` to each video, in processes if that pays; the results are in the videos' order.

    Raises:
        AvisError: of the first video, in that order, that cannot be scored.
    """
    if engine.kind == "local" and masks < _MASKS_WORTH_PROCESSES:
        return [work(item) for _, item in items]
    found: list[R] = []
    if engine.kind == "local" and engine.workers == 1:
        with progress_bar(len(items), "evaluate") as bar:
            for _, item in items:
                found.append(work(item))
                bar.update()
        return found
    numbered = [(str(place), item) for place, (_, item) in enumerate(items)]
    waiting: dict[int, Outcome[R]] = {}
    for outcome in run_items(work, numbered, engine=engine, label="evaluate"):
        waiting[int(outcome.key)] = outcome
        while len(found) in waiting:
            name = items[len(found)][0]
            first = waiting.pop(len(found))
            if first.value is None:
                # a wrong row's message names file and video itself
                raise AvisError(
                    first.message, where=None if repr(name) in first.message else f"video {name!r}"
                )
            found.append(first.value)
    return found


def _scores(
    annotations: AnnotationSet,
    summaries: Sequence[VideoSummary],
    protocols: Sequence[Protocol],
    failure_score_threshold: float | None,
) -> Scores:
    """Make the numbers of the videos' summaries, given in the order of the ground truth."""
    categories = sorted(annotations.categories)
    scored: dict[Protocol, ProtocolScores] = {}
    for protocol in protocols:
        counts = count([summary.protocols[protocol] for summary in summaries], categories, protocol)
        added = add_up(counts)
        scored[protocol] = ProtocolScores(
            all_values(added),
            [
                {"category": annotations.categories[category], **category_values(added, place)}
                for place, category in enumerate(categories)
            ],
            [
                {"video": video.name, "frames": video.length, **clip_values(counts, place)}
                for place, video in enumerate(annotations.videos)
            ],
            counts,
            added,
        )
    if failure_score_threshold is None:
        return Scores(scored)
    records = [summary.failures for summary in summaries if summary.failures is not None]
    names = [annotations.categories[category] for category in categories]
    return Scores(scored, failures=collect(records, names, failure_score_threshold))


def summarise_rows(
    item: VideoRows,
    *,
    categories: dict[int, str],
    protocols: Sequence[Protocol],
    lenient: bool,
    failure_score_threshold: float | None = None,
) -> tuple[VideoSummary, list[tuple[int, str]]]:
    """Read one video's rows, then as `summarise_video`; also the rows that were left out, with the reason."""
    results, problems = read_rows(
        item.rows, item.video, categories, path=item.path, reading=item.reading, lenient=lenient
    )
    masks = VideoMasks(item.video, item.tracks, results)
    summary = summarise_video(
        masks,
        categories=sorted(categories),
        protocols=protocols,
        failure_score_threshold=failure_score_threshold,
    )
    return summary, problems


def summarise_video(
    item: VideoMasks,
    *,
    categories: Sequence[int],
    protocols: Sequence[Protocol],
    failure_score_threshold: float | None = None,
) -> VideoSummary:
    """Measure one video once, summarise it under each protocol and find out what goes wrong, if asked for."""
    overlaps = measure(item)
    threshold = failure_score_threshold
    return VideoSummary(
        {protocol: summarise(overlaps, categories, protocol) for protocol in protocols},
        None if threshold is None else inspect(overlaps, categories, threshold),
    )
