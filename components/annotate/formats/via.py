"""VGG Image Annotator, refused by name: its files tell neither the pictures' size nor objects over time."""

from pathlib import Path

from components.annotate.formats import NO_HINTS, Format, Hints, Look, Reading
from components.core.run.errors import AvisError


def _recognise(look: Look) -> str | None:
    keys = set(look.keys)
    if "_via_img_metadata" in keys or "_via_settings" in keys or b'"shape_attributes"' in look.head:
        return "a JSON object of VIA 2, with regions of shape_attributes"
    if keys >= {"project", "config", "attribute", "file", "metadata", "view"}:
        return "a project of VIA 3"
    if b"filename,file_size,file_attributes,region_count" in look.head.replace(b'"', b"")[:400]:
        return "a CSV file of VIA 2"
    if (
        look.head.startswith(b"# Exported using VGG Image Annotator")
        or b"# CSV_HEADER = metadata_id" in look.head
    ):
        return "a CSV file of VIA 3"
    return None


def _read(path: Path, hints: Hints = NO_HINTS) -> Reading:
    raise AvisError(
        "Files of VGG Image Annotator are not read: they tell neither the size of the pictures nor which "
        "regions are one object over time",
        where=str(path),
        fix="Export COCO from VIA and give each annotation a track_id, one number for an object; or draw "
        "tracks in CVAT or Label Studio.",
    )


FORMAT = Format(
    name="via",
    description="VGG Image Annotator (VIA 2 and 3): recognised, and refused with what to do",
    recognise=_recognise,
    read=_read,
)
