"""Score predicted tracks against ground truth: from records, or from two files."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from components.core.engine import run_items
from components.core.errors import AvisError
from components.core.params import EngineParams
from components.core.records import AnnotationSet, Result, read_annotations
from components.evaluate.overlaps import VideoMasks, measure
from components.evaluate.protocols import PROTOCOLS, Protocol, Summary, summarise
from components.evaluate.reading import NumberedResult, read_results_for, results_of
from components.evaluate.score import (
    Added,
    Counts,
    Value,
    add_up,
    all_values,
    category_values,
    clip_values,
    count,
)

_MASKS_WORTH_PROCESSES = 60_000  # fewer are measured sooner than processes start

Row = dict[str, Value | str]


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
    """The scores by protocol, and the rows that were left out (lenient reading) with the reason."""

    protocols: dict[Protocol, ProtocolScores]
    left_out: list[str] = field(default_factory=list)


def score(
    annotations: AnnotationSet,
    results: Sequence[Result],
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    engine: EngineParams | None = None,
) -> Scores:
    """Score predicted tracks.

    Args:
        annotations: the ground truth.
        results: the predicted tracks; their order matters to `official` only.
        protocols: which to compute.
        engine: where large sets are measured; the numbers are the same anywhere.

    Raises:
        AvisError: the ground truth has no videos or no categories, or a track does not fit it.
    """
    return score_rows(annotations, results_of(results, annotations), protocols, engine=engine)


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
    rows, problems = read_results_for(results, annotations, lenient=lenient)
    scores = score_rows(annotations, rows, protocols, engine=engine)
    return Scores(scores.protocols, problems)


def evaluate_files(
    ground_truth: Path,
    results: Path,
    protocol: Literal["official", "corrected", "both"] = "both",
    *,
    lenient: bool = False,
    engine: EngineParams | None = None,
) -> dict[str, dict[str, Value]]:
    """Score two files and return {protocol: {name: percent}}, rounded to two decimals.

    With `lenient`, "left_out" counts the rows of the results that were wrong, under every protocol.

    Raises:
        AvisError: as `score_files`.
    """
    protocols = PROTOCOLS if protocol == "both" else (protocol,)
    scores = score_files(ground_truth, results, protocols, lenient=lenient, engine=engine)
    numbers = {str(name): rounded(part.values) for name, part in scores.protocols.items()}
    if lenient:
        for values in numbers.values():
            values["left_out"] = len(scores.left_out)
    return numbers


def rounded(values: dict[str, Value]) -> dict[str, Value]:
    """Round numbers as they are published, to two decimals."""
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in values.items()}


def score_rows(
    annotations: AnnotationSet,
    results: Sequence[NumberedResult],
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    engine: EngineParams | None = None,
) -> Scores:
    """Score rows that were read and checked (`read_results_for`); otherwise as `score`."""
    if not annotations.videos or not annotations.categories:
        raise AvisError("the ground truth has no videos or no categories, so there is nothing to score")
    categories = sorted(annotations.categories)
    summaries = _summaries(annotations, results, categories, protocols, engine or EngineParams())
    scored: dict[Protocol, ProtocolScores] = {}
    for protocol in protocols:
        of_protocol = [summary[protocol] for summary in summaries]
        counts = count(of_protocol, categories, protocol)
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
    return Scores(scored)


def _summaries(
    annotations: AnnotationSet,
    results: Sequence[NumberedResult],
    categories: Sequence[int],
    protocols: Sequence[Protocol],
    engine: EngineParams,
) -> list[dict[Protocol, Summary]]:
    """Summarise every video, in the order of the ground truth."""
    tracks, predicted = defaultdict(list), defaultdict(list)
    for track in annotations.tracks:
        tracks[track.video_id].append(track)
    for row, result in results:
        predicted[result.video_id].append((row, result))
    items = [
        (video.name, VideoMasks(video, tracks[video.id], predicted[video.id])) for video in annotations.videos
    ]
    work = partial(summarise_video, categories=tuple(categories), protocols=tuple(protocols))
    masks = sum(item.video.length * (len(item.tracks) + len(item.results)) for _, item in items)
    if engine.kind == "local" and (engine.workers == 1 or masks < _MASKS_WORTH_PROCESSES):
        return [work(item) for _, item in items]
    numbered = [(str(place), item) for place, (_, item) in enumerate(items)]
    found: dict[str, dict[Protocol, Summary]] = {}
    for outcome in run_items(work, numbered, engine=engine, label="evaluate"):
        if outcome.value is None:
            raise AvisError(outcome.message, where=f"video {items[int(outcome.key)][0]!r}")
        found[outcome.key] = outcome.value
    return [found[key] for key, _ in numbered]


def summarise_video(
    item: VideoMasks, *, categories: Sequence[int], protocols: Sequence[Protocol]
) -> dict[Protocol, Summary]:
    """Measure one video once and summarise it under each protocol."""
    overlaps = measure(item)
    return {protocol: summarise(overlaps, categories, protocol) for protocol in protocols}
