"""MOTS TXT: a file per video, lines `frame id class height width rle`, with COCO's compressed run lengths.

id is class * 1000 + instance; 10000 is a region to ignore: left out. Classes' names as in mots_png. Layouts:
<video>.txt, its frames counted from 0 (KITTI's instances_txt), and MOTS20's <video>/gt/gt.txt, from 1, with
the video's length in seqinfo.ini. Boxes are no masks: MOTChallenge's and KITTI's are refused.
"""

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.annotate.clock import clock_of
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.folders import files_below
from components.annotate.parsing.mots import (
    LABELS,
    class_name,
    is_ignored,
    number_tracks,
    read_labels,
    write_labels,
)
from components.annotate.track_builder import Gathering, same_size
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, tracks_by_video
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError
from components.core.run.files import new_folder, write_text

_LINE = re.compile(r"(\d{1,9})\s+(\d{1,9})\s+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s+(\S+)")
_ROBMOTS = re.compile(r"(\d{1,9} ){3}[\d.e-]+ (\d{1,6} ){2}\S+$")
_BOXES = re.compile(r"\d+(,\s?-?[\d.]+){5,9}$|\d+ -?\d+ [A-Z][A-Za-z]+( -?[\d.e-]+){14,15}$")
_GT = "gt/gt.txt"
_OF_MOTS20 = re.compile(r"MOTS20-\d")
_BESIDE = {".txt", ".ini", ".seqmap", ".md"}
_FORM = "frame id class height width rle"


def _recognise(look: Look) -> str | None:
    if look.path.is_dir():
        files = [name for name in look.names if name.endswith(".txt") and Path(name).name != LABELS]
        files = [name for name in files if name.endswith(_GT)] or files
        if not files or (
            not files[0].endswith(_GT) and any(Path(name).suffix not in _BESIDE for name in look.names)
        ):
            return None
        with (look.path / files[0]).open("rb") as file:
            head = file.read(4096)
    elif look.path.suffix == ".txt":
        files, head = [look.path.name], look.head
    else:
        return None
    first = head.split(b"\n", 1)[0].decode("ascii", "replace").strip()
    # a line longer than what was read is cut, and still begins as one
    if _LINE.fullmatch(first):
        return f"text of lines `{_FORM}`, first in {files[0]}"
    if _ROBMOTS.match(first):
        return f"text of lines of RobMOTS, first in {files[0]}"
    return f"text of lines of boxes, first in {files[0]}" if _BOXES.match(first) else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    folder = path if path.is_dir() else path.parent
    for file in _files(path):
        labels = read_labels(file.parent, folder, gathering.changes)
        for number, label in labels.items():
            if not is_ignored(number, labels):
                gathering.category(label)
        rows = list(_rows(file))
        if not rows:
            gathering.changes.add(Kind.DROPPED, "video", "its file holds no mask", example=str(file))
            continue
        sizes: dict[str, tuple[tuple[int, int], str]] = {}
        for where, frame, _, _, size, _ in rows:
            same_size(sizes, file.stem, size, f"frame {frame}", where)
        height, width = rows[0][4]
        name = _video_name(file, path, hints)
        numbers = {row[1] for row in rows}
        first, length = _first_and_length(file, name, numbers, hints.lengths.get(name), gathering.changes)
        video = gathering.video(name, height=height, width=width, length=length, where=str(file))
        gathering.clocks[video.name] = clock_of({number - first for number in numbers})
        for where, frame, number, kind, size, code in rows:
            if is_ignored(kind, labels):
                why = "it is one to ignore (class 10)"
                gathering.changes.add(Kind.DROPPED, "region", why, example=where)
                continue
            category = gathering.category(class_name(kind, labels, where))
            gathering.track(video, number, category, where)
            gathering.add(video, frame - first, number, {"size": list(size), "counts": code}, where)
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [path / name for name in files_below(path, [".txt"]) if Path(name).name != LABELS]
    return [file for file in files if file.as_posix().endswith(_GT)] or files


def _video_name(file: Path, path: Path, hints: Hints) -> str:
    if not file.as_posix().endswith(_GT):
        return file.stem
    folder = file.resolve().parent.parent
    return hints.name if path.is_dir() and folder == path.resolve() else folder.name


def _first_and_length(
    file: Path, name: str, numbers: set[int], extracted: int | None, changes: Changes
) -> tuple[int, int]:
    """The number of a video's first frame, and how many frames it has.

    Args:
        numbers: of the frames that have a line.
        extracted: how many pictures were extracted of the video, where that is known.
    """
    info = file.parent.parent / "seqinfo.ini"
    of_mots20 = file.as_posix().endswith(_GT)
    length = _sequence_length(info) if of_mots20 and info.is_file() else None
    first = int((of_mots20 or _OF_MOTS20.match(name) is not None) and 0 not in numbers)
    if first and length is None:
        why = "its name or folder is MOTS20's, which counts frames from 1"
        changes.add(Kind.GUESSED, "video", why, example=name)
    elif not first and min(numbers) == 1 and max(numbers) == extracted:
        first = 1  # counted from 0 the last one would not exist
    elif not first and min(numbers) == 1 and length is None:
        why = "no line is of frame 0, and its frames are taken as counted from 0, as KITTI's are"
        changes.add(Kind.GUESSED, "video", why, example=name)
    return first, length or max(numbers) + 1 - first


def _sequence_length(info: Path) -> int:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(info.read_text(encoding="utf-8-sig"))
        return parser.getint("Sequence", "seqLength")
    except (configparser.Error, ValueError):  # no UTF-8 is a ValueError, too
        raise AvisError("It does not tell seqLength in [Sequence]", where=str(info)) from None


def _rows(file: Path) -> Iterator[tuple[str, int, int, int, tuple[int, int], str]]:
    """(where, frame, id, class, (height, width), code) of each line."""
    with file.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            match = _LINE.fullmatch(line.strip())
            if match is None and _BOXES.match(line.strip()):
                raise AvisError(
                    f"These are boxes, as MOTChallenge and KITTI have them, and no masks: {line[:60]!r}",
                    where=where,
                    fix="Give MOTS's lines with run lengths or its PNG. `avis preannotate` can make masks of "
                    "boxes.",
                )
            if match is None and _ROBMOTS.match(line.strip()):
                raise AvisError(
                    f"This is a line of RobMOTS, which has a score before the size: {line[:60]!r}",
                    where=where,
                    fix="Take the scores and the regions to ignore out (awk '$3 < 100 {print $1, $2, $3, $5, "
                    "$6, $7}'), and write the names of its classes into labels.txt, a line each: COCO's 80 "
                    "in their order, person first.",
                )
            if match is None:
                raise AvisError(f"The line is not `{_FORM}`: {line[:60]!r}", where=where)
            frame, identity, kind, height, width = (int(match[n]) for n in range(1, 6))
            yield where, frame, identity, kind, (height, width), match[6]


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    numbers = number_tracks(annotations, path)
    if all(masks.is_empty(mask) for track in annotations.tracks for mask in track.segmentations):
        raise AvisError("There is no mask, and this format holds nothing else", where=str(path))
    classes = {category: number for number, category in enumerate(annotations.categories, start=1)}
    tracks_of = tracks_by_video(annotations)
    with new_folder(path) as folder:
        write_labels(folder / LABELS, annotations)
        for video in annotations.videos:
            tracks = tracks_of[video.id]
            lines = []
            for k in range(video.length):
                for track in tracks:
                    code: Any = masks.compress(track.segmentations[k], video.height, video.width)
                    if code is None or masks.is_empty(code):
                        continue
                    size = f"{video.height} {video.width}"
                    text = code["counts"].decode("ascii")
                    lines.append(f"{k} {numbers[track.id]} {classes[track.category_id]} {size} {text}\n")
            if lines:  # without a mask no line would tell the size
                write_text(folder / f"{video.name}.txt", "".join(lines))
    return []


FORMAT = Format(
    name="mots_txt",
    description=f"MOTS TXT: a folder of <video>.txt with lines `{_FORM}`, and labels.txt",
    recognise=_recognise,
    read=_read,
    write=_write,
    holds=frozenset({"categories", "unused categories"}),
)
