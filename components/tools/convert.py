"""From one annotation format to another, telling what the other cannot hold."""

from dataclasses import dataclass
from pathlib import Path

from components.annotate.capabilities import PARTS, cannot_hold
from components.annotate.categories import map_all, note_like_names
from components.annotate.exports import Source, changes_of, count_masks, read_sources, refuse_changes
from components.annotate.formats import Format, find_format, formats
from components.annotate.frame_rate import one_frame_a_second
from components.annotate.merge import unite_all
from components.annotate.sound_labels import apply_sound_labels, read_sound_labels
from components.core.records.annotations import AnnotationSet
from components.core.records.archives import write_zip
from components.core.records.changes import MAX_CHANGED_SHARE, Changes
from components.core.records.work_file import WorkFile
from components.core.run.disk import noticing_full_disk
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, scratch_folder
from components.tools.conversion_check import ReadBack, read_back


@dataclass
class Conversion:
    """What was read and written.

    changes: what reading changed.
    notes: what was done because it was asked for, a sentence each.
    lost: what the target cannot hold, a sentence each.
    check: how what was written compares with what was to be written, if that was asked for.
    """

    sources: list[Source]
    annotations: AnnotationSet
    changes: Changes
    notes: list[str]
    lost: list[str]
    check: ReadBack | None = None


def convert(
    source: Path,
    target: Path,
    *,
    target_format: str,
    source_format: str = "auto",
    category_map: Path | None = None,
    frame_rate_hz: float | None = None,
    sound: Path | None = None,
    strict: bool = False,
    max_changed_share: float = MAX_CHANGED_SHARE,
    check: bool = False,
) -> Conversion:
    """Read `source`, a file, folder or archive of any format, and write `target` in another.

    Args:
        target: a file or a new folder, as the format has it; or a .zip of the same.
        category_map: a YAML file `name in the source: name in the target`; null drops a category.
        frame_rate_hz: of the annotated frames: then one a second is kept.
        sound: a file or folder of sound labels; a second of the clip is a frame then.
        strict: nothing may be changed on reading.
        max_changed_share: of the masks, that may be dropped or moved on reading.
        check: read back what was written, and compare.

    Raises:
        AvisError: the source cannot be read without changing too much, or the target cannot be written, or
            not be read back.
    """
    writer = find_format(target_format, "--to")
    if writer.write is None:
        raise AvisError(f"The format {writer.name} can only be read", where="--to", fix="Convert to aviseg.")
    if target.exists() and source.exists() and target.samefile(source):
        raise AvisError("Source and target are the same", where=str(target), fix="Name another target.")
    sources = read_sources(source, source_format, work=WorkFile(target.parent), setting="the path")
    changes, notes = changes_of(sources), []
    sets = [one.reading.annotations for one in sources]
    if category_map is not None:
        sets = map_all(sets, category_map, "--categories")
    note_like_names(sets, changes)
    masks = count_masks(sets)
    annotations = unite_all(sets, [one.name for one in sources])
    if frame_rate_hz is not None:
        clocks = {name: clock for one in sources for name, clock in one.reading.clocks.items()}
        annotations, said = one_frame_a_second(annotations, frame_rate_hz, clocks)
        notes += said
    if sound is not None:
        said = apply_sound_labels(annotations, read_sound_labels(sound, changes), changes)
        notes += [f"{sound}: {note}" for note in said]
    refuse_changes(
        changes, masks, strict=strict, max_share=max_changed_share, where=str(source),
        setting="--max-changed-share",
    )  # fmt: skip
    lost = cannot_hold(writer.holds, annotations)
    with noticing_full_disk(target.parent, target.name, lambda: None):
        lost += write_target(target, annotations, writer)
    checked = read_back(annotations, target, writer) if check else None
    return Conversion(sources, annotations, changes, notes, lost, checked)


def write_target(target: Path, annotations: AnnotationSet, writer: Format) -> list[str]:
    """Write a file, a new folder or a .zip; returns what was lost, as `Format.write` tells it."""
    if writer.write is None:
        raise AvisError(f"The format {writer.name} can only be read")
    if target.suffix.lower() != ".zip":
        return writer.write(target, annotations)
    with scratch_folder(target.parent) as scratch:
        content = scratch / "content"
        inside = content / writer.in_zip if writer.in_zip else content
        if writer.in_zip.endswith(".xml") and len(annotations.videos) != 1:
            inside = content
        inside.parent.mkdir(parents=True, exist_ok=True)
        lost = writer.write(inside, annotations)
        with replace_file(target) as temporary:
            write_zip(temporary, content)
    return lost


def describe_formats() -> str:
    """A paragraph for each format: whether it is read and written, what it looks like, what it holds not."""
    paragraphs = []
    for entry in formats().values():
        does = " and ".join(word for word, can in (("read", entry.read), ("written", entry.write)) if can)
        lines = [f"{entry.name} ({does})", f"  {entry.description}"]
        if entry.read is None:
            lines.append("  holds only when tracks sound, and comes back with --sound")
        elif entry.write is not None:
            missing = [part for part in PARTS if part not in entry.holds]
            lines.append(f"  holds not: {', '.join(missing)}" if missing else "  holds everything")
        paragraphs.append("\n".join(lines))
    return "\n".join(paragraphs)
