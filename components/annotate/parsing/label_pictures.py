"""Label pictures (PNG, a number per pixel), as DAVIS and MOTS have them: one object per pixel."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from components.annotate.capabilities import count
from components.annotate.parsing.frame_names import FrameNames
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, same_size
from components.core.records.annotations import AnnotationSet, Track, Video, tracks_by_video
from components.core.records.masks import MOST_PIXELS, decode
from components.core.run.errors import AvisError

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises
_MOST_SHADES = 64
_OBJECT = re.compile(r"\d{3}")  # SAM 2's folder of an object
_SETS = {
    "default",
    "train", "training", "val", "valid", "validation", "test", "testing", "masks", "labels", "annotations",
    "annotations_unsupervised", "gt", "480p", "720p", "1080p", "full-resolution",
}  # fmt: skip


def frame_number(names: FrameNames, video: str, file: Path) -> int:
    """The number in a picture's name; raises AvisError where there is none, or it may not be the frame's."""
    number = names.number(video, file.stem, str(file))
    if number is None:
        raise AvisError("The picture's name tells no frame", where=str(file), fix="Name it 00000.png.")
    return number


def picture_mode(file: Path) -> str:
    """How a PNG holds its pixels: "P", "L", "I;16", …; "" where it is no picture."""
    try:
        with Image.open(file) as picture:
            return picture.mode if picture.format == "PNG" else ""
    except UNREADABLE:
        return ""


def picture_size(file: Path) -> tuple[int, int]:
    """Height and width; raises AvisError where it is no picture."""
    try:
        with Image.open(file) as picture:
            return picture.height, picture.width
    except UNREADABLE as error:
        raise AvisError(f"The picture cannot be read: {error}", where=str(file)) from None


def is_shaded(file: Path) -> bool:
    """Whether a picture has shades of gray and no numbers of objects: a frame, or masks with soft edges."""
    try:
        return picture_mode(file) == "L" and _are_shades(read_numbers(file))
    except AvisError:
        return False


def refuse_shades(file: Path, numbers: NDArray[np.int64]) -> None:
    """Raise AvisError where a picture's numbers are shades of gray, `numbers` [H, W]."""
    if _are_shades(numbers) and picture_mode(file) == "L":
        found = np.unique(numbers)
        raise AvisError(
            f"The picture has {len(found)} gray levels from {found[0]} to {found[-1]}: these are shades, and "
            "no numbers of objects",
            where=str(file),
            fix="A mask's edges are soft where it was scaled or saved with losses: take 0 and 255 alone, or "
            "save the objects' numbers with a palette. If the pictures are frames, name the file of labels.",
        )


def _are_shades(numbers: NDArray[np.int64]) -> bool:
    """No object is numbered 128 or more beside void (255), and no frame shows over 64."""
    found = np.unique(numbers)
    between = found[(found >= 128) & (found < 255)]
    return len(found) > _MOST_SHADES or (found[-1] == 255 and len(between) > 0)


def read_numbers(file: Path) -> NDArray[np.int64]:
    """The number of each pixel, [H, W].

    Raises:
        AvisError: it is no PNG with one number per pixel, or too large.
    """
    try:
        with Image.open(file) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise AvisError(f"The picture has {picture.width}x{picture.height} pixels", where=str(file))
            if picture.format != "PNG" or picture.mode not in ("P", "L", "1", "I;16", "I"):
                raise AvisError(
                    f"The picture is no PNG with one number per pixel ({picture.format}, {picture.mode})",
                    where=str(file),
                    fix="Save it with a palette, in gray levels, or with 16 bits.",
                )
            return np.asarray(picture).astype(np.int64)
    except UNREADABLE as error:
        raise AvisError(f"The picture cannot be read: {error}", where=str(file)) from None


def painted(
    annotations: AnnotationSet, numbers: dict[int, int], overlaps: list[str]
) -> Iterator[tuple[Video, int, NDArray[np.int64]]]:
    """Each frame of each video with the tracks' numbers painted on it, [H, W]; 0 is background.

    Where masks overlap, the smaller one is taken to be in front.

    Args:
        numbers: by track id.
        overlaps: gets a sentence if pixels were given to one of several tracks.
    """
    lost = frames = 0
    tracks_of = tracks_by_video(annotations)
    for video in annotations.videos:
        tracks = tracks_of[video.id]
        for k in range(video.length):
            canvas = np.zeros((video.height, video.width), dtype=np.int64)
            masks = [(_mask(track, k, video), track) for track in tracks if track.segmentations[k]]
            covered = 0
            for mask, track in sorted(masks, key=lambda entry: -int(np.count_nonzero(entry[0]))):
                covered += int(np.count_nonzero(mask))
                canvas[mask] = numbers[track.id]
            missing = covered - int(np.count_nonzero(canvas))
            lost, frames = lost + missing, frames + bool(missing)
            yield video, k, canvas
    if lost:
        overlaps.append(
            f"masks overlap in {count(frames, 'frame')}: {count(lost, 'pixel')} went to the smaller alone"
        )


def _mask(track: Track, k: int, video: Video) -> NDArray[np.bool_]:
    segmentation: Any = track.segmentations[k]
    return decode(segmentation, video.height, video.width)


def unnamed(folders: Iterable[str]) -> set[str]:
    """Folders of pictures that are called as a part of a data set, and so name no video: default/instances.

    Raises:
        AvisError: there are several, and nothing else to call their videos by.
    """
    found = [folder for folder in folders if _last_name(folder).lower() in {"", "instances", *_SETS}]
    if len(found) > 1:
        first, second = found[:2]
        raise AvisError(
            f"The folders {first!r} and {second!r} hold pictures and are called as parts of a data set: "
            "nothing tells their videos",
            fix="Put the pictures of each video into a folder that is called as it is.",
        )
    return set(found)


def _last_name(folder: str) -> str:
    names = [name for name in PurePosixPath(folder).parts if name != "instances"]
    return names[-1] if names else ""


def are_objects(folders: Iterable[str]) -> bool:
    """Whether the pictures of each folder show one object, as SA-V has them: <video>/<object>/00000.png.

    Videos may be called by numbers, too; then the folder above is that of a set, such as train.
    """
    parts = [PurePosixPath(folder).parts for folder in folders]
    if any(len(names) > 1 and names[-1].isdigit() and names[-2].lower() not in _SETS for names in parts):
        return True
    return all(len(names) == 1 and _OBJECT.fullmatch(names[0]) for names in parts)


def by_video(names: Sequence[str], endings: Sequence[str] = (".png",)) -> dict[str, list[str]]:
    """Names of pictures by the folder that they lie in, in order."""
    found: dict[str, list[str]] = {}
    for name in names:
        if name.lower().endswith(tuple(endings)):
            found.setdefault(name.rpartition("/")[0], []).append(name)
    return found


def read_pictures(
    gathering: Gathering,
    root: Path,
    folder: str,
    pictures: Sequence[str],
    name: str,
    *,
    extracted: int | None,
    from_0: bool,
) -> tuple[Video, Iterator[tuple[int, str, NDArray[np.int64]]]]:
    """A video of label pictures, added to the gathering, and (frame, place, numbers [H, W]) of each picture.

    Args:
        pictures: their names, relative to `root`.
        name: of the video.
        extracted: how many pictures were extracted of the video, where that is known.
        from_0: a video of the source has a frame 0, so all count from 0.

    Raises:
        AvisError: two pictures are of one frame, or of two sizes.
    """
    where = f"{root}/{folder}" if folder else str(root)
    frames: dict[int, str] = {}
    alike = FrameNames()
    for picture in pictures:
        number = frame_number(alike, name, root / picture)
        if number in frames:
            raise AvisError(f"Frame {number} is there twice", where=where)
        frames[number] = picture
    first = first_number(frames, None, gathering.changes, name, pictures=extracted, from_0=from_0)
    frames = {number - first: picture for number, picture in frames.items()}
    height, width = read_numbers(root / pictures[0]).shape
    video = gathering.video(name, height=height, width=width, length=max(frames) + 1, where=where)
    clock = note_missing_frames(gathering.changes, video.name, set(frames), video.length)
    gathering.clocks[video.name] = clock

    def read() -> Iterator[tuple[int, str, NDArray[np.int64]]]:
        sizes: dict[str, tuple[tuple[int, int], str]] = {}
        for k, picture in sorted(frames.items()):
            numbers = read_numbers(root / picture)
            same_size(sizes, video.name, (numbers.shape[0], numbers.shape[1]), picture, where)
            yield k, f"{root}/{picture}", numbers

    return video, read()
