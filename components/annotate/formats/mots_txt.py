"""MOTS TXT: a file per video, lines `frame id class height width rle`, with COCO's compressed run lengths.

id is class * 1000 + instance; 10000 is a region to ignore: left out. Classes' names as in mots_png.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.mots import (
    IGNORED,
    LABELS,
    class_name,
    number_tracks,
    read_labels,
    write_labels,
)
from components.annotate.track_builder import Gathering, same_size
from components.core.records import masks
from components.core.records.annotations import AnnotationSet
from components.core.records.changes import Kind
from components.core.run.errors import AvisError
from components.core.run.files import new_folder, write_text

_LINE = re.compile(r"(\d{1,9}) (\d{1,9}) (\d{1,6}) (\d{1,6}) (\d{1,6}) (\S+)")
_FORM = "frame id class height width rle"


def _recognise(look: Look) -> str | None:
    if look.path.is_dir():
        files = [name for name in look.names if name.endswith(".txt") and Path(name).name != LABELS]
        if not files or any(not name.endswith(".txt") for name in look.names):
            return None
        with (look.path / files[0]).open("rb") as file:
            head = file.read(4096)
    elif look.path.suffix == ".txt":
        files, head = [look.path.name], look.head
    else:
        return None
    first = head.split(b"\n", 1)[0].decode("ascii", "replace").strip()
    # a line longer than what was read is cut, and still begins as one
    return f"text of lines `{_FORM}`, first in {files[0]}" if _LINE.fullmatch(first) else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering()
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in folder.rglob("*.txt") if file.name != LABELS) if path.is_dir() else [path]
    for file in files:
        labels = read_labels(file.parent, folder, gathering.changes)
        for label in labels.values():
            gathering.category(label)
        rows = list(_rows(file))
        if not rows:
            gathering.changes.add(Kind.DROPPED, "video", "its file holds no mask", example=str(file))
            continue
        sizes: dict[str, tuple[tuple[int, int], str]] = {}
        for where, frame, _, _, size, _ in rows:
            same_size(sizes, file.stem, size, f"frame {frame}", where)
        height, width = rows[0][4]
        length = max(row[1] for row in rows) + 1
        video = gathering.video(file.stem, height=height, width=width, length=length, where=str(file))
        for where, frame, number, kind, size, code in rows:
            if number == IGNORED or kind == IGNORED // 1000:
                gathering.changes.add(Kind.DROPPED, "region", "it is one to ignore (10000)", example=where)
                continue
            category = gathering.category(class_name(kind, labels, where))
            gathering.track(video, number, category, where)
            gathering.add(video, frame, number, {"size": list(size), "counts": code}, where)
    return Reading(gathering.finish(str(path)), gathering.changes)


def _rows(file: Path) -> Iterator[tuple[str, int, int, int, tuple[int, int], str]]:
    """(where, frame, id, class, (height, width), code) of each line."""
    with file.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{file}, line {number}"
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise AvisError(f"The line is not `{_FORM}`: {line[:60]!r}", where=where)
            frame, identity, kind, height, width = (int(match[n]) for n in range(1, 6))
            yield where, frame, identity, kind, (height, width), match[6]


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    numbers = number_tracks(annotations, path)
    if all(masks.is_empty(mask) for track in annotations.tracks for mask in track.segmentations):
        raise AvisError("There is no mask, and this format holds nothing else", where=str(path))
    classes = {category: number for number, category in enumerate(annotations.categories, start=1)}
    with new_folder(path) as folder:
        write_labels(folder / LABELS, annotations)
        for video in annotations.videos:
            tracks = [track for track in annotations.tracks if track.video_id == video.id]
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
