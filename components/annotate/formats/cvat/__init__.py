"""CVAT XML 1.1, for video and for images: a task, a job or a project; polygons and masks.

CVAT tracks polygons, never masks (cvat-ai/cvat#6264): a mask is exported as a track of one frame, and what
tells that several are one object is their `group_id`, or an attribute `track_id` of the label. So it is with
polygons: an object that something cuts in two is two tracks of a group.

Frames are numbered as in the video: frame i of a task is `start_frame` + i times the step of `frame_filter`.
In a project the tasks of a subset are numbered on: each begins where the one before it, counted from its
frame 0, would end (CVAT: ProjectData.abs_frame_id, _init_task_frame_offsets).

A shape of one frame (not of a track) is exported as a track of that shape, and of the same one with `outside`
on the next frame, but only if frame + step < stop_frame (CVAT: dump_as_cvat_interpolation); in a project the
left side has the offset and the right side has not. So a track's only shape holds for its frame alone. Real
tracks of polygons have a shape on each frame until they end.

Of a job <meta> has neither the task's name nor, inside it, the size; its <segment> tells which of the task's
frames it has (CVAT: JobData._init_meta). Tracks have a shape on each frame, also where CVAT interpolated it.
`occluded` and `z_order` change no mask: masks of several objects may overlap.

CVAT's mask RLE runs row by row inside the mask's box and begins with background; COCO's runs column by
column over the whole frame.
"""

from pathlib import Path

from components.annotate.clock import Clock
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Part, Reading
from components.annotate.formats.cvat.images import add_images
from components.annotate.formats.cvat.shapes import told_keys
from components.annotate.formats.cvat.tasks import tasks_of, video_of
from components.annotate.formats.cvat.tracks import add_tracks
from components.annotate.formats.cvat.writer import write
from components.annotate.parsing.xml_files import parse_large_xml
from components.annotate.track_builder import Gathering
from components.core.records.annotations import AnnotationSet
from components.core.run.errors import AvisError


def _recognise(look: Look) -> str | None:
    if b"<annotations" not in look.head:
        return None
    if b"<version>1.1" in look.head or b"<track" in look.head:
        return "an XML file with <annotations> of version 1.1"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    root, cut = parse_large_xml(path, ("track", "image"), gathering.work)
    for label in root.iterfind("meta//labels/label/name"):
        if not (label.text or "").strip():
            raise AvisError("A label has no name", where=f"{path}, meta, labels")
        gathering.category(label.text or "")
    tasks = tasks_of(root, path, hints)
    if not cut["image"]:
        lost = {task.name: task.lost for task in tasks.values() if task.lost}
        videos = {task.id: video_of(task, root, gathering, hints) for task in tasks.values() if not task.lost}
        add_tracks(gathering, cut["track"], tasks, videos, path)
        clocks = {video.name: Clock(tasks[key].first, tasks[key].step) for key, video in videos.items()}
    elif not cut["track"]:
        clocks, lost = add_images(gathering, cut["image"], tasks, hints, path)
    else:
        raise AvisError(
            "The file has images and tracks, which no export of CVAT has together",
            where=str(path),
            fix="Export as 'CVAT for video 1.1'.",
        )
    if lost and not clocks:
        return Reading(AnnotationSet(dict(gathering.categories), [], []), gathering.changes, lost=lost)
    annotations = gathering.finish(str(path))
    parts = {
        name: Part(range(task.job_start, task.length), told_keys(gathering.keys))
        for task in tasks.values()
        if task.job_start is not None
        for name in clocks
    }
    return Reading(annotations, gathering.changes, clocks, lost, parts)


FORMAT = Format(
    name="cvat",
    description="CVAT XML 1.1, for video (written, and best) or for images: a task, a job or a project",
    recognise=_recognise,
    read=_read,
    write=write,
    in_zip="annotations.xml",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "unused categories", "annotator",
            "track ids",
        }
    ),
)  # fmt: skip
