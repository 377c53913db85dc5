"""Results files from anywhere, checked against the ground truth before a number is made of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core import masks
from components.core.errors import AvisError
from components.core.records import AnnotationSet, Result, Video

NumberedResult = tuple[int, Result]  # (row in the file, predicted track)


def read_results_for(
    path: Path, annotations: AnnotationSet, *, lenient: bool = False
) -> tuple[list[NumberedResult], list[str]]:
    """Read a results file and check every row against the ground truth.

    Args:
        path: a JSON list of {"video_id", "category_id", "score", "segmentations"}; segmentations are RLE
            (compressed or not), polygons or null, one per frame.
        annotations: the ground truth.
        lenient: leave out rows that are wrong, instead of stopping at the first.

    Returns:
        the rows, their masks as checked, compressed RLE (components.core.masks.compress); and what was wrong
        with those that were left out.

    Raises:
        AvisError: the file is missing or no JSON list; unless lenient, a row is wrong (it names row, video,
            frame and field).
    """
    rows = _rows(path)
    videos = {video.id: video for video in annotations.videos}
    seen: dict[object, int] = {}
    results: list[NumberedResult] = []
    problems: list[str] = []
    for number, row in enumerate(rows):
        try:
            result = _result(row, f"{path}, row {number}", videos, annotations.categories)
            for identity in _identities(row, result):
                first = seen.setdefault(identity, number)
                if first != number:
                    raise AvisError(
                        f"the same track stands in row {first}",
                        where=f"{path}, row {number}, video {videos[result.video_id].name!r}",
                        fix="Give each track once.",
                    )
        except AvisError as error:
            if not lenient:
                raise
            problems.append(str(error))
            continue
        results.append((number, result))
    return results, problems


def results_of(results: Sequence[Result], annotations: AnnotationSet) -> list[NumberedResult]:
    """Number and check results that were not read from a file.

    Raises:
        AvisError: as read_results_for.
    """
    videos = {video.id: video for video in annotations.videos}
    checked = []
    for number, result in enumerate(results):
        row = {
            "video_id": result.video_id,
            "category_id": result.category_id,
            "score": result.score,
            "segmentations": result.segmentations,
        }
        checked.append(_result(row, f"results, row {number}", videos, annotations.categories))
    return list(enumerate(checked))


def _rows(path: Path) -> list[Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise AvisError("there are no results", where=str(path)) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AvisError(
            f"the results are not valid JSON: {error}",
            where=str(path),
            fix="Perhaps the file is cut off: write it again.",
        ) from None
    if not isinstance(document, list):
        raise AvisError("results must be a JSON list of predicted tracks", where=str(path))
    return document


def _result(row: object, where: str, videos: dict[int, Video], categories: dict[int, str]) -> Result:
    if not isinstance(row, dict):
        raise AvisError("a predicted track must be a JSON object", where=where)
    video = videos.get(row["video_id"]) if type(row.get("video_id")) is int else None
    if video is None:
        raise AvisError(
            f"video {row.get('video_id')!r} is not in the ground truth", where=f"{where}, field video_id"
        )
    where = f"{where}, video {video.name!r}"
    category = row.get("category_id")
    if type(category) is not int or category not in categories:
        known = ", ".join(f"{identity} {name}" for identity, name in list(categories.items())[:40])
        raise AvisError(
            f"category {category!r} is not in the ground truth",
            where=f"{where}, field category_id",
            fix=f"Known: {known}.",
        )
    score: Any = row.get("score")
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise AvisError(
            f"the score {score!r} is no number from 0 to 1",
            where=f"{where}, field score",
            fix="Give the probability that the track is right.",
        )
    segmentations = row.get("segmentations")
    if not isinstance(segmentations, list):
        raise AvisError("the list of masks is missing", where=f"{where}, field segmentations")
    if len(segmentations) != video.length:
        raise AvisError(
            f"there are {len(segmentations)} masks for {video.length} frames",
            where=f"{where}, field segmentations",
            fix="Give one per frame, null where there is none.",
        )
    codes, problems = masks.compress_all(segmentations, video.height, video.width)
    for frame, problem in sorted(problems.items()):
        raise AvisError(problem, where=f"{where}, frame {frame}")
    return Result(video.id, category, float(score), codes)


def _identities(row: dict[str, Any], result: Result) -> list[object]:
    """What must be unique: the row's id, if it has one, and its content."""
    counts = tuple(
        str(segmentation.get("counts")) if isinstance(segmentation, dict) else str(segmentation)
        for segmentation in result.segmentations
    )
    content = ("content", result.video_id, result.category_id, result.score, hash(counts))
    return [content] if row.get("id") is None else [content, ("id", str(row["id"]))]
