"""What a format cannot hold of annotations, said before it is lost."""

from collections.abc import Callable, Sequence
from typing import Any

from components.core.records.annotations import AnnotationSet, PictureNames
from components.core.records.masks import is_empty


def cannot_hold(holds: frozenset[str], annotations: AnnotationSet) -> list[str]:
    """A sentence for each thing in the annotations that a format holding these PARTS will not give back."""
    said = []
    for part, lost in PARTS.items():
        if part not in holds:
            sentence = lost(annotations)
            if sentence:
                said.append(sentence)
    return said


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "1 track", "3 tracks"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def are(number: int) -> str:
    """The verb that goes with `count`."""
    return "is" if number == 1 else "are"


def _polygons(annotations: AnnotationSet) -> str | None:
    number = sum(isinstance(s, list) and bool(s) for t in annotations.tracks for s in t.segmentations)
    return f"the polygons of {count(number, 'frame')} become masks of the same pixels" if number else None


def _ids(what: str, ids: list[int]) -> str | None:
    if ids == list(range(1, len(ids) + 1)):
        return None
    return f"the ids of {what} are not kept: they are numbered anew from 1"


def _crowd(annotations: AnnotationSet) -> str | None:
    number = sum(bool(track.iscrowd) for track in annotations.tracks)
    return f"{count(number, 'track')} marked as crowd (iscrowd) lose that mark" if number else None


def _sounding(annotations: AnnotationSet) -> str | None:
    number = sum(track.sounding is not None for track in annotations.tracks)
    return f"the sounding intervals of {count(number, 'track')} are not held" if number else None


def _annotator(annotations: AnnotationSet) -> str | None:
    number = sum(bool(track.annotator) for track in annotations.tracks)
    return f"the annotator's name of {count(number, 'track')} is not held" if number else None


def _is_bare(segmentations: Sequence[Any]) -> bool:
    return all(is_empty(segmentation) for segmentation in segmentations)


def _bare_tracks(annotations: AnnotationSet) -> str | None:
    number = sum(_is_bare(track.segmentations) for track in annotations.tracks)
    return f"{count(number, 'track')} without any mask {are(number)} left out" if number else None


def _bare_videos(annotations: AnnotationSet) -> str | None:
    shown = {track.video_id for track in annotations.tracks if not _is_bare(track.segmentations)}
    number = sum(video.id not in shown for video in annotations.videos)
    return f"{count(number, 'video')} without any mask {are(number)} left out" if number else None


def _unused_categories(annotations: AnnotationSet) -> str | None:
    used = {track.category_id for track in annotations.tracks if not _is_bare(track.segmentations)}
    unused = [name for number, name in annotations.categories.items() if number not in used]
    return f"categories that no mask has are left out: {', '.join(unused)}" if unused else None


def _categories(annotations: AnnotationSet) -> str | None:
    names = sorted({annotations.categories[track.category_id] for track in annotations.tracks})
    return f"the categories are not held: {', '.join(names)}" if names else None


def _lengths(annotations: AnnotationSet) -> str | None:
    last: dict[int, int] = {}
    for track in annotations.tracks:
        shown = [k for k, segmentation in enumerate(track.segmentations) if not is_empty(segmentation)]
        last[track.video_id] = max([last.get(track.video_id, 0), *(k + 1 for k in shown)])
    number = sum(video.length > last.get(video.id, 0) for video in annotations.videos)
    return f"the frames after the last mask are not held, in {count(number, 'video')}" if number else None


def _file_names(annotations: AnnotationSet) -> str | None:
    number = sum(video.file_names != PictureNames(video.name, video.length) for video in annotations.videos)
    return f"the names of the frames' pictures are not held, in {count(number, 'video')}" if number else None


def _info(annotations: AnnotationSet) -> str | None:
    return f"the field info ({', '.join(annotations.info)}) is not held" if annotations.info else None


# In the order in which they are said; `Format.holds` names these.
PARTS: dict[str, Callable[[AnnotationSet], str | None]] = {
    "categories": _categories,
    "polygons": _polygons,
    "lengths": _lengths,
    "videos without masks": _bare_videos,
    "tracks without masks": _bare_tracks,
    "unused categories": _unused_categories,
    "sounding": _sounding,
    "annotator": _annotator,
    "crowd": _crowd,
    "track ids": lambda annotations: _ids("tracks", [track.id for track in annotations.tracks]),
    "category ids": lambda annotations: _ids("categories", list(annotations.categories)),
    "video ids": lambda annotations: _ids("videos", [video.id for video in annotations.videos]),
    "frame names": _file_names,
    "info": _info,
}
