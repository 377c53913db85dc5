"""SA-V: a JSON file per video of the training set, `<video>_manual.json` or `<video>_auto.json`.

`masklet` has a list of COCO run lengths per annotated frame (6 a second), one for each of `masklet_id`. The
folders of SA-V's val and test sets and of SAM 2's own output, <video>/<object>/00000.png, are read too, also
those of one video, <object>/00000.png. There are no categories.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from components.annotate.clock import Clock
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, text, whole
from components.annotate.parsing.folders import files_below
from components.annotate.parsing.frame_names import FrameNames, any_is_0
from components.annotate.parsing.label_pictures import (
    are_objects,
    by_video,
    frame_number,
    is_shaded,
    picture_mode,
    read_numbers,
)
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, same_size
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, tracks_by_video
from components.core.records.changes import Kind
from components.core.records.json_rows import read_object
from components.core.run.errors import AvisError
from components.core.run.files import new_folder, write_text

CATEGORY = "object"


def _recognise(look: Look) -> str | None:
    if {"masklet", "masklet_id"} <= set(look.keys):
        return "a JSON object with masklet"
    pictures = [name for name in look.names if name.lower().endswith(".png")]
    if not pictures or not are_objects(by_video(pictures)):
        return None
    first = look.path / pictures[0]
    if picture_mode(first) not in ("P", "L", "1") or is_shaded(first):
        return None
    return f"a folder with a folder of PNG pictures for each object, first {pictures[0]}"


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    return _read_folder(path, hints) if path.is_dir() else _read_file(path, hints)


def _read_file(path: Path, hints: Hints) -> Reading:
    document = read_object(path, "annotations")
    row = {key: document.value(key) for key in ("video_id", "video_height", "video_width", "masklet_id")}
    ids = row["masklet_id"]
    if (
        not isinstance(ids, list)
        or any(type(number) is not int for number in ids)
        or len(set(ids)) < len(ids)
    ):
        raise AvisError("These are no ids, or one stands twice", where=f"{path}, field masklet_id")
    gathering = Gathering(hints.work, hints.effort)
    category = gathering.category(CATEGORY)
    frames = list(document.rows("masklet"))
    video = gathering.video(
        text(row, "video_id", str(path)),
        height=whole(row, "video_height", str(path)),
        width=whole(row, "video_width", str(path)),
        length=len(frames),
        where=str(path),
    )
    for number in ids:
        gathering.track(video, number, category, str(path))
    for k, (where, of_frame) in enumerate(frames):
        if not isinstance(of_frame, list) or len(of_frame) != len(ids):
            raise AvisError(f"The frame has no mask for each of the {len(ids)} masklets", where=where)
        for number, code in zip(ids, of_frame, strict=True):
            at = f"{where}, masklet {number}"
            if code is not None and not masks.is_empty(_checked(code, video.height, video.width, at)):
                gathering.add(video, k, number, code, at)
    return Reading(gathering.finish(str(path)), gathering.changes)


def _checked(code: Any, height: int, width: int, where: str) -> Any:
    """A run-length code that decodes."""
    mapping(code, where)
    try:
        return masks.compress(code, height, width)
    except AvisError as error:
        raise AvisError(error.what, where=where, fix=error.fix) from None


def _read_folder(path: Path, hints: Hints) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    category = gathering.category(CATEGORY)
    names = files_below(path, [".png"])
    from_0 = any_is_0(Path(name).stem for name in names)
    alike = FrameNames()
    objects: dict[str, dict[int, dict[int, str]]] = {}  # pictures by video, object and frame
    for folder, pictures in by_video(names).items():
        parts = Path(folder).parts
        if not parts or not parts[-1].isascii() or not parts[-1].isdigit():
            raise AvisError("The folder is not <video>/<object>", where=f"{path}/{folder}")
        name, number = parts[-2] if len(parts) > 1 else hints.name, int(parts[-1])
        if len(parts) == 1 and parts[0] in hints.sizes and name not in hints.sizes:
            raise AvisError(
                f"The folder {parts[0]!r} is called as a video with media, and by a number as objects are",
                where=f"{path}/{parts[0]}",
                fix="If it is a video, name the format: davis. If it is an object, put the folders of all "
                "objects into one that is called as their video.",
            )
        if len(parts) == 1 and name not in objects:
            why = "its folders are numbers, taken for the objects of one video"
            gathering.changes.add(Kind.GUESSED, "video", why, example=f"{path}, {parts[-1]}/")
        shown = {frame_number(alike, name, path / picture): picture for picture in pictures}
        if len(shown) < len(pictures) or number in objects.get(name, {}):
            raise AvisError("A frame or an object is there twice", where=f"{path}/{folder}")
        objects.setdefault(name, {})[number] = shown
    for name, tracks in objects.items():
        files = {k: picture for pictures in tracks.values() for k, picture in pictures.items()}
        frames, step = sorted(files), _step(files)
        begin = (
            frames[0] % step
            if step > 1
            else first_number(
                files, None, gathering.changes, name, pictures=hints.lengths.get(name), from_0=from_0
            )
        )
        length = (frames[-1] - begin) // step + 1
        where = f"{path}/{name}"
        sizes: dict[str, tuple[tuple[int, int], str]] = {}
        first = next(iter(next(iter(tracks.values())).values()))
        height, width = read_numbers(path / first).shape
        video = gathering.video(name, height=height, width=width, length=length, where=where)
        if step > 1:
            gathering.changes.add(
                Kind.RENAMED,
                "frame",
                "annotated frames, numbered with gaps in the source, are numbered from 0 without",
                example=f"{name}: {frames[0]}, {frames[1]}, … to 0, 1, …",
                count=len(frames),
            )
        note_missing_frames(gathering.changes, name, {(k - begin) // step for k in frames}, length)
        gathering.clocks[name] = Clock(begin, step)
        for number, shown in sorted(tracks.items()):
            gathering.track(video, number, category, where)
            for frame, picture in sorted(shown.items()):
                at = f"{path}/{picture}"
                pixels = read_numbers(path / picture)
                same_size(sizes, name, (pixels.shape[0], pixels.shape[1]), picture, where)
                if len(np.unique(pixels[pixels > 0])) > 1:
                    raise AvisError(
                        "The picture numbers several objects, its folder stands for one",
                        where=at,
                        fix="If its folder is a video, name the format davis.",
                    )
                if pixels.any():
                    gathering.add(video, (frame - begin) // step, number, masks.encode(pixels > 0), at)
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _step(numbers: Iterable[int]) -> int:
    """How far apart the annotated frames are: what divides all distances, 1 where there is one frame."""
    first = min(numbers)
    return math.gcd(*(number - first for number in numbers)) or 1


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    tracks_of = tracks_by_video(annotations)
    with new_folder(path) as folder:
        for video in annotations.videos:
            tracks = tracks_of[video.id]
            masklet = []
            for k in range(video.length):
                codes = []
                for track in tracks:
                    mask = masks.decode(track.segmentations[k], video.height, video.width)
                    codes.append(masks.encode(mask))
                masklet.append(codes)
            shown = [
                [k for k, mask in enumerate(t.segmentations) if not masks.is_empty(mask)] for t in tracks
            ]
            document = {
                "video_id": video.name,
                "video_frame_count": float(video.length),
                "video_height": float(video.height),
                "video_width": float(video.width),
                "video_resolution": float(video.height * video.width),
                "masklet": masklet,
                "masklet_id": [track.id for track in tracks],
                "masklet_first_appeared_frame": [frames[0] if frames else 0 for frames in shown],
                "masklet_frame_count": [video.length] * len(tracks),
                "masklet_type": ["manual"] * len(tracks),
                "masklet_num": len(tracks),
            }
            target = folder / f"{video.name}_manual.json"
            write_text(target, json.dumps(document, separators=(",", ":")) + "\n")
    return []


FORMAT = Format(
    name="sav",
    description="SA-V: a folder of <video>_manual.json with masklet; <video>/<object>/00000.png is read",
    recognise=_recognise,
    read=_read,
    write=_write,
    holds=frozenset({"lengths", "videos without masks", "tracks without masks", "track ids"}),
)
