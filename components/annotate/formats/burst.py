"""BURST: per sequence and annotated frame, run lengths by track; read only.

A sequence's frames are those that were annotated; where they lie among all of its frames tells their times.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.annotate.clock import Clock
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.annotate.parsing.fields import mapping, text, whole
from components.annotate.parsing.foreign_rows import gather_categories
from components.annotate.track_builder import Gathering, note_missing_frames
from components.core.records.changes import Kind
from components.core.records.json_rows import read_object
from components.core.run.errors import AvisError


def _recognise(look: Look) -> str | None:
    return (
        "a JSON object with sequences and categories"
        if set(look.keys) >= {"sequences", "categories"}
        else None
    )


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    document = read_object(path, "annotations")
    gathering = Gathering(hints.work, hints.effort)
    gather_categories(document, gathering)
    clocks = {}
    for where, row in document.rows("sequences"):
        name, clock = _read_sequence(gathering, mapping(row, where), where)
        clocks[name] = clock
    return Reading(gathering.finish(str(path)), gathering.changes, clocks)


def _read_sequence(gathering: Gathering, row: Mapping[str, Any], where: str) -> tuple[str, Clock]:
    name = text(row, "seq_name", where)
    where = f"{where}, sequence {name!r}"
    masks_of = _list(row, "segmentations", where)
    places, clock = _places(row, where)
    if len(masks_of) != len(places):
        raise AvisError(
            f"It has {len(places)} annotated_image_paths and {len(masks_of)} segmentations", where=where
        )
    height, width = whole(row, "height", where), whole(row, "width", where)
    video = gathering.video(name, height=height, width=width, length=max(places, default=-1) + 1, where=where)
    note_missing_frames(gathering.changes, video.name, set(places), video.length)
    categories = mapping(row.get("track_category_ids"), f"{where}, field track_category_ids")
    for key in categories:
        category = whole(categories, key, f"{where}, field track_category_ids")
        if category not in gathering.categories:
            raise AvisError(
                f"category id {category} is not among the categories", where=f"{where}, track {key}"
            )
        gathering.track(video, _track(key, where), category, where)
    for frame, shapes in zip(places, masks_of, strict=True):
        for key, shape in mapping(shapes, where).items():
            at = f"{where}, frame {frame}, track {key}"
            shape = mapping(shape, at)
            if "point" in shape:
                raise AvisError(
                    "These are BURST's first_frame_annotations: of each object the first mask alone",
                    where=at,
                    fix="Take all_classes.json of the same split.",
                )
            if key not in categories:
                raise AvisError("The track is not in track_category_ids", where=at)
            if shape.get("is_gt") is False:
                why = "it was made by a program (is_gt is false), and is taken as drawn"
                gathering.changes.add(Kind.GUESSED, "mask", why, example=at)
            code = {"size": [height, width], "counts": text(shape, "rle", at)}
            gathering.add(video, frame, _track(key, where), code, at)
    if row.get("not_exhaustive_category_ids"):
        why = "it names categories of which not all objects are annotated; they count as silent"
        gathering.changes.add(Kind.GUESSED, "video", why, example=video.name)
    return video.name, clock


def _places(row: Mapping[str, Any], where: str) -> tuple[list[int], Clock]:
    """The frame that each annotated picture is, and which of the sequence's own frames these are.

    TAO's videos are annotated once a second, here and there with a picture left out.
    """
    annotated = _list(row, "annotated_image_paths", where)
    every = row.get("all_image_paths")
    if not isinstance(every, list) or not annotated:
        return list(range(len(annotated))), Clock()
    numbers = {str(name): number for number, name in enumerate(every)}
    unknown = next((name for name in annotated if str(name) not in numbers), None)
    if unknown is not None:
        raise AvisError(f"The annotated picture {unknown!r} is not in all_image_paths", where=where)
    found = [numbers[str(name)] for name in annotated]
    steps = [later - earlier for earlier, later in pairwise(found)]
    if any(step <= 0 for step in steps):
        raise AvisError("Its annotated pictures are not in the order of all_image_paths", where=where)
    step = math.gcd(*steps) or 1
    return [(number - found[0]) // step for number in found], Clock(first=found[0], step=step)


def _list(row: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = row.get(key)
    if not isinstance(value, list):
        raise AvisError(f"The list {key!r} is missing", where=where)
    return value


def _track(key: str, where: str) -> int:
    return whole({"track": key}, "track", where)


FORMAT = Format(
    name="burst",
    description="BURST: JSON of sequences, with run lengths by track for each annotated frame",
    recognise=_recognise,
    read=_read,
)
