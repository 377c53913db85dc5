"""What both MOTS formats share: the numbers of objects, and the names of their classes."""

import re
from pathlib import Path

from components.core.records.annotations import AnnotationSet
from components.core.records.changes import Changes, Kind
from components.core.run.errors import AvisError
from components.core.run.files import write_text

IGNORED = 10_000
LABELS = "labels.txt"
_NUMBERED = re.compile(r"(\d{1,4})\s*[\s:,=]\s*(\S.*)")
_KITTI = {1: "car", 2: "pedestrian"}
_MOST_INSTANCES, _MOST_CLASSES = 999, 64  # 16 bits hold 65,535
_LONGEST_LABELS = 1 << 20  # bytes


def labels_of(folder: Path, root: Path) -> Path | None:
    """The labels.txt nearest above the pictures in `folder`, up to `root`."""
    above = [place for place in folder.parents if place.is_relative_to(root)]
    return next((file for place in (folder, *above) if (file := place / LABELS).is_file()), None)


def read_labels(folder: Path, root: Path, changes: Changes) -> dict[int, str]:
    """Class names by number, of the labels.txt nearest above the pictures, up to `root`; else KITTI's.

    Args:
        changes: is told once where the names are KITTI's.

    A line is a class, the first is class 1; lines that all begin with a number tell the class themselves.

    Raises:
        AvisError: the file is no list of names, a name stands twice, or it begins with "background".
    """
    file = labels_of(folder, root)
    if file is not None:
        if file.stat().st_size > _LONGEST_LABELS:
            raise AvisError("The file of class names is too large", where=str(file))
        try:
            names = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n")]
        except UnicodeDecodeError:
            raise AvisError("The class names are not UTF-8 text", where=str(file)) from None
        return _numbered([name for name in names if name], str(file))
    if not changes.count("category", [Kind.GUESSED]):
        why = "there is no labels.txt, the names are those of KITTI MOTS"
        changes.add(Kind.GUESSED, "category", why, example=str(folder), count=len(_KITTI))
    return _KITTI


def _numbered(names: list[str], where: str) -> dict[int, str]:
    numbered = [match for name in names if (match := _NUMBERED.fullmatch(name)) is not None]
    labels = dict(enumerate(names, start=1))
    if numbered and len(numbered) == len(names):
        labels = {int(match[1]): match[2] for match in numbered}
    if len(set(labels.values())) < len(names):
        raise AvisError("A class name or number stands twice", where=where)
    if names and "color_rgb" in names[0]:
        raise AvisError(
            "This is the label map of Pascal VOC's pictures, which have no tracks",
            where=where,
            fix="Export MOTS PNG, or write the classes' names, a line each.",
        )
    if names and labels.get(1, "").lower() == "background" and len(numbered) < len(names):
        raise AvisError(
            "The class names begin with background: is it class 0 or class 1?",
            where=where,
            fix="Delete the line if it is class 0. If lines are counted from 1 with it, as Datumaro and CVAT "
            "do, call it otherwise.",
        )
    return labels


def is_ignored(kind: int, labels: dict[int, str]) -> bool:
    """Whether a class is that of regions to ignore: 10 where nothing else has it, or by its name."""
    return labels.get(kind, "ignored" if kind == IGNORED // 1000 else "").lower() in ("ignored", "ignore")


def class_name(number: int, labels: dict[int, str], where: str) -> str:
    """The name of a class; raises AvisError where none has this number."""
    if number not in labels:
        raise AvisError(
            f"There is no class {number}: known are {', '.join(f'{n} {name}' for n, name in labels.items())}",
            where=where,
            fix="Write the classes' names into labels.txt, a line each; the first is class 1.",
        )
    return labels[number]


def number_tracks(annotations: AnnotationSet, where: Path) -> dict[int, int]:
    """class * 1000 + instance by track id; instances are counted by video and class, from 1.

    Raises:
        AvisError: there are more classes or instances than the format holds.
    """
    if len(annotations.categories) > _MOST_CLASSES:
        raise AvisError(
            f"There are {len(annotations.categories)} categories, the format holds {_MOST_CLASSES}",
            where=str(where),
        )
    classes = {category: number for number, category in enumerate(annotations.categories, start=1)}
    used: dict[tuple[int, int], int] = {}
    numbers = {}
    for track in annotations.tracks:
        key = track.video_id, track.category_id
        used[key] = used.get(key, 0) + 1
        number = classes[track.category_id] * 1000 + used[key]
        if used[key] > _MOST_INSTANCES or number == IGNORED:
            raise AvisError(
                f"A video has over {_MOST_INSTANCES} tracks of {annotations.categories[track.category_id]}",
                where=str(where),
            )
        numbers[track.id] = number
    return numbers


def write_labels(path: Path, annotations: AnnotationSet) -> None:
    """Write labels.txt; raises AvisError where a name does not fit into a line."""
    for name in annotations.categories.values():
        if name != name.strip() or len(name.splitlines()) != 1:
            raise AvisError(f"The category {name!r} does not fit into a line", where=str(path))
    write_text(path, "".join(f"{name}\n" for name in annotations.categories.values()))
