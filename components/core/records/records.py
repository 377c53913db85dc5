"""What crosses stage boundaries: the manifest, AVISeg annotations and results, checked when read."""

import csv
import io
import json
import math
import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from components.core.records import masks
from components.core.records.json_rows import read_object
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, safe_name, write_text

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One video to get: from where, which part of it, and under which terms."""

    video_id: str
    source: str  # a URL, a YouTube id, or a path
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None
    license: str | None = None
    sha256: str | None = None  # of the source file, if known
    uploader: str | None = None


@dataclass(slots=True)
class Video:
    """A clip of annotated frames; length in frames, height and width in pixels."""

    id: int
    name: str  # the folder in file_names
    file_names: list[str]
    length: int
    height: int
    width: int


@dataclass(slots=True)
class Track:
    """One sounding object through a clip: per frame polygons, RLE (string or list counts) or None.

    sounding: when it is heard, (start, end) in seconds of the clip, ascending and apart; None where nobody
        labelled the sound by itself, so that the masks alone tell it.
    annotator: who drew it; "" where the source does not tell.
    """

    id: int
    video_id: int
    category_id: int
    segmentations: list[dict[str, Any] | list[list[float]] | None]
    iscrowd: int = 0
    sounding: list[tuple[float, float]] | None = None
    annotator: str = ""


@dataclass(slots=True)
class AnnotationSet:
    """The annotations of one split: category names by id, clips, tracks, free information."""

    categories: dict[int, str]
    videos: list[Video]
    tracks: list[Track]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """One predicted track: per frame an RLE or None."""

    video_id: int
    category_id: int
    score: float
    segmentations: list[dict[str, Any] | None]


# --- manifest ---

_COLUMNS = tuple(column.name for column in fields(ManifestEntry))


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Read a manifest, CSV (columns as the fields of ManifestEntry) or parquet.

    Raises:
        AvisError: if the file is missing, empty or malformed; it names file, row (the line in CSV) and field.
    """
    if not path.is_file():
        raise AvisError(
            "the manifest does not exist", where=str(path), fix="Correct ingest.manifest in params.yaml."
        )
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    entries: list[ManifestEntry] = []
    seen: dict[str, int] = {}
    for number, row in rows:
        entry = _entry(row, path, number)
        if entry.video_id in seen:
            raise AvisError(
                f"video_id {entry.video_id!r} stands twice",
                where=f"{path}, rows {seen[entry.video_id]} and {number}, field video_id",
                fix="Give each clip an id of its own.",
            )
        seen[entry.video_id] = number
        entries.append(entry)
    if not entries:
        raise AvisError("the manifest is empty", where=str(path), fix="Add a row for each video.")
    return entries


def write_manifest(path: Path, entries: Iterable[ManifestEntry]) -> None:
    """Write a manifest as CSV or parquet, after the name's ending."""
    rows = [[getattr(entry, column) for column in _COLUMNS] for entry in entries]
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        kinds = [pyarrow.float64() if name.endswith("_s") else pyarrow.string() for name in _COLUMNS]
        columns = [pyarrow.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
        with replace_file(path) as temporary:
            pyarrow.parquet.write_table(pyarrow.table(dict(zip(_COLUMNS, columns, strict=True))), temporary)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([["" if value is None else value for value in row] for row in rows])
    write_text(path, text.getvalue())


def _csv_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise AvisError(f"the manifest is not UTF-8 text: {error.reason}", where=str(path)) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(header, path)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise AvisError(
                    f"the row has {len(row)} cells, the header has {len(header)}",
                    where=f"{path}, row {reader.line_num}",
                )
            yield (
                reader.line_num,
                {name: cell.strip() or None for name, cell in zip(header, row, strict=True)},
            )
    except csv.Error as error:
        raise AvisError(f"not valid CSV: {error}", where=f"{path}, row {reader.line_num}") from None


def _parquet_rows(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise AvisError(f"not a readable parquet file: {error}", where=str(path)) from None
    _check_columns(table.column_names, path)
    return list(enumerate(table.to_pylist(), start=1))


def _check_columns(header: list[str], path: Path) -> None:
    if not header:
        raise AvisError(
            "the manifest is empty", where=str(path), fix=f"Its columns are {', '.join(_COLUMNS)}."
        )
    for name in ("video_id", "source"):
        if name not in header:
            raise AvisError(
                f"the column {name!r} is missing",
                where=f"{path}, row 1",
                fix=f"Its columns are {', '.join(_COLUMNS)}.",
            )
    for name in header:
        if name not in _COLUMNS or header.count(name) > 1:
            problem = "is unknown" if name not in _COLUMNS else "stands twice"
            raise AvisError(
                f"the column {name!r} {problem}",
                where=f"{path}, row 1",
                fix=f"Allowed: {', '.join(_COLUMNS)}.",
            )


def _entry(row: dict[str, Any], path: Path, number: int) -> ManifestEntry:
    def fail(name: str, what: str, fix: str | None = None) -> AvisError:
        return AvisError(what, where=f"{path}, row {number}, field {name}", fix=fix)

    values: dict[str, Any] = {name: None if value == "" else value for name, value in row.items()}
    for name in ("start_s", "end_s"):
        value = values.get(name)
        if value is None:
            continue
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise fail(name, f"{value!r} is not a number of seconds") from None
        if not math.isfinite(values[name]) or values[name] < 0:
            raise fail(name, f"{value} is not a time in a video", "Give seconds from the start, 0 or more.")
    for name, value in values.items():
        if value is not None and not name.endswith("_s") and not isinstance(value, str):
            raise fail(name, f"{value!r} is not text")
    for name in ("video_id", "source"):
        if not values.get(name):
            raise fail(name, f"{name} is missing")
    try:
        safe_name(values["video_id"])
    except AvisError as error:
        raise fail("video_id", error.what, error.fix) from None
    if values.get("end_s") is not None and (values.get("start_s") or 0.0) >= values["end_s"]:
        raise fail(
            "end_s", f"the end {values['end_s']} s is not after the start {values.get('start_s') or 0.0} s"
        )
    if values.get("split") is not None and values["split"] not in SPLITS:
        raise fail("split", f"{values['split']!r} is no split", f"Allowed: {', '.join(SPLITS)}, or nothing.")
    if values.get("sha256") is not None:
        values["sha256"] = values["sha256"].lower()
        if not re.fullmatch(r"[0-9a-f]{64}", values["sha256"]):
            raise fail("sha256", f"{values['sha256'][:80]!r} is no SHA-256", "It has 64 hexadecimal digits.")
    return ManifestEntry(**values)


# --- annotations ---


def read_annotations(path: Path) -> AnnotationSet:
    """Read AVISeg JSON, row by row; uncompressed RLE comes back compressed.

    Raises:
        AvisError: if it is missing or malformed; it names the file, the annotation, the video and the frame.
    """
    document = read_object(path, "annotations")
    categories: dict[int, str] = {}
    for where, row in document.rows("categories"):
        identity, name = _integer(row, "id", where), _text(row, "name", where)
        if identity in categories:
            raise AvisError(f"category id {identity} stands twice", where=where)
        categories[identity] = name
    videos: dict[int, Video] = {}
    for where, row in document.rows("videos"):
        video = _video(row, where)
        if video.id in videos:
            raise AvisError(f"video id {video.id} stands twice", where=where)
        videos[video.id] = video
    tracks: dict[int, Track] = {}
    for where, row in document.rows("annotations"):
        track = _track(row, where, path, videos, categories)
        if track.id in tracks:
            raise AvisError(f"annotation id {track.id} stands twice", where=where)
        tracks[track.id] = track
    info = document.value("info")
    return AnnotationSet(
        categories, list(videos.values()), list(tracks.values()), info if isinstance(info, dict) else {}
    )


def write_annotations(path: Path, annotations: AnnotationSet) -> None:
    """Write AVISeg JSON with boxes and areas computed from the masks; equal annotations give equal bytes.

    Raises:
        AvisError: if a mask does not decode; it names the annotation and the frame.
    """
    videos = {video.id: video for video in annotations.videos}
    rows = []
    for track in annotations.tracks:
        video = videos[track.video_id]
        boxes: list[list[float] | None] = []
        areas: list[int | None] = []
        for frame, segmentation in enumerate(track.segmentations):
            try:
                box = masks.bounding_box(segmentation, video.height, video.width)
                boxes.append(box)
                areas.append(None if box is None else masks.area(segmentation, video.height, video.width))
            except AvisError as error:
                where = f"annotation {track.id}, video {video.name!r}, frame {frame}"
                raise AvisError(error.what, where=where) from None
        rows.append(
            {
                "id": track.id,
                "video_id": track.video_id,
                "category_id": track.category_id,
                "iscrowd": track.iscrowd,
                "height": video.height,
                "width": video.width,
                "segmentations": track.segmentations,
                "bboxes": boxes,
                "areas": areas,
                # beyond AVISeg, and only where they are known
                **({} if track.sounding is None else {"sounding": track.sounding}),
                **({"annotator": track.annotator} if track.annotator else {}),
            }
        )
    document = {
        "info": annotations.info,
        "categories": [{"id": identity, "name": name} for identity, name in annotations.categories.items()],
        "videos": [
            {
                "id": video.id,
                "file_names": video.file_names,
                "length": video.length,
                "height": video.height,
                "width": video.width,
            }
            for video in annotations.videos
        ],
        "annotations": rows,
    }
    write_text(path, json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n")


def _video(row: object, where: str) -> Video:
    values = {key: _integer(row, key, where) for key in ("id", "length", "height", "width")}
    names = row.get("file_names") if isinstance(row, dict) else None
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, str) and "/" in name for name in names)
    ):
        raise AvisError("file_names must be a list of '<video>/<frame>.jpg'", where=where)
    try:
        name = safe_name(names[0].split("/")[0])
    except AvisError as error:
        raise AvisError(error.what, where=f"{where}, field file_names", fix=error.fix) from None
    where = f"{where}, video {name!r}"
    if len(names) != values["length"]:
        raise AvisError(f"length is {values['length']}, but there are {len(names)} file_names", where=where)
    if values["height"] < 1 or values["width"] < 1:
        raise AvisError(f"the size {values['width']} x {values['height']} is not positive", where=where)
    for frame, file_name in enumerate(names):
        parts = file_name.split("/")
        if parts[0] != name or ".." in parts:
            raise AvisError(
                f"frame {frame} lies outside the video's folder: {file_name[:200]!r}", where=where
            )
    return Video(values["id"], name, names, values["length"], values["height"], values["width"])


def _track(
    row: object, where: str, path: Path, videos: dict[int, Video], categories: dict[int, str]
) -> Track:
    identity = _integer(row, "id", where)
    where = f"{path}, annotation {identity}"
    video_id, category_id = _integer(row, "video_id", where), _integer(row, "category_id", where)
    if video_id not in videos:
        raise AvisError(f"video_id {video_id} is not among the videos", where=where)
    video = videos[video_id]
    where = f"{where}, video {video.name!r}"
    if category_id not in categories:
        raise AvisError(f"category_id {category_id} is not among the categories", where=where)
    segmentations = row.get("segmentations") if isinstance(row, dict) else None
    if not isinstance(segmentations, list):
        raise AvisError("the list 'segmentations' is missing", where=where)
    if len(segmentations) != video.length:
        raise AvisError(
            f"there are {len(segmentations)} segmentations for {video.length} frames",
            where=where,
            fix="Give one per frame, null where there is no mask.",
        )
    for frame, segmentation in enumerate(segmentations):
        problem = masks.check(segmentation, video.height, video.width)
        if problem:
            raise AvisError(problem, where=f"{where}, frame {frame}")
        segmentations[frame] = masks.compact(segmentation, video.height, video.width)
    crowd = row.get("iscrowd", 0) if isinstance(row, dict) else 0
    annotator = row.get("annotator") if isinstance(row, dict) else None
    return Track(
        identity,
        video_id,
        category_id,
        segmentations,
        int(bool(crowd)),
        _sounding(row, where),
        annotator if isinstance(annotator, str) else "",
    )


def _sounding(row: object, where: str) -> list[tuple[float, float]] | None:
    """The field `sounding`; None where it is missing."""
    value = row.get("sounding") if isinstance(row, dict) else None
    if value is None:
        return None
    problem = intervals_problem(value)
    if problem is not None:
        raise AvisError(problem, where=f"{where}, field sounding", fix="Give [[start, end], …] in seconds.")
    return [(float(start), float(end)) for start, end in value]


def intervals_problem(value: object) -> str | None:
    """Return what is wrong with intervals in seconds, [[start, end], …]; None where nothing is."""
    if not isinstance(value, list):
        return f"{reprlib.repr(value)} is no list of intervals"
    last = 0.0
    for interval in value:
        if (
            not isinstance(interval, list | tuple)
            or len(interval) != 2
            or not all(type(time) in (int, float) and abs(time) <= sys.float_info.max for time in interval)
        ):
            return f"{reprlib.repr(interval)} is no interval of two numbers"
        start, end = interval
        if start < last or end <= start:
            return f"the interval {start:g} to {end:g} s ends before it starts or overlaps the one before"
        last = end
    return None


# --- results ---


def read_results(path: Path) -> list[Result]:
    """Read predicted tracks in the official results format.

    Raises:
        AvisError: if the file is missing or malformed; it names the file, the row and the field.
    """
    document = _read_json(path, "results")
    if not isinstance(document, list):
        raise AvisError("results must be a JSON list", where=str(path))
    results = []
    for index, row in enumerate(document):
        where = f"{path}, row {index}"
        video_id, category_id = _integer(row, "video_id", where), _integer(row, "category_id", where)
        score = row.get("score")
        if type(score) not in (int, float) or not abs(score) <= sys.float_info.max:
            raise AvisError(f"{reprlib.repr(score)} is no score", where=f"{where}, field score")
        segmentations = row.get("segmentations")
        if not isinstance(segmentations, list):
            raise AvisError("the list is missing", where=f"{where}, field segmentations")
        for frame, segmentation in enumerate(segmentations):
            valid = isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation
            if segmentation is not None and not valid:
                raise AvisError(
                    "neither an RLE nor null", where=f"{where}, field segmentations, frame {frame}"
                )
        results.append(Result(video_id, category_id, float(score), segmentations))
    return results


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write predicted tracks in the official results format; equal results give equal bytes."""
    rows = [
        {
            "video_id": result.video_id,
            "score": float(result.score),
            "category_id": result.category_id,
            "segmentations": result.segmentations,
        }
        for result in results
    ]
    write_text(path, json.dumps(rows, separators=(",", ":"), allow_nan=False) + "\n")


def _read_json(path: Path, what: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise AvisError(f"there are no {what}", where=str(path)) from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: no JSON, no UTF-8, a number of too many digits
        raise AvisError(
            f"not valid JSON: {error}", where=str(path), fix="Perhaps the file is cut off: make it again."
        ) from None


def _integer(row: object, key: str, where: str) -> int:
    value = row.get(key) if isinstance(row, Mapping) else None
    if type(value) is not int:
        raise AvisError(f"{reprlib.repr(value)} is no whole number", where=f"{where}, field {key}")
    return value


def _text(row: object, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, Mapping) else None
    if not isinstance(value, str) or not value:
        raise AvisError(f"{reprlib.repr(value)} is no text", where=f"{where}, field {key}")
    return value
