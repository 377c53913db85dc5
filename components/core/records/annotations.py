"""AVISeg annotations: clips, tracks and categories, written and, row by row, checked when read."""

import json
import reprlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import msgspec

from components.core.records import masks
from components.core.records.json_rows import read_object, text, whole_number
from components.core.records.work_file import WorkFile, on_disk
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, safe_name

SPLITS = ("train", "val", "test")
MOST_FRAMES = 1_000_000  # of a video


class PictureNames(Sequence[str]):
    """A clip's pictures as extract names them, <name>/00000.jpg, …; equal to the list of them."""

    __slots__ = ("_length", "_name")

    def __init__(self, name: str, length: int) -> None:
        self._name = name
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, frame: int) -> str: ...
    @overload
    def __getitem__(self, frame: slice) -> list[str]: ...
    def __getitem__(self, frame: int | slice) -> str | list[str]:
        numbers = range(self._length)[frame]
        if isinstance(numbers, range):
            return [self[k] for k in numbers]
        return f"{self._name}/{numbers:05d}.jpg"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(slots=True)
class Video:
    """A clip of annotated frames; length in frames, height and width in pixels."""

    id: int
    name: str  # the folder in file_names
    file_names: Sequence[str]
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
    segmentations: Sequence[dict[str, Any] | list[list[float]] | None]
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


# The fields that are read of each row; the others (boxes and areas, which follow from the masks) are passed
# over undecoded. Any: msgspec would name a wrong value's type, but neither the value nor the annotation.


class _CategoryRow(msgspec.Struct):
    id: Any = None
    name: Any = None


class VideoRow(msgspec.Struct):
    """A row of `videos`, unchecked."""

    id: Any = None
    file_names: Any = None
    length: Any = None
    height: Any = None
    width: Any = None


class TrackRow(msgspec.Struct):
    """A row of `annotations`, unchecked."""

    id: Any = None
    video_id: Any = None
    category_id: Any = None
    segmentations: Any = None
    iscrowd: Any = 0
    sounding: Any = None
    annotator: Any = None


def read_annotations(path: Path, work_folder: Path | None = None) -> AnnotationSet:
    """Read AVISeg JSON, row by row; masks lie on the disk, and uncompressed RLE comes back compressed.

    Args:
        work_folder: beside what is made of them; None: they lie in the system's folder for temporary files.

    Raises:
        AvisError: if it is missing or malformed; it names the file, the annotation, the video and the frame.
    """
    document, work = read_object(path, "annotations"), WorkFile(work_folder)
    categories: dict[int, str] = {}
    for where, category in document.rows("categories", _CategoryRow):
        identity, name = whole_number(category.id, where, "id"), text(category.name, where, "name")
        if identity in categories:
            raise AvisError(f"category id {identity} stands twice", where=where)
        categories[identity] = name
    videos: dict[int, Video] = {}
    for where, row in document.rows("videos", VideoRow):
        video = checked_video(row, where)
        if video.id in videos:
            raise AvisError(f"video id {video.id} stands twice", where=where)
        videos[video.id] = video
    tracks: dict[int, Track] = {}
    for where, annotation in document.rows("annotations", TrackRow):
        track = checked_track(annotation, where, path, videos, categories)
        if track.id in tracks:
            raise AvisError(f"annotation id {track.id} stands twice", where=where)
        track.segmentations = on_disk(track.segmentations, work)
        tracks[track.id] = track
    info = document.value("info")
    return AnnotationSet(
        categories, list(videos.values()), list(tracks.values()), info if isinstance(info, dict) else {}
    )


def checked_video(row: VideoRow, where: str) -> Video:
    """The video of a row; raises AvisError naming the field."""
    identity = whole_number(row.id, where, "id")
    length = whole_number(row.length, where, "length")
    height, width = whole_number(row.height, where, "height"), whole_number(row.width, where, "width")
    names = row.file_names
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
    if len(names) != length:
        raise AvisError(f"length is {length}, but there are {len(names)} file_names", where=where)
    if height < 1 or width < 1:
        raise AvisError(f"the size {width} x {height} is not positive", where=where)
    if height * width > masks.MOST_PIXELS or length > MOST_FRAMES:
        raise AvisError(f"{length} frames of {width} x {height} pixels are beyond any video", where=where)
    for frame, file_name in enumerate(names):
        parts = file_name.split("/")
        if parts[0] != name or ".." in parts:
            raise AvisError(
                f"frame {frame} lies outside the video's folder: {file_name[:200]!r}", where=where
            )
    return Video(identity, name, names, length, height, width)


def checked_track(
    row: TrackRow, where: str, path: Path, videos: dict[int, Video], categories: dict[int, str]
) -> Track:
    """The track of a row of the file `path`; raises AvisError naming the annotation, video and frame."""
    identity = whole_number(row.id, where, "id")
    where = f"{path}, annotation {identity}"
    video_id = whole_number(row.video_id, where, "video_id")
    category_id = whole_number(row.category_id, where, "category_id")
    if video_id not in videos:
        raise AvisError(f"video_id {video_id} is not among the videos", where=where)
    video = videos[video_id]
    where = f"{where}, video {video.name!r}"
    if category_id not in categories:
        raise AvisError(f"category_id {category_id} is not among the categories", where=where)
    segmentations = row.segmentations
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
    return Track(
        identity,
        video_id,
        category_id,
        segmentations,
        int(bool(row.iscrowd)),
        _sounding(row.sounding, where),
        row.annotator if isinstance(row.annotator, str) else "",
    )


def _sounding(value: Any, where: str) -> list[tuple[float, float]] | None:
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


def tracks_by_video(annotations: AnnotationSet) -> dict[int, list[Track]]:
    """The tracks of each video by its id, in their order; an empty list where it has none."""
    found: dict[int, list[Track]] = {video.id: [] for video in annotations.videos}
    for track in annotations.tracks:
        found.setdefault(track.video_id, []).append(track)
    return found


def write_annotations(path: Path, annotations: AnnotationSet) -> None:
    """Write AVISeg JSON with boxes and areas computed from the masks; equal annotations give equal bytes.

    Raises:
        AvisError: if a mask does not decode; it names the annotation and the frame.
    """
    videos = {video.id: video for video in annotations.videos}
    write_rows(
        path,
        {
            "info": annotations.info,
            "categories": [
                {"id": identity, "name": name} for identity, name in annotations.categories.items()
            ],
            "videos": (
                {
                    "id": video.id,
                    "file_names": list(video.file_names),
                    "length": video.length,
                    "height": video.height,
                    "width": video.width,
                }
                for video in annotations.videos
            ),
            "annotations": (_row(track, videos[track.video_id]) for track in annotations.tracks),
        },
    )


def write_rows(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON object, completely or not at all; an iterator is a list, written row by row.

    The bytes are those of `json.dumps` without blanks.
    """
    with replace_file(path) as temporary, temporary.open("w", encoding="ascii") as file:
        for number, (key, value) in enumerate(document.items()):
            file.write(f"{',' if number else '{'}{json.dumps(key)}:")
            if not isinstance(value, Iterator):
                file.write(_json(value))
                continue
            file.write("[")
            for place, row in enumerate(value):
                file.write(("," if place else "") + _json(row))
            file.write("]")
        file.write("}\n")


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _row(track: Track, video: Video) -> dict[str, Any]:
    from pycocotools import mask as coco

    segmentations = list(track.segmentations)
    codes, problems = masks.compress_all(segmentations, video.height, video.width)
    for frame in sorted(problems):
        where = f"annotation {track.id}, video {video.name!r}, frame {frame}"
        raise AvisError(problems[frame], where=where)
    boxes: list[list[float] | None] = [None] * len(codes)
    areas: list[int | None] = [None] * len(codes)
    for frame, code in enumerate(codes):
        area = 0 if code is None else int(coco.area(code))
        if area:
            boxes[frame], areas[frame] = [float(value) for value in coco.toBbox(code)], area
    return {
        "id": track.id,
        "video_id": track.video_id,
        "category_id": track.category_id,
        "iscrowd": track.iscrowd,
        "height": video.height,
        "width": video.width,
        "segmentations": segmentations,
        "bboxes": boxes,
        "areas": areas,
        # beyond AVISeg, and only where they are known
        **({} if track.sounding is None else {"sounding": track.sounding}),
        **({"annotator": track.annotator} if track.annotator else {}),
    }
