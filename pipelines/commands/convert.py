"""`avis convert`: annotations from one format to another."""

from pathlib import Path

from components.annotate.capabilities import count
from components.tools.convert import convert as convert_annotations
from components.tools.convert import describe_formats


def convert(
    source: Path,
    target: Path,
    to: str,
    source_format: str = "auto",
    *,
    categories: Path | None = None,
    frame_rate_hz: float | None = None,
    sound: Path | None = None,
) -> None:
    """Convert and print what the source was taken for, counts, and what was lost; raises AvisError."""
    done = convert_annotations(
        source,
        target,
        target_format=to,
        source_format=source_format,
        category_map=categories,
        frame_rate_hz=frame_rate_hz,
        sound=sound,
    )
    for one in done.sources:
        print(f"{one.name}: {one.format.name} ({one.reason})")
    for note in done.notes:
        print(f"  {note}")
    annotations = done.annotations
    masks = sum(1 for track in annotations.tracks for segmentation in track.segmentations if segmentation)
    counts = (
        count(len(annotations.videos), "video"),
        count(len(annotations.tracks), "track"),
        count(masks, "mask"),
        count(len(annotations.categories), "category", "categories"),
    )
    print(f"{target}: {to}, {', '.join(counts)}")
    for sentence in done.lost:
        print(f"  {to} cannot hold all: {sentence}")


def list_formats() -> None:
    """Print every format, whether it is read and written, and what it does not hold."""
    print(describe_formats())
