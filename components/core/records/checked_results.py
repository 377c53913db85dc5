"""Results files from anywhere, checked against the ground truth before a number is made of them."""

import json
import reprlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.results import Result
from components.core.records.results_on_disk import BrokenListError, Rows, scan
from components.core.run.errors import AvisError

NumberedResult = tuple[int, Result]  # (row in the file, predicted track)


@dataclass(frozen=True, slots=True)
class ResultsIndex:
    """Where in a results file the tracks of each video are.

    rows: by video id, each track's row as text. left_out, in lenient reading: (row, what is wrong) of rows
    that belong to no video of the ground truth or follow a break of the file.
    """

    path: Path
    rows: dict[int, Sequence[tuple[int, bytes]]]
    left_out: list[tuple[int, str]] = field(default_factory=list)

    def of(self, video: Video) -> Sequence[tuple[int, bytes]]:
        """Return the rows of one video."""
        return self.rows.get(video.id, [])


def index_results(path: Path, annotations: AnnotationSet, *, lenient: bool = False) -> ResultsIndex:
    """Go once through a results file and note which rows belong to which video.

    Args:
        path: a JSON list of {"video_id", "category_id", "score", "segmentations"}; segmentations are RLE
            (compressed or not), polygons or null, one per frame.
        annotations: the ground truth.
        lenient: leave out rows that are wrong, instead of stopping at the first.

    Raises:
        AvisError: the file is missing or no JSON list; unless lenient, it breaks off, or a row's video is not
            in the ground truth, or two rows have the same id.
    """
    videos = {video.id: video for video in annotations.videos}
    spans: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    left_out: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    number = 0
    try:
        for number, (start, end, row) in enumerate(scan(path)):
            try:
                video = _video_of(row, f"{path}, row {number}", videos)
                _check_identity(row, f"{path}, row {number}, video {video.name!r}", number, seen)
            except AvisError as error:
                if not lenient:
                    raise
                left_out.append((number, str(error)))
                continue
            spans[video.id].append((number, start, end))
    except BrokenListError as error:
        if not lenient:
            raise
        left_out.append((number + 1, f"{error.what}; what follows is left out ({error.where})"))
    return ResultsIndex(path, {identity: Rows(path, found) for identity, found in spans.items()}, left_out)


def read_rows(
    rows: Iterable[tuple[int, bytes]],
    video: Video,
    categories: dict[int, str],
    *,
    path: Path,
    lenient: bool = False,
) -> tuple[list[NumberedResult], list[tuple[int, str]]]:
    """Read and check the rows of one video.

    Returns:
        the rows, their masks as checked, compressed RLE (records.masks.compress); and the rows that
        were left out with what is wrong with them.

    Raises:
        AvisError: unless lenient, a row is wrong; it names row, video, frame and field.
    """
    results: list[NumberedResult] = []
    problems: list[tuple[int, str]] = []
    seen: dict[object, int] = {}
    for number, text in rows:
        where = f"{path}, row {number}, video {video.name!r}"
        try:
            result = _result(_decoded(text, where), where, video, categories)
            _check_content(result, where, number, seen)
        except AvisError as error:
            if not lenient:
                raise
            problems.append((number, str(error)))
            continue
        results.append((number, result))
    return results, problems


def results_of(results: Sequence[Result], annotations: AnnotationSet) -> list[NumberedResult]:
    """Number and check results that were not read from a file.

    Raises:
        AvisError: as read_rows.
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
        where = f"results, row {number}"
        video = _video_of(row, where, videos)
        checked.append(_result(row, f"{where}, video {video.name!r}", video, annotations.categories))
    return list(enumerate(checked))


def _decoded(text: bytes, where: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(text)
    except UnicodeDecodeError as error:
        raise AvisError(f"not valid UTF-8: {error.reason}", where=where, fix="Write it again.") from None
    return row


def _video_of(row: object, where: str, videos: dict[int, Video]) -> Video:
    if not isinstance(row, dict):
        raise AvisError("a predicted track must be a JSON object", where=where)
    video = videos.get(row["video_id"]) if type(row.get("video_id")) is int else None
    if video is None:
        raise AvisError(
            f"video {reprlib.repr(row.get('video_id'))} is not in the ground truth",
            where=f"{where}, field video_id",
        )
    return video


def _result(row: dict[str, Any], where: str, video: Video, categories: dict[int, str]) -> Result:
    category = row.get("category_id")
    if type(category) is not int or category not in categories:
        known = ", ".join(f"{identity} {name}" for identity, name in list(categories.items())[:40])
        raise AvisError(
            f"category {reprlib.repr(category)} is not in the ground truth",
            where=f"{where}, field category_id",
            fix=f"Known: {known}.",
        )
    score: Any = row.get("score")
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise AvisError(
            f"the score {reprlib.repr(score)} is no number from 0 to 1",
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


def _check_identity(row: dict[str, Any], where: str, number: int, seen: dict[str, int]) -> None:
    """Complain about an id that another row has."""
    if row.get("id") is None:
        return
    first = seen.setdefault(str(row["id"]), number)
    if first != number:
        raise AvisError(
            f"the id {reprlib.repr(row['id'])} is that of row {first}, too",
            where=where,
            fix="Give each track once.",
        )


def _check_content(result: Result, where: str, number: int, seen: dict[object, int]) -> None:
    """Complain about a row that says what another one says; tracks without a pixel may be alike."""
    counts = tuple(None if code is None else code["counts"] for code in result.segmentations)
    first = seen.setdefault((result.category_id, result.score, hash(counts)), number)
    if first != number and not all(masks.is_empty(code) for code in result.segmentations):
        raise AvisError(f"the same track stands in row {first}", where=where, fix="Give each track once.")
