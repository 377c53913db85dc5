"""DAVIS PNG: a folder per video, a palette picture per frame, pixel n belongs to object n.

Layouts: <video>/00000.png, below Annotations/480p/ or the like, too. There are no categories: all objects are
of the category "object", which a category map renames. 255 is "void": left out, unless a video has nothing
else (DAVIS 2016): then it is the object, which is said.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.folders import files_below
from components.annotate.parsing.frame_names import any_is_0
from components.annotate.parsing.label_pictures import (
    are_objects,
    by_video,
    is_shaded,
    painted,
    picture_mode,
    read_pictures,
    refuse_shades,
    unnamed,
)
from components.annotate.parsing.mots import labels_of
from components.annotate.track_builder import Gathering
from components.core.records.annotations import AnnotationSet, tracks_by_video
from components.core.records.changes import Kind
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.core.run.files import new_folder

CATEGORY = "object"
_VOID, _MOST_OBJECTS = 255, 254


def _recognise(look: Look) -> str | None:
    pictures = [name for name in look.names if name.lower().endswith(".png")]
    if not pictures or "instances" in Path(pictures[0]).parts:
        return None
    if _of_pascal_voc(pictures) is not None:
        return "a folder with Pascal VOC's SegmentationClass or SegmentationObject"
    first = look.path / pictures[0]
    if picture_mode(first) not in ("P", "L", "1"):
        return None
    if is_shaded(first) and any(name.lower().endswith((".json", ".xml")) for name in look.names):
        return None  # frames beside a file of labels
    folders = by_video(pictures)
    stems = {name[:-4] for name in pictures}
    if any(name.removesuffix(".json") in stems for name in look.names if name.endswith(".json")):
        return None  # the pictures are the frames
    if are_objects(folders):  # SA-V
        return None
    return f"a folder with PNG pictures of 8 bits, first {pictures[0]}"


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    category = gathering.category(CATEGORY)
    names = files_below(path, [".png"])
    from_0 = any_is_0(Path(name).stem for name in names)
    voc = _of_pascal_voc(names)
    if voc is not None:
        raise AvisError(
            "These are Pascal VOC's pictures: they number classes, or the objects of one picture, and do not "
            "tell which are one object over time",
            where=f"{path}/{voc}",
            fix="Export 'CVAT for video 1.1', 'COCO 1.0' or 'MOTS PNG'.",
        )
    folders = by_video(names)
    without_name = unnamed(folders)
    for file in sorted({file for folder in folders if (file := labels_of(path / folder, path))}):
        why = (
            "pictures of 8 bits number objects and no classes; those of MOTS have 16, and where a tool cut "
            "them to 8, several objects may have become one"
        )
        gathering.changes.add(Kind.DROPPED, "file of classes", why, example=str(file))
    for folder, pictures in folders.items():
        voids: list[tuple[int, str, dict[str, Any]]] = []
        objects = 0
        name = hints.name if folder in without_name else Path(folder).name
        extracted = hints.lengths.get(name)
        video, frames = read_pictures(
            gathering, path, folder, pictures, name, extracted=extracted, from_0=from_0
        )
        for k, where, pixels in frames:
            refuse_shades(Path(where), pixels)
            for number in np.unique(pixels).tolist():
                if number == _VOID:
                    voids.append((k, where, encode(pixels == _VOID)))
                elif number:
                    objects += 1
                    gathering.track(video, number, category, where)
                    gathering.add(video, k, number, encode(pixels == number), where)
        for k, where, code in voids:
            if objects:
                gathering.changes.add(Kind.DROPPED, "region", "it is void (255)", example=where)
                continue
            why = "all of its video's pixels are 0 or 255, which is taken for the object and not for void"
            gathering.changes.add(Kind.GUESSED, "mask", why, example=where)
            gathering.track(video, _VOID, category, where)
            gathering.add(video, k, _VOID, code, where)
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _of_pascal_voc(names: Iterable[str]) -> str | None:
    """The first picture in a folder of Pascal VOC's."""
    folders = {"SegmentationClass", "SegmentationObject"}
    return next((name for name in names if folders & set(Path(name).parts[:-1])), None)


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    numbers: dict[int, int] = {}
    tracks_of = tracks_by_video(annotations)
    for video in annotations.videos:
        ids = [track.id for track in tracks_of[video.id]]
        if len(ids) > _MOST_OBJECTS:
            raise AvisError(
                f"The video {video.name!r} has {len(ids)} tracks, the format holds {_MOST_OBJECTS}",
                where=str(path),
            )
        numbers |= {track_id: number for number, track_id in enumerate(ids, start=1)}
    lost: list[str] = []
    with new_folder(path) as folder:
        for video, k, canvas in painted(annotations, numbers, lost):
            picture = Image.fromarray(canvas.astype(np.uint8), mode="P")
            picture.putpalette(_palette())
            (folder / video.name).mkdir(exist_ok=True)
            picture.save(folder / video.name / f"{k:05d}.png")
    return lost


def _palette() -> list[int]:
    """The colours of PASCAL VOC, which DAVIS takes too: the number's bits, dealt out to red, green, blue."""
    colours = []
    for number in range(256):
        red = green = blue = 0
        rest = number
        for bit in range(7, -1, -1):
            red |= (rest & 1) << bit
            green |= (rest >> 1 & 1) << bit
            blue |= (rest >> 2 & 1) << bit
            rest >>= 3
        colours += [red, green, blue]
    return colours


FORMAT = Format(
    name="davis",
    description="DAVIS: a folder of <video>/00000.png, palette pictures in which pixel n belongs to object n",
    recognise=_recognise,
    read=_read,
    write=_write,
    holds=frozenset({"lengths", "videos without masks"}),
    one_object_a_pixel=True,
)
