"""AVISeg and YouTube-VIS JSON: segmentations per frame as polygons, RLE of either kind, or null."""

from pathlib import Path

from components.annotate.capabilities import PARTS
from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.core.records.annotations import AnnotationSet, read_annotations, write_annotations


def _recognise(look: Look) -> str | None:
    if "[]" in look.keys or {"images", "items", "masklet"} & set(look.keys):
        return None
    found = [key for key in ("videos", "annotations", "categories", "info") if key in look.keys]
    return f"a JSON object with {', '.join(found)}" if found else None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    return Reading(read_annotations(path))


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
