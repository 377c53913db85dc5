"""Several jobs of one task, exported one by one, become one video."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.annotate.formats import Reading
from components.core.records.annotations import AnnotationSet, PictureNames, Track, Video
from components.core.records.changes import Changes, Kind
from components.core.records.masks import decode, is_empty
from components.core.records.work_file import WorkFile, on_disk
from components.core.run.errors import AvisError

SAME_OBJECT_IOU = 0.5  # mean over the frames that two jobs share; CVAT's own limit when it unites jobs


@dataclass
class _Object:
    label: str
    key: object  # what the source calls it in all jobs; None where it does not
    annotator: str
    segmentations: list[Any] = field(default_factory=list)


def unite_jobs(name: str, jobs: Sequence[tuple[str, Reading]], work: WorkFile) -> Reading:
    """One reading of all jobs of the video `name`, each with what messages call it.

    Of a frame that two jobs have, the masks of the one that begins earlier are taken. An object goes on in
    another job where both call it alike, or where their masks agree in the frames that they share.

    Raises:
        AvisError: the jobs are not of one task, or a frame of it is in none of them.
    """
    order = sorted(jobs, key=lambda job: job[1].parts[name].frames.start)
    first = order[0][1]
    length = max(reading.parts[name].frames.stop for _, reading in order)
    video = first.annotations.videos[0]
    changes, categories, objects = Changes(), dict[str, None](), list[_Object]()
    covered: set[int] = set()
    for source, reading in order:
        frames = reading.parts[name].frames
        other = reading.annotations.videos[0]
        same = (other.height, other.width) == (video.height, video.width)
        if not same or reading.clocks.get(name) != first.clocks.get(name):
            raise AvisError(
                f"The jobs of the video {name!r} are not of one task: size, start frame or step differ",
                where=f"{order[0][0]} and {source}",
                fix="Export the task, or name the files after the videos that they are of.",
            )
        gap = sorted(set(range(frames.start)) - covered)
        if gap:
            raise AvisError(
                f"No job tells of the frames {gap[0]} to {gap[-1]} of the video {name!r}",
                where=source,
                fix="Export all jobs of the task, into one folder, as <video>.job_<number>; or the task.",
            )
        changes.extend(reading.changes, source if len(order) > 1 else "")
        categories |= dict.fromkeys(reading.annotations.categories.values())
        _add_job(objects, _objects(reading, name, length), covered, frames, video, source, changes)
        covered |= set(frames)
    return _united(name, video, length, list(categories), objects, first, changes, work)


def _objects(reading: Reading, name: str, length: int) -> list[_Object]:
    keys = reading.parts[name].keys
    return [
        _Object(
            reading.annotations.categories[track.category_id],
            keys.get(track.id),
            track.annotator,
            list(track.segmentations) + [None] * (length - len(track.segmentations)),
        )
        for track in reading.annotations.tracks
    ]


def _add_job(
    objects: list[_Object],
    added: list[_Object],
    covered: set[int],
    frames: range,
    video: Video,
    source: str,
    changes: Changes,
) -> None:
    shared = sorted(covered & set(frames))
    partners = _partners(objects, added, shared, video)
    for place, one in enumerate(added):
        partner = partners.get(place)
        for frame in shared:
            mask = one.segmentations[frame]
            if not is_empty(mask):
                earlier = None if partner is None else partner.segmentations[frame]
                if is_empty(earlier) or _iou(earlier, mask, video) < 1:
                    changes.add(
                        Kind.DROPPED,
                        "mask",
                        "an earlier job of the task has its frame, too, and has it not or otherwise",
                        example=f"{source}, frame {frame}",
                    )
            one.segmentations[frame] = None
        if partner is not None:
            if partner.key is None or partner.key != one.key:
                changes.add(
                    Kind.MERGED,
                    "track",
                    "in the frames that two jobs share it is where another one of its label is",
                    example=source,
                )
            if partner.label != one.label:
                raise AvisError(
                    f"track_id {one.key} is a {partner.label!r} in one job and a {one.label!r} in another",
                    where=source,
                    fix="A track is one object: give it one label.",
                )
            for frame in frames:
                if frame not in covered:
                    partner.segmentations[frame] = one.segmentations[frame]
        elif not all(map(is_empty, one.segmentations)):
            if covered and one.key is None:
                changes.add(
                    Kind.GUESSED,
                    "track",
                    "nothing tells whether it goes on from another job of the task (no track_id, no masks in "
                    "shared frames that agree): taken for another object",
                    example=source,
                )
            objects.append(one)


def _partners(
    objects: list[_Object], added: list[_Object], shared: list[int], video: Video
) -> dict[int, _Object]:
    """By place of an added object the one that it goes on from."""
    found = {
        place: known
        for place, one in enumerate(added)
        for known in objects
        if one.key is not None and one.key == known.key
    }
    agreements = []
    for place, one in enumerate(added):
        for number, known in enumerate(objects):
            if place in found or one.label != known.label or (one.key and known.key):
                continue
            pairs = [(known.segmentations[k], one.segmentations[k]) for k in shared]
            pairs = [pair for pair in pairs if not (is_empty(pair[0]) and is_empty(pair[1]))]
            if pairs:
                mean = sum(_iou(*pair, video) for pair in pairs) / len(pairs)
                agreements.append((mean, -place, -number))
    taken = {id(known) for known in found.values()}
    for mean, place, number in sorted(agreements, reverse=True):
        known = objects[-number]
        if mean >= SAME_OBJECT_IOU and -place not in found and id(known) not in taken:
            found[-place] = known
            taken.add(id(known))
    return found


def _iou(first: Any, second: Any, video: Video) -> float:
    if is_empty(first) or is_empty(second):
        return 0.0
    one, two = (decode(mask, video.height, video.width) for mask in (first, second))
    return float((one & two).sum() / max(int((one | two).sum()), 1))


def _united(
    name: str,
    video: Video,
    length: int,
    categories: list[str],
    objects: list[_Object],
    first: Reading,
    changes: Changes,
    work: WorkFile,
) -> Reading:
    ids = {label: number for number, label in enumerate(categories, start=1)}
    keep = all(isinstance(one.key, int) for one in objects)
    tracks = [
        Track(
            one.key if keep and isinstance(one.key, int) else number,
            1,
            ids[one.label],
            on_disk(one.segmentations, work),
            annotator=one.annotator,
        )
        for number, one in enumerate(objects, start=1)
    ]
    whole = Video(1, name, PictureNames(name, length), length, video.height, video.width)
    annotations = AnnotationSet({number: label for label, number in ids.items()}, [whole], tracks)
    return Reading(annotations, changes, clocks=first.clocks)
