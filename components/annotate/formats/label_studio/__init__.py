"""Label Studio JSON: a task per frame with brush or polygon regions, or a task per video with boxes.

Frames: `data.video_id` and `data.frame`, or the folder and number in `data.image`. Tracks: a number, or a
text, named `track` of the region. Of several annotations of a task the ground truth is taken, else
the one that was changed last.
An uploaded video's name is without the 8 digits that Label Studio puts before it; uploaded pictures need
`data.video_id`. Videos: boxes (VideoRectangle) become polygons, moved between their keyframes as Label Studio
moves them.
"""

from dataclasses import replace
from pathlib import Path

from components.annotate.clock import Clock
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.formats.label_studio.regions import add_task
from components.annotate.formats.label_studio.tasks import place_of, survey
from components.annotate.formats.label_studio.writer import write
from components.annotate.parsing.fields import mapping
from components.annotate.parsing.frame_names import FrameNames, refuse_other_order
from components.annotate.parsing.label_studio_tasks import MIN_KEYS, annotation_of, data_of, note_upload
from components.annotate.track_builder import Gathering, first_number, note_missing_frames, refuse_other_shape
from components.core.records.annotations import AnnotationSet, Video
from components.core.records.changes import Kind
from components.core.records.json_rows import read_list
from components.core.run.errors import AvisError


def _recognise(look: Look) -> str | None:
    if "[]" not in look.keys:
        return None
    if "data" not in look.keys:
        return "a JSON list with the fields of JSON-MIN" if set(look.keys) >= MIN_KEYS else None
    found = [key for key in ("annotations", "predictions") if key in look.keys]
    return f"a JSON list of tasks with data and {' and '.join(found)}" if found else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    gathering = Gathering(hints.work, hints.effort)
    seen = survey(path, hints, gathering)
    videos: dict[str, Video] = {}
    clocks: dict[str, Clock] = {}
    lost: dict[str, str] = {}
    skipped = []
    first: dict[str, int] = {}
    from_0 = any(0 in one.frames for one in seen.values())
    alike = FrameNames()
    for name, one in seen.items():
        where = f"{path}, video {name!r}"
        if one.untouched:
            continue
        if one.skipped:
            gathering.changes.add(Kind.DROPPED, "video", "nobody has annotated it", example=name)
            skipped.append(name)
            continue
        reason = hints.why_lost(name)
        if reason is not None:
            lost[name] = reason
            continue
        refuse_other_order(one.frames, where, "tasks' frames")
        size = one.size or hints.sizes.get(name)
        if size is None:
            raise AvisError(
                "No task tells the size of the frames",
                where=where,
                fix="Put width and height, in pixels, into the data of the video's tasks.",
            )
        if one.frames and one.is_named:
            first[name] = first_number(
                one.frames, None, gathering.changes, name, pictures=hints.lengths.get(name), from_0=from_0
            )
            one.length -= first[name]
            one.frames = {number - first[name]: picture for number, picture in one.frames.items()}
        length = one.length or hints.lengths.get(name, 0)  # nobody says where nothing sounds
        video = gathering.video(name, height=size[0], width=size[1], length=length, where=where)
        refuse_other_shape(video.name, size, hints.sizes.get(video.name), where)
        note_upload(gathering.changes, one.uploaded_as, name)
        if one.rate_hz is not None:
            clocks[video.name] = Clock(rate_hz=one.rate_hz)
        names = [one.frames.get(k, "") for k in range(length)]
        if all(file.startswith(f"{video.name}/") and ".." not in file for file in names):
            video.file_names = names
        if one.frames:
            clocks[video.name] = note_missing_frames(gathering.changes, video.name, set(one.frames), length)
        videos[name] = video
    for where, row in read_list(path, "tasks"):
        row = mapping(row, where)
        where = f"{where}, task {row.get('id')}" if "id" in row else where
        place = place_of(data_of(row, where), where, hints, alike)
        if place.frame is not None:
            place = replace(place, frame=place.frame - first.get(place.video, 0))
        if place.video in videos:
            add_task(gathering, videos[place.video], place, row, where)
        elif place.video not in lost:
            annotation_of(row).note(gathering.changes, where)
    untouched = [name for name, one in seen.items() if one.untouched]
    for name in untouched:
        gathering.changes.add(
            Kind.DROPPED, "video", "it has predictions that nobody has annotated", example=name
        )
    if not videos and (untouched or lost or skipped):
        empty = AnnotationSet(dict(gathering.categories), [], [])
        return Reading(empty, gathering.changes, lost=lost)
    return Reading(gathering.finish(str(path)), gathering.changes, clocks, lost)


FORMAT = Format(
    name="label_studio",
    description="Label Studio JSON: a list of tasks, one per frame with brush or polygon regions, or per "
    "video with boxes",
    recognise=_recognise,
    read=_read,
    write=write,
    in_zip="tasks.json",
    holds=frozenset(
        {
            "categories", "polygons", "lengths", "videos without masks", "unused categories", "annotator",
            "track ids", "frame names",
        }
    ),
)  # fmt: skip
