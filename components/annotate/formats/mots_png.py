"""MOTS PNG: a folder per video, a 16 bit picture per frame, pixel = class * 1000 + instance.

10000 is an "ignore" region: left out, said. The classes' names stand in labels.txt, a line each, the first is
class 1; without it they are those of KITTI MOTS, 1 car and 2 pedestrian, which is said. Layouts:
<video>/000000.png (KITTI's instances/), and <subset>/instances/ (Datumaro, CVAT) with labels.txt and the
pictures of one video, or a folder of pictures per video.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.folders import files_below
from components.annotate.parsing.frame_names import any_is_0
from components.annotate.parsing.label_pictures import by_video, painted, picture_mode, read_pictures, unnamed
from components.annotate.parsing.mots import (
    LABELS,
    class_name,
    is_ignored,
    number_tracks,
    read_labels,
    write_labels,
)
from components.annotate.track_builder import Gathering
from components.core.records.annotations import AnnotationSet
from components.core.records.changes import Kind
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.core.run.files import new_folder


def _recognise(look: Look) -> str | None:
    pictures = [name for name in look.names if name.lower().endswith(".png")]
    if not pictures or not picture_mode(look.path / pictures[0]).startswith("I"):
        return None
    return f"a folder with PNG pictures of 16 bits, first {pictures[0]}"


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    names = files_below(path, [".png"])
    from_0 = any_is_0(Path(name).stem for name in names)
    folders = by_video(names)
    without_name = unnamed(folders)
    for folder, pictures in folders.items():
        labels = read_labels(path / folder, path, gathering.changes)
        for number, label in labels.items():
            if not is_ignored(number, labels):
                gathering.category(label, None if number in gathering.categories else number)
        plain = [part for part in Path(folder).parts if part != "instances"]
        name = hints.name if folder in without_name else plain[-1]
        video, frames = read_pictures(
            gathering, path, folder, pictures, name, extracted=hints.lengths.get(name), from_0=from_0
        )
        for k, where, pixels in frames:
            for number in np.unique(pixels).tolist():
                if number and is_ignored(number // 1000, labels):
                    gathering.changes.add(
                        Kind.DROPPED, "region", f"it is one to ignore ({number})", example=where
                    )
                elif 0 < number < 1000:
                    raise AvisError(
                        f"A pixel of 16 bits is {number}, and class * 1000 + instance is at least 1000",
                        where=where,
                        fix="If pixel n belongs to object n, save the pictures with 8 bits: that is DAVIS.",
                    )
                elif number:
                    category = gathering.category(class_name(number // 1000, labels, where))
                    gathering.track(video, number, category, where)
                    gathering.add(video, k, number, encode(pixels == number), where)
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    numbers = number_tracks(annotations, path)
    lost: list[str] = []
    with new_folder(path) as folder:
        write_labels(folder / LABELS, annotations)
        for video, k, canvas in painted(annotations, numbers, lost):
            (folder / video.name).mkdir(exist_ok=True)
            Image.fromarray(canvas.astype(np.uint16)).save(folder / video.name / f"{k:06d}.png")
    return lost


FORMAT = Format(
    name="mots_png",
    description="MOTS PNG: a folder of <video>/000000.png, 16 bits of class * 1000 + instance; labels.txt",
    recognise=_recognise,
    read=_read,
    write=_write,
    holds=frozenset({"categories", "lengths", "videos without masks", "unused categories"}),
    one_object_a_pixel=True,
)
