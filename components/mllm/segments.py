"""Boxes and seconds of an answer become mask tracks, by a promptable segmenter: "LLM + SAM"."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from components.core.metrics.accumulate import HEADLINES
from components.core.metrics.score import score
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.results import Result
from components.core.reports.pictures import read_picture
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.video.frame_prompt import FramePrompt
from components.mllm.scores import overlap
from components.mllm.sounding import BOX_SCALE, Box, Sounding

Segment = Callable[
    [Sequence[NDArray[np.uint8]], Sequence[dict[int, FramePrompt]]], list[list[NDArray[np.bool_] | None]]
]
"""Follows objects through frames, from prompts: masks by object and frame."""

Linked = tuple[str, dict[int, Box]]
"""One object: its category, and its box in each second that has one."""


def linked(answer: Sounding) -> list[Linked]:
    """The objects that an answer's boxes show: boxes have no identity, so each goes on where the last of its
    category was that overlaps it most."""
    objects: list[Linked] = []
    for second in sorted(answer.boxes or {}):
        by_category: dict[str, list[Box]] = defaultdict(list)
        for category, box in (answer.boxes or {})[second]:
            by_category[category].append(box)
        for category, boxes in by_category.items():
            known = [found for kind, found in objects if kind == category]
            overlaps = np.array([[overlap(found[max(found)], box) for box in boxes] for found in known])
            taken = set()
            pairs = linear_sum_assignment(overlaps, maximize=True) if known else ((), ())
            for row, column in zip(*pairs, strict=True):
                if overlaps[row, column] > 0:
                    known[row][second] = boxes[column]
                    taken.add(column)
            objects += [(category, {second: box}) for place, box in enumerate(boxes) if place not in taken]
    return objects


def sounding_seconds(answer: Sounding, category: str, boxes: Mapping[int, Box]) -> set[int]:
    """When an object sounds: where it has a box, and where its category is said to sound without any box."""
    boxed = {second for second, named in (answer.boxes or {}).items() if category in dict(named)}
    return set(boxes) | (set(answer.seconds.get(category, ())) - boxed)


def mask_tracks(
    answer: Sounding,
    video: Video,
    frames: Sequence[NDArray[np.uint8]],
    numbers: Mapping[str, int],
    segment: Segment,
) -> list[Result]:
    """The mask tracks of one answer, each with the score 1: an answer has none.

    Args:
        frames: of the video, [H, W, 3] RGB, one per second.
        numbers: category -> id.
        segment: follows objects from boxes; None where one is not seen.
    """
    objects = linked(answer)
    scale = np.array([video.width, video.height] * 2) / BOX_SCALE
    prompts = [
        {second: FramePrompt(_pixels(box, scale)) for second, box in boxes.items()} for _, boxes in objects
    ]
    found = segment(frames, prompts) if prompts else []
    results = []
    for (category, boxes), track in zip(objects, found, strict=True):
        seconds = sounding_seconds(answer, category, boxes)
        kept = [
            masks.encode(mask) if mask is not None and second in seconds else None
            for second, mask in enumerate(track)
        ]
        results.append(Result(video.id, numbers[category], 1.0, kept))
    return results


def _pixels(box: Box, scale: NDArray[np.float64]) -> Box:
    left, top, right, bottom = (np.array(box) * scale).tolist()
    return left, top, right, bottom


def segmented(
    answers: Mapping[str, Sounding | None], annotations: AnnotationSet, segment: Segment, paths: Paths
) -> list[Result]:
    """The mask tracks of all answers; an invalid one has none."""
    numbers = {name: number for number, name in annotations.categories.items()}
    results = []
    for video in annotations.videos:
        answer = answers.get(video.name)
        if answer is not None and answer.boxes:
            results += mask_tracks(answer, video, _frames(video, paths), numbers, segment)
    return results


def mask_scores(
    results: Sequence[Result], annotations: AnnotationSet, answered: Collection[str]
) -> dict[str, float]:
    """`<protocol>_<metric>`, by the evaluator of the mask models, on the clips with a reply."""
    videos = [video for video in annotations.videos if video.name in answered]
    if not videos:
        return {}
    numbers = {video.id for video in videos}
    tracks = [track for track in annotations.tracks if track.video_id in numbers]
    scores = score(AnnotationSet(annotations.categories, videos, tracks), results)
    return {
        f"{protocol}_{name}": float(value)
        for protocol, part in scores.protocols.items()
        for name in HEADLINES
        if (value := part.values.get(name)) is not None
    }


def _frames(video: Video, paths: Paths) -> list[NDArray[np.uint8]]:
    import cv2

    frames = []
    for name in video.file_names:
        path = paths.media / "frames" / name
        picture = read_picture(path, width_px=video.width)
        if picture is None:
            raise AvisError(
                "a frame of a test clip cannot be read", where=str(path), fix="Run: dvc repro extract"
            )
        size = (video.width, video.height)  # of the annotations, by which masks are measured
        frames.append(np.asarray(cv2.resize(picture, size), np.uint8))
    return frames
