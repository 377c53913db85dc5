"""Results files from anywhere, checked against the ground truth before a number is made of them."""

import json
import reprlib
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.archives import is_zip, unpacked
from components.core.records.changes import Changes, Kind
from components.core.records.other_programs import Reading, SeenRow, Videos, reading_of
from components.core.records.results import Result
from components.core.records.results_on_disk import BrokenListError, Rows, scan
from components.core.run.errors import AvisError

NumberedResult = tuple[int, Result]  # (row in the file, predicted track)
OFFICIAL = Reading()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ResultsIndex:
    """Where in a results file the tracks of each video are.

    path: for messages; within an archive it names the file in it. rows: by video id, each track's row as
    text. reading: how these are read. left_out, in lenient reading: (row, what is wrong) of rows that belong
    to no video of the ground truth or follow a break of the file. changes: what is read otherwise than it
    stands there.
    """

    path: Path
    rows: dict[int, Sequence[tuple[int, bytes]]]
    reading: Reading = field(default_factory=Reading)
    left_out: list[tuple[int, str]] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    def of(self, video: Video) -> Sequence[tuple[int, bytes]]:
        """Return the rows of one video."""
        return self.rows.get(video.id, [])

    def report(self) -> list[str]:
        """Lines for the terminal: what was changed on reading, and that there is nothing where that is so."""
        empty = [f"{self.path} holds no tracks: all objects count as missed"]
        changed = self.changes.report() if self.changes else []
        return changed + (empty if not self.rows and not self.left_out else [])


def index_results(
    path: Path, annotations: AnnotationSet, *, lenient: bool = False, work_folder: Path | None = None
) -> ResultsIndex:
    """Go once through a results file and note which rows belong to which video.

    What other programs write differently is understood where only one reading is possible (other_programs).

    Args:
        path: a JSON list of {"video_id", "category_id", "score", "segmentations"}; segmentations are RLE
            (compressed or not), polygons or null, one per frame. The list may stand under a known name in an
            object, and the file alone in a zip archive; unpacked it lasts as long as the index.
        annotations: the ground truth.
        lenient: leave out rows that are wrong, instead of stopping at the first.
        work_folder: where an archive is unpacked; None: in the system's folder for temporary files.

    Raises:
        AvisError: the file is missing or no JSON list; unless lenient, it breaks off, or a row's video is not
            in the ground truth, or two rows have the same id.
    """
    changes = Changes()
    with ExitStack() as stack:
        file = path
        if path.is_file() and is_zip(path):
            file = _only_json(stack.enter_context(unpacked(path, work_folder)), path, changes)
            path = path / file.name
        seen: list[SeenRow] = []
        broken: BrokenListError | None = None
        try:
            for number, (start, end, row) in enumerate(scan(file, path, changes)):
                seen.append(SeenRow.of(number, start, end, row))
        except BrokenListError as error:
            broken = error
        videos, reading = reading_of(seen, annotations, changes)
        spans, left_out = _by_video(seen, videos, path, lenient=lenient)
        if broken is not None:
            if not lenient:
                raise broken
            left_out.append((len(seen), f"{broken.what}; what follows is left out ({broken.where})"))
        index = ResultsIndex(
            path, {key: Rows(file, found) for key, found in spans.items()}, reading, left_out, changes
        )
        weakref.finalize(index, stack.pop_all().close)
    return index


def _only_json(folder: Path, archive: Path, changes: Changes) -> Path:
    """The one JSON file in an unpacked archive, as CodaLab wants them."""
    files = sorted(
        file
        for file in folder.rglob("*.[jJ][sS][oO][nN]")
        if not any(part == "__MACOSX" or part.startswith("._") for part in file.relative_to(folder).parts)
    )
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files[:5])
        raise AvisError(
            f"the archive holds {len(files)} JSON files ({names})"
            if files
            else "the archive holds no JSON file",
            where=str(archive),
            fix="Pack the results file alone, or name it unpacked.",
        )
    changes.add(Kind.GUESSED, "file", "it is the only JSON file of the archive", example=files[0].name)
    return files[0]


def _by_video(
    seen: Sequence[SeenRow], videos: Videos, path: Path, *, lenient: bool
) -> tuple[dict[int, list[tuple[int, int, int]]], list[tuple[int, str]]]:
    """(row, first byte, byte after the last) by video id, and the rows that are left out."""
    spans: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    left_out: list[tuple[int, str]] = []
    known: dict[str, int] = {}
    for row in seen:
        try:
            video = _video_of(row.values, f"{path}, row {row.number}", videos)
            where = f"{path}, row {row.number}, video {video.name!r}"
            _check_identity(row.values or {}, where, row.number, known)
        except AvisError as error:
            if not lenient:
                raise
            left_out.append((row.number, str(error)))
            continue
        spans[video.id].append((row.number, row.start, row.end))
    return spans, left_out


def read_rows(
    rows: Iterable[tuple[int, bytes]],
    video: Video,
    categories: dict[int, str],
    *,
    path: Path,
    reading: Reading = OFFICIAL,
    lenient: bool = False,
) -> tuple[list[NumberedResult], list[tuple[int, str]]]:
    """Read and check the rows of one video, as the index's `reading` says.

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
            row = _decoded(text, where)
            result = _result(reading.official(row), where, video, categories, reading)
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
    videos = Videos({video.id: video for video in annotations.videos})
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


def _video_of(row: dict[str, Any] | None, where: str, videos: Videos) -> Video:
    if row is None:
        raise AvisError("a predicted track must be a JSON object", where=where)
    video = videos.find(row.get("video_id"))
    if video is None and "image_id" in row:
        raise AvisError(
            "the row is of one image, as COCO's results are, and no track",
            where=where,
            fix="Give a row for each track, with its masks of all frames under segmentations.",
        )
    if video is None:
        raise AvisError(
            f"video {reprlib.repr(row.get('video_id'))} is not in the ground truth",
            where=f"{where}, field video_id",
            fix=videos.hint,
        )
    return video


def _result(
    row: dict[str, Any],
    where: str,
    video: Video,
    categories: dict[int, str],
    reading: Reading = OFFICIAL,
) -> Result:
    category = row.get("category_id")
    if type(category) is not int or category not in categories:
        hint = f"{reading.category_hint} " if reading.category_hint else ""
        known = ", ".join(f"{identity} {name}" for identity, name in list(categories.items())[:40])
        raise AvisError(
            f"category {reprlib.repr(category)} is not in the ground truth",
            where=f"{where}, field category_id",
            fix=f"{hint}Known: {known}.",
        )
    score: Any = row.get("score")
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise AvisError(
            f"the score {reprlib.repr(score)} is no number from 0 to 1",
            where=f"{where}, field score",
            fix=reading.score_hint or "Give the probability that the track is right.",
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
        raise AvisError(problem, where=f"{where}, frame {frame}", fix=_bytes_hint(segmentations[frame]))
    return Result(video.id, category, float(score), codes)


def _bytes_hint(segmentation: Any) -> str | None:
    """What to do where a program wrote what Python prints of bytes: b'...'."""
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    is_printed = isinstance(counts, str) and counts[:2] in ("b'", 'b"')
    return "Its counts are bytes as Python prints them: write counts.decode()." if is_printed else None


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
