"""What writers of COCO's and YouTube-VIS's JSON do differently, taken as it is meant and said."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.annotate.parsing.fields import mapping, text, whole
from components.annotate.track_builder import Gathering
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import JsonObject
from components.core.run.errors import AvisError

SAME_BOX_IOU = 0.5  # boxes that people draw are wider than masks; those of another convention are elsewhere
_FAR_PX = 1e6
_OF_CVAT = (
    "annotator", "instance_id", "is_crowd", "keyframe", "occluded", "outside", "rotation", "score", "source",
    "track_id", "z_order",
)  # fmt: skip


def annotation_rows(document: JsonObject, path: object, kind: Any = Any) -> Iterator[tuple[str, Any]]:
    """The rows of `annotations`; raises AvisError where they are missing, as in sets without labels."""
    try:
        return document.rows("annotations", kind)
    except AvisError:
        raise AvisError(
            "The list 'annotations' is missing or null: the labels of this set are not in the file, as those "
            "of published validation and test sets",
            where=str(path),
            fix="Take the file with labels. If nothing sounds in all of its videos, write an empty list.",
        ) from None


def gather_categories(document: JsonObject, gathering: Gathering) -> None:
    """Take the rows of `categories`; raises AvisError where a name or an id stands twice."""
    for where, row in document.rows("categories"):
        row = mapping(row, where)
        name, identity = text(row, "name", where), whole(row, "id", where)
        if name in gathering.categories.values() or identity in gathering.categories:
            raise AvisError(f"The category {name!r} ({identity}) stands twice", where=where)
        gathering.category(name, identity)


def refuse_two_numberings(
    of_cvat: dict[tuple[str, object], bool], video: str, key: object, attributes: object, where: str
) -> None:
    """Raise AvisError where a number is CVAT's own of a track, and elsewhere a label's attribute `track_id`.

    CVAT writes both into one attribute; `keyframe` stands beside its own alone (CvatToDmAnnotationConverter).

    Args:
        of_cvat: what the numbers that were seen are, by video and number; this one is added.
    """
    is_own = isinstance(attributes, Mapping) and "keyframe" in attributes
    if of_cvat.setdefault((video, key), is_own) != is_own:
        raise AvisError(
            f"track_id {key} of the video {video!r} is CVAT's number of a track, and in another shape the "
            "attribute track_id: these are two objects of one number",
            where=where,
            fix="Export 'CVAT for video 1.1', which tells them apart.",
        )


def plain_path(file_name: str, changes: Changes, where: str) -> str:
    """A path with its folders apart by "/"; those of Windows are said."""
    if "\\" not in file_name:
        return file_name.removeprefix("./")
    changes.add(Kind.RENAMED, "path", "its folders are apart by backslashes, taken as slashes", example=where)
    return file_name.replace("\\", "/").removeprefix("./")


def names_of_folders(folders: Iterable[str], changes: Changes) -> dict[str, str]:
    """What videos are called, by the folders of their frames: without the folders that all of them share."""
    parts = {folder: folder.split("/") for folder in folders}
    above = _shared([names[:-1] for names in parts.values()])
    below = _shared([names[:above:-1] for names in parts.values()]) if len(parts) > 1 else 0
    if above or below:
        changes.add(
            Kind.RENAMED, "video", "folders that all videos have are no part of its name",
            example="/".join(next(iter(parts.values()))), count=len(parts),
        )  # fmt: skip
    return {folder: "/".join(names[above : len(names) - below]) for folder, names in parts.items()}


def _shared(paths: list[list[str]]) -> int:
    """With how many equal names all paths begin."""
    levels = list(zip(*paths, strict=False))  # as deep as all are
    return next((k for k, level in enumerate(levels) if len(set(level)) > 1), len(levels))


def drawn(segmentation: Any, changes: Changes, where: str) -> Any:
    """A segmentation without polygons of fewer than three points, which is said; None where none is left.

    One polygon that stands without a list around it, or whose points are pairs, is put into one.
    """
    if not isinstance(segmentation, list):
        return segmentation
    if len(segmentation) >= 6 and all(type(value) in (int, float) for value in segmentation):
        why = "its coordinates are one list and no list of polygons, taken as one polygon"
        changes.add(Kind.GUESSED, "mask", why, example=where)
        return [segmentation]
    if len(segmentation) >= 3 and all(_is_stub(point) and len(point) == 2 for point in segmentation):
        changes.add(Kind.GUESSED, "mask", "its points are pairs, taken as one polygon", example=where)
        return [[value for point in segmentation for value in point]]
    kept = [polygon for polygon in segmentation if not _is_stub(polygon)]
    stubs = len(segmentation) - len(kept)
    if not stubs:
        return segmentation
    changes.add(Kind.DROPPED, "polygon", "it has fewer than 3 points", example=where, count=stubs)
    if not kept:
        changes.add(Kind.DROPPED, "mask", "none of its polygons has 3 points", example=where)
    return kept or None


def note_other_box(box: object, seen: Sequence[float] | None, changes: Changes, where: str) -> None:
    """Say where a mask is not in the box that the file has of it: run row by row, of another frame or object.

    Args:
        box: of the file, [x, y, width, height], if that is one.
        seen: the mask's own, None where it has no pixel.
    """
    if not isinstance(box, list) or len(box) != 4 or seen is None:
        return
    if not all(type(value) in (int, float) and abs(value) < _FAR_PX for value in box):
        return
    x, y, width, height = box
    across = min(x + width, seen[0] + seen[2]) - max(x, seen[0])
    down = min(y + height, seen[1] + seen[3]) - max(y, seen[1])
    shared = max(across, 0) * max(down, 0)
    if shared < SAME_BOX_IOU * (width * height + seen[2] * seen[3] - shared):
        why = "the box that the file has of it (bbox) is elsewhere; the mask is taken"
        changes.add(Kind.GUESSED, "mask", why, example=where)


def note_score(score: object, changes: Changes, where: str) -> None:
    """Say of a row with a score that it looks like a prediction."""
    if score is not None:
        why = "it has a score, as predictions have, and is taken for a label"
        changes.add(Kind.GUESSED, "row", why, example=where)


def is_outside(attributes: object, changes: Changes, where: str) -> bool:
    """Whether a shape's attributes, as CVAT has them, say that the object is not in view.

    That is counted, and so are the attributes that people gave it: a track has no place for them.
    """
    if not isinstance(attributes, Mapping):
        return False
    for name in (name for name in attributes if name not in _OF_CVAT):
        example = f"{where}, attribute {name}"
        changes.add(Kind.DROPPED, "attribute", "a track has no place for it", example=example)
    if attributes.get("outside") not in (True, "true", "1"):
        return False
    why = "its attribute `outside` is set: the object is not in view"
    changes.add(Kind.DROPPED, "shape", why, example=where)
    return True


def _is_stub(polygon: object) -> bool:
    return (
        isinstance(polygon, list)
        and len(polygon) in (0, 2, 4)
        and all(type(value) in (int, float) for value in polygon)
    )
