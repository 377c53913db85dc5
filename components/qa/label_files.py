"""Annotation files read with patience: what is wrong in them becomes findings, not an exception."""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from components.core.clips.index import MediaEntry
from components.core.records.annotations import MOST_FRAMES
from components.core.records.json_rows import read_object
from components.core.records.masks import MOST_PIXELS
from components.core.records.work_file import Frames, LongNumberError, Numbered, WorkFile
from components.core.run.errors import AvisError
from components.core.run.files import safe_name

_LARGEST_ID = 2**53
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry of an annotation file that cannot belong to any clip, or not to one clip alone."""

    kind: str  # name of the check that reports it
    message: str
    video: str = ""
    track: int | None = None


@dataclass(slots=True)
class ClipItem:
    """One clip as its annotation file has it, and where its media are: what a worker gets.

    tracks: the file's entries with this video_id, unchecked; decoded anew whenever they are asked for.
    """

    split: str
    name: str
    length: int
    height: int
    width: int
    tracks: Sequence[dict[str, Any]]
    categories: dict[int, str]
    media: Path
    entry: MediaEntry | None


@dataclass(slots=True)
class SplitDocument:
    """One annotation file."""

    split: str
    categories: dict[int, str]
    clips: list[ClipItem]
    problems: list[Problem] = field(default_factory=list)


def read_split(
    path: Path, split: str, media: Path, index: Mapping[str, MediaEntry], work: WorkFile | None = None
) -> SplitDocument:
    """Read one annotation file, row by row.

    Args:
        work: where the tracks lie; None: in a file of their own.

    Raises:
        AvisError: the file is missing, or is not a JSON object with the three lists.
    """
    if not path.is_file():
        raise AvisError("There are no annotations", where=str(path), fix="Run the annotate stage.")
    content = read_object(path, "annotations")
    document = SplitDocument(split=split, categories={}, clips=[])
    for number, (_, row) in enumerate(content.rows("categories")):
        if isinstance(row, dict) and _is_id(row.get("id")) and isinstance(row.get("name"), str):
            document.categories[row["id"]] = shown(row["name"])
        else:
            document.problems.append(Problem("malformed_entry", f"categories[{number}] has no id and name"))
    by_id: dict[Any, ClipItem] = {}
    names: set[str] = set()
    for number, (_, row) in enumerate(content.rows("videos")):
        clip = _clip(row, split, document.categories, media, index)
        if clip is None:
            document.problems.append(
                Problem(
                    "malformed_entry", f"videos[{number}] has no whole id, length, height, width, file_names"
                )
            )
        elif row["id"] in by_id:
            document.problems.append(
                Problem("duplicate_id", f"the video id {row['id']} is given twice", video=clip.name)
            )
        else:
            if clip.name in names:
                problem = Problem("duplicate_id", "two videos have this name", video=clip.name)
                document.problems.append(problem)
            names.add(clip.name)
            by_id[row["id"]] = clip
            document.clips.append(clip)
    _hand_out_tracks((row for _, row in content.rows("annotations")), by_id, document, work or WorkFile())
    return document


def _clip(
    row: Any, split: str, categories: dict[int, str], media: Path, index: Mapping[str, MediaEntry]
) -> ClipItem | None:
    try:
        name = safe_name(row["file_names"][0].split("/")[0])
        values = [row[key] for key in ("id", "length", "height", "width")]
    except (KeyError, TypeError, IndexError, AttributeError, AvisError):
        return None
    if any(type(value) is not int or value < 1 for value in values[1:]) or not _is_id(values[0]):
        return None
    _, length, height, width = values
    if length > MOST_FRAMES or height * width > MOST_PIXELS:
        return None
    return ClipItem(split, name, length, height, width, [], categories, media, index.get(name))


def _hand_out_tracks(
    rows: Iterator[Any], by_id: Mapping[Any, ClipItem], document: SplitDocument, work: WorkFile
) -> None:
    seen: set[int] = set()
    kept: dict[int, Numbered] = {}  # of each video
    for number, row in enumerate(rows):
        track_id = row.get("id") if isinstance(row, dict) else None
        if not _is_id(track_id) or not isinstance(row.get("segmentations"), list):
            problem = Problem("malformed_entry", f"annotations[{number}] has no whole id and segmentations")
            document.problems.append(problem)
            continue
        video_id = row.get("video_id")
        clip = by_id.get(video_id) if _is_id(video_id) else None
        if clip is None:
            named = reprlib.repr(video_id)
            message = f"the annotation {track_id} names the video {named}, which is not listed"
            document.problems.append(Problem("unknown_video", message, track=track_id))
            continue
        if not _is_id(row.get("category_id")):
            row = {**row, "category_id": -1}  # none: said by unknown_category
        if track_id in seen:
            message = f"the annotation id {track_id} is given twice"
            document.problems.append(Problem("duplicate_id", message, video=clip.name, track=track_id))
        seen.add(track_id)
        tracks = kept.setdefault(row["video_id"], Numbered(work))
        try:
            tracks[len(tracks)] = row
        except LongNumberError:
            message = f"annotations[{number}] has a number of more than 64 bits"
            document.problems.append(Problem("malformed_entry", message, video=clip.name, track=track_id))
    for video_id, tracks in kept.items():
        by_id[video_id].tracks = Frames(tracks, len(tracks))


def shown(text: str) -> str:
    """A text of somebody's, as it can be written and shown: no half characters, not pages long."""
    return text.encode("utf-8", "replace").decode()[:_LONGEST_TEXT]


def _is_id(value: object) -> TypeGuard[int]:
    """Whether it is a whole number that any tool can hold."""
    return type(value) is int and abs(value) <= _LARGEST_ID
