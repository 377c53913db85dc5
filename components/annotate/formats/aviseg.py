"""AVISeg and YouTube-VIS JSON: segmentations per frame as polygons, RLE of either kind, or null."""

from pathlib import Path

from components.annotate.formats import Format
from components.core.records import AnnotationSet, read_annotations, write_annotations


def _recognise(head: bytes) -> str | None:
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    for key in (b'"videos"', b'"annotations"', b'"categories"', b'"info"'):
        if key in head:
            return f"a JSON object with {key.decode()}"
    return None


def _write(path: Path, annotations: AnnotationSet) -> list[str]:
    write_annotations(path, annotations)
    return []


FORMAT = Format(
    name="aviseg",
    description="AVISeg / YouTube-VIS JSON (polygons, RLE, null)",
    recognise=_recognise,
    read=read_annotations,
    write=_write,
)
