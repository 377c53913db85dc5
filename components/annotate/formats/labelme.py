"""LabelMe: a folder with a JSON file per frame; shapes of one label and `group_id` are one object over time.

Read: polygons, and masks (a PNG in base64, placed by the box in `points`). A video is a folder of frames;
pictures beside the files tell its length where files of its last frames are missing, failing these its media.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.annotate.clock import clock_of
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, numbers, text, whole
from components.annotate.parsing.folders import files_below
from components.annotate.parsing.foreign_rows import drawn, names_of_folders
from components.annotate.parsing.frame_names import FrameNames, any_is_0
from components.annotate.parsing.label_pictures import UNREADABLE, frame_number
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, same_size
from components.core.records.annotations import Video
from components.core.records.changes import Kind
from components.core.records.json_rows import first_keys, read_object
from components.core.records.masks import MOST_PIXELS, encode
from components.core.run.errors import AvisError

_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_FIELDS = {"shapes", "imagePath"}


def _recognise(look: Look) -> str | None:
    if set(look.keys) >= _FIELDS:
        return "a JSON object with shapes and imagePath"
    files = [name for name in look.names if name.endswith(".json")]
    if files and set(first_keys(look.path / files[0])) >= _FIELDS:
        return f"a folder of JSON files with shapes and imagePath, first {files[0]}"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    if path.is_file():
        raise AvisError(
            "A file of LabelMe is one frame, which tells no objects over time",
            where=str(path),
            fix="Name the folder with the files of all frames.",
        )
    gathering = Gathering(hints.work, hints.effort)
    files: dict[str, list[Path]] = {}
    for file in files_below(path, [".json"]):
        files.setdefault(file.rpartition("/")[0], []).append(path / file)
    names = names_of_folders(files, gathering.changes)
    from_0 = any_is_0(Path(name).stem for name in files_below(path, {".json", *_PICTURES}))
    for folder, of_video in files.items():
        _read_video(gathering, path / folder, of_video, names[folder] or hints.name, hints, from_0)
    return Reading(gathering.finish(str(path)), gathering.changes, gathering.clocks)


def _read_video(
    gathering: Gathering, folder: Path, files: list[Path], name: str, hints: Hints, from_0: bool
) -> None:
    frames: dict[int, Path] = {}
    alike = FrameNames()
    for file in files:
        number = frame_number(alike, name, file)
        if number in frames:
            raise AvisError(f"Frame {number} is there twice", where=str(folder))
        frames[number] = file
    beside = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _PICTURES and alike.fits(name, file.stem)
    ]
    known = {frame_number(alike, name, file): file.name for file in (*beside, *files)}
    first = first_number(
        known, None, gathering.changes, name, pictures=hints.lengths.get(name), from_0=from_0
    )
    sizes: dict[str, tuple[tuple[int, int], str]] = {}
    rows = []
    for number, file in sorted(frames.items()):
        document = read_object(file, "annotations")
        row = {key: document.value(key) for key in ("shapes", "imageHeight", "imageWidth")}
        size = whole(row, "imageHeight", str(file)), whole(row, "imageWidth", str(file))
        same_size(sizes, name, size, file.name, str(folder))
        if not isinstance(row["shapes"], list):
            raise AvisError("The list 'shapes' is missing", where=str(file))
        for k, shape in enumerate(row["shapes"]):
            where = f"{file}, shapes[{k}]"
            rows.append((number - first, mapping(shape, where), where))
    height, width = sizes[name][0]
    # nobody writes a file of a frame in which nothing was drawn: of the last ones the media tell
    length = max(max(known) + 1 - first, hints.lengths.get(name, 0))
    video = gathering.video(name, height=height, width=width, length=length, where=str(folder))
    present = {number - first for number in frames}
    clock = note_missing_frames(gathering.changes, video.name, present, length)
    pictures = clock_of({number - first for number in known})  # one without a file has no shape
    gathering.clocks[video.name] = clock if pictures.every == 1 else pictures
    for frame, shape, where in rows:
        _add(gathering, video, frame, shape, where)
    if rows and all(shape.get("group_id") is None for _, shape, _ in rows):
        raise AvisError(
            f"No shape of the video {name!r} has a group_id: nothing tells which are one object over time",
            where=str(folder),
            fix="Give the shapes of an object the same Group ID (Edit Label) in all frames.",
        )


def _add(gathering: Gathering, video: Video, frame: int, shape: Mapping[str, Any], where: str) -> None:
    kind = shape.get("shape_type") or "polygon"
    if kind not in ("polygon", "mask"):
        gathering.leave_out(video.name, str(kind), "it is neither a mask nor a polygon", where)
        return
    if shape.get("group_id") is None:
        gathering.changes.add(Kind.DROPPED, "mask", "it has no group_id, so it is of no track", example=where)
        return
    flags = shape.get("flags")
    for flag in [name for name, is_set in flags.items() if is_set] if isinstance(flags, Mapping) else ():
        example = f"{where}, flag {flag}"
        gathering.changes.add(Kind.DROPPED, "flag", "a track has no place for it", example=example)
    if shape.get("description"):
        gathering.changes.add(Kind.DROPPED, "description", "a track has no place for it", example=where)
    label, group = text(shape, "label", where), whole(shape, "group_id", where)
    key = f"{label} {group}"
    gathering.track(video, key, gathering.category(label), where)
    points = shape.get("points")
    if not isinstance(points, list):
        raise AvisError("The list 'points' is missing", where=where)
    corners = [numbers(point, where) for point in points]
    if any(len(corner) != 2 for corner in corners):
        raise AvisError("A point is not [x, y]", where=where)
    segmentation: Any
    if kind == "polygon":
        polygon = [value for corner in corners for value in corner]
        segmentation = drawn([polygon], gathering.changes, where)
    else:
        segmentation = encode(_placed(shape, corners, video, where))
    gathering.add(video, frame, key, segmentation, where)


def _placed(
    shape: Mapping[str, Any], corners: list[list[float]], video: Video, where: str
) -> NDArray[np.bool_]:
    """The pixels of a mask, [H, W] of the frame; its box holds both corners."""
    try:
        code = base64.b64decode(text(shape, "mask", where), validate=True)
        with Image.open(io.BytesIO(code)) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise AvisError(f"The mask has {picture.width}x{picture.height} pixels", where=where)
            pixels = np.asarray(picture.convert("L")) > 0
    except UNREADABLE as error:
        raise AvisError(f"The mask is no picture in base64: {error}", where=where) from None
    left, top = (int(value) for value in corners[0]) if len(corners) == 2 else (-1, -1)
    height, width = pixels.shape
    if corners and (len(corners) != 2 or corners[1] != [left + width - 1, top + height - 1]):
        raise AvisError(
            f"A mask of {width}x{height} pixels does not fill the box of its points, {corners}", where=where
        )
    if min(left, top) < 0 or left + width > video.width or top + height > video.height:
        raise AvisError(
            f"A mask's box reaches outside the frame of {video.width}x{video.height}", where=where
        )
    mask = np.zeros((video.height, video.width), dtype=bool)
    mask[top : top + height, left : left + width] = pixels
    return mask


FORMAT = Format(
    name="labelme",
    description="LabelMe: a folder of JSON files, one a frame, with polygons and masks that have a group_id",
    recognise=_recognise,
    read=_read,
)
