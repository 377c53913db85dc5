"""COCO, YouTube-VIS and CVAT: files that annotation tools and evaluators read, by the annotate writers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.errors import AvisError
from components.tools.prediction.names import plain_name
from components.tools.prediction.saving import Saver

if TYPE_CHECKING:
    from components.core.records.annotations import AnnotationSet
    from components.core.video.tracks import VideoTracks


def as_annotations(found: VideoTracks) -> AnnotationSet:
    """The objects as tracks of one annotated video; its frames are called as extract calls them."""
    from components.core.records.annotations import AnnotationSet, Track, Video

    name = plain_name(Path(found.name).stem)
    files = [f"{name}/{frame:05d}.jpg" for frame in range(found.frames)]
    video = Video(1, name, files, found.frames, found.height, found.width)
    tracks = [
        Track(thing.number, 1, thing.category_id, thing.masks, sounding=[*thing.intervals_s])
        for thing in found.objects
    ]
    info = {"description": f"predicted: {found.frames} frames, {found.rate_hz:g} a second"}
    return AnnotationSet(found.categories, [video], tracks, info)


def _write(folder: Path, found: VideoTracks, *, name: str, file: str) -> None:
    from components.annotate.formats import find_format

    writer = find_format(name, "--save").write
    if writer is None:
        raise AvisError(f"the format {name} can only be read", where="--save")
    writer(folder / file, as_annotations(found))


SAVERS = (
    Saver(
        "coco",
        "coco.json: COCO, an annotation per frame",
        partial(_write, name="coco_video", file="coco.json"),
    ),
    Saver(
        "ytvis",
        "ytvis.json: YouTube-VIS, as AVISeg has it",
        partial(_write, name="aviseg", file="ytvis.json"),
    ),
    Saver("cvat", "cvat.xml: CVAT for video, for correction", partial(_write, name="cvat", file="cvat.xml")),
)
