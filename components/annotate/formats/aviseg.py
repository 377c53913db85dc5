"""AVISeg and YouTube-VIS JSON (OVIS, UVO): segmentations per frame as polygons, RLE of either kind, or null.

What differs between writers is taken: ids as numbers or texts, a missing `length`, file names below other
folders; a video is called after the folder of its frames, or by its `name` where they lie in none.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.annotate.capabilities import PARTS
from components.annotate.clock import Clock
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import flag, mapping, text, whole
from components.annotate.parsing.foreign_rows import (
    annotation_rows,
    drawn,
    names_of_folders,
    note_other_box,
    note_score,
    plain_path,
)
from components.annotate.parsing.frame_names import numbers_in_order
from components.annotate.track_builder import note_cut_polygons, video_name
from components.core.records import masks
from components.core.records.annotations import (
    MOST_FRAMES,
    AnnotationSet,
    PictureNames,
    TrackRow,
    Video,
    VideoRow,
    checked_track,
    checked_video,
    write_annotations,
)
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import JsonObject, read_object
from components.core.records.work_file import WorkFile, on_disk
from components.core.run.errors import AvisError


class _Row(TrackRow):
    bboxes: Any = None
    score: Any = None
    height: Any = None
    width: Any = None


def _recognise(look: Look) -> str | None:
    if "[]" in look.keys or {"images", "items", "masklet", "sequences"} & set(look.keys):
        return None
    found = [key for key in ("videos", "annotations", "categories", "info") if key in look.keys]
    return f"a JSON object with {', '.join(found)}" if found else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    document = read_object(path, "annotations")
    rows = annotation_rows(document, path, _Row)
    annotations, changes = AnnotationSet({}, [], []), Changes()
    work = hints.work or WorkFile()
    for where, row in document.rows("categories"):
        row = mapping(row, where)
        identity = whole(row, "id", where)
        if identity in annotations.categories:
            raise AvisError(f"category id {identity} stands twice", where=where)
        if row.get("name") in annotations.categories.values():
            raise AvisError(f"The category {row['name']!r} stands twice", where=where)
        annotations.categories[identity] = text(row, "name", where)
    clocks: dict[str, Clock] = {}
    videos = _videos(document, changes, hints, work, clocks)
    seen: set[int] = set()
    for where, row in rows:
        _mend(row, where, changes)
        track = checked_track(row, where, path, videos, annotations.categories)
        video = videos[track.video_id]
        if hints.effort is not None:
            for segmentation in filter(None, track.segmentations):
                hints.effort.spend_mask(segmentation, where)
        codes, problems = masks.compress_all(track.segmentations, video.height, video.width)
        for frame, problem in problems.items():
            at = f"{path}, annotation {track.id}, video {video.name!r}, frame {frame}"
            raise AvisError(problem, where=at)
        note_cut_polygons(row.segmentations, codes, video, changes, track.id)
        _compare(row, codes, video, changes, where)
        if track.id in seen:
            raise AvisError(f"annotation id {track.id} stands twice", where=where)
        seen.add(track.id)
        track.segmentations = on_disk(row.segmentations, work)
        annotations.tracks.append(track)
    annotations.videos = list(videos.values())
    info = document.value("info")
    annotations.info = info if isinstance(info, dict) else {}
    return Reading(annotations, changes, clocks)


def _videos(
    document: JsonObject, changes: Changes, hints: Hints, work: WorkFile, clocks: dict[str, Clock]
) -> dict[int, Video]:
    folders: dict[int, str] = {}
    for where, row in document.rows("videos"):
        row = mapping(row, where)
        identity = whole(row, "id", where)
        if identity in folders:
            raise AvisError(f"video id {identity} stands twice", where=where)
        folders[identity] = _file_names(row, changes, where)[0].rpartition("/")[0]
    names = names_of_folders(dict.fromkeys(folders.values()), changes)
    videos: dict[int, Video] = {}
    known: set[str] = set()
    for where, row in document.rows("videos"):
        identity = whole(row, "id", where)
        files, folder = _file_names(row, Changes(), where), folders[identity]
        name = video_name(names[folder], f"{where}, field file_names")
        if name != names[folder]:
            why = "a folder in its name became a dash"
            changes.add(Kind.RENAMED, "video", why, example=f"{folder} to {name}")
        if name in known:
            raise AvisError(f"The video {name!r} stands there twice", where=where, fix="Rename one of them.")
        known.add(name)
        numbers = numbers_in_order(files, where, "segmentations")
        steps = {later - earlier for earlier, later in pairwise(numbers)}
        if len(steps) == 1 and steps != {1}:
            (step,) = steps
            clocks[name] = Clock(numbers[0], step)
            why = "its frames are numbered in steps, and taken one after the other"
            changes.add(Kind.GUESSED, "video", why, example=f"{name}, every {step}th")
        elif len(steps) > 1:
            gap = next(pair for pair in pairwise(numbers) if pair[1] - pair[0] > min(steps))
            why = "its frames are numbered with gaps, and taken one after the other"
            changes.add(Kind.GUESSED, "video", why, example=f"{name}, {gap[1]} after {gap[0]}")
        size = hints.sizes.get(name)
        videos[identity] = checked_video(
            VideoRow(
                id=identity,
                file_names=[
                    file.replace(folder, name, 1) if file.startswith(folder) else file for file in files
                ],
                length=len(files) if row.get("length") is None else whole(row, "length", where),
                height=size[0] if size and row.get("height") is None else whole(row, "height", where),
                width=size[1] if size and row.get("width") is None else whole(row, "width", where),
            ),
            where,
        )
        usual = PictureNames(name, len(files))
        listed = videos[identity].file_names
        videos[identity].file_names = usual if usual == listed else on_disk(listed, work)
    return videos


def _file_names(row: Mapping[str, Any], changes: Changes, where: str) -> list[str]:
    """A video's frames as `<folders>/<frame>`."""
    name = row.get("name")
    files = row.get("file_names")
    if files is None and isinstance(name, str) and name and row.get("length") is not None:
        length = whole(row, "length", where)
        if not 1 <= length <= MOST_FRAMES:
            raise AvisError(f"A video has no {length} frames", where=f"{where}, field length")
        return [f"{name}/{k:05d}.jpg" for k in range(length)]
    if not isinstance(files, list) or not files or not all(isinstance(file, str) for file in files):
        raise AvisError("file_names must be a list of '<video>/<frame>.jpg'", where=where)
    files = [plain_path(file, changes, where) for file in files]
    numbers_in_order(files, f"{where}, field file_names", "segmentations")
    if not any("/" in file for file in files) and isinstance(name, str) and name:
        return [f"{name}/{file}" for file in files]
    if not all("/" in file for file in files):
        raise AvisError("file_names must be a list of '<video>/<frame>.jpg'", where=where)
    return files


def _mend(row: _Row, where: str, changes: Changes) -> None:
    """Put a row's numbers as our own files have them, and take away polygons that are none."""
    fields = {name: getattr(row, name) for name in ("id", "video_id", "category_id", "iscrowd")}
    row.id, row.video_id = whole(fields, "id", where), whole(fields, "video_id", where)
    row.category_id, row.iscrowd = whole(fields, "category_id", where), flag(fields, "iscrowd", where)
    if row.segmentations is None and row.bboxes is not None:
        raise AvisError(
            f"Annotation {row.id} has boxes (bboxes) and no masks (segmentations)",
            where=where,
            fix="Only masks are imported. `avis preannotate` can make masks of boxes.",
        )
    if isinstance(row.segmentations, list):
        boxes = row.bboxes if isinstance(row.bboxes, list) else []
        for frame, segmentation in enumerate(row.segmentations):
            if not segmentation and any(boxes[frame : frame + 1]):
                why = "it has no mask, taken as a frame without one"
                changes.add(Kind.DROPPED, "box", why, example=f"{where}, frame {frame}")
            row.segmentations[frame] = drawn(segmentation, changes, f"{where}, frame {frame}")


def _compare(
    row: _Row, codes: Sequence[dict[str, Any] | None], video: Video, changes: Changes, where: str
) -> None:
    """Say what else a row tells of its masks, where that does not agree with them."""
    note_score(row.score, changes, where)
    if row.height not in (None, video.height) or row.width not in (None, video.width):
        why = "its height or width is not its video's, which is taken"
        changes.add(Kind.GUESSED, "row", why, example=where)
    boxes = row.bboxes if isinstance(row.bboxes, list) else []
    for frame, (box, seen) in enumerate(zip(boxes, masks.boxes_of(codes), strict=False)):
        note_other_box(box, seen, changes, f"{where}, frame {frame}")


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    write_annotations(path, annotations)
    return []


FORMAT = Format(
    name="aviseg",
    description="AVISeg / YouTube-VIS JSON: an object with videos, and segmentations of all frames per track",
    recognise=_recognise,
    read=_read,
    write=_write,
    in_zip="annotations.json",
    holds=frozenset(PARTS),
)
