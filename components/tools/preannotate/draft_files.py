"""Which clips are drafted, and the files for annotation tools."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.annotate.formats.label_studio.writer import tasks, write_tasks
from components.core.clips.index import MediaEntry, read_media_index
from components.core.records.annotations import SPLITS, AnnotationSet, read_annotations, write_annotations
from components.core.run.errors import AvisError
from components.core.run.paths import Paths

DRAFT = "draft.json"
_ENDINGS = {"cvat": "xml"}

Writer = Callable[[Path, AnnotationSet], list[str]]


def choose_clips(paths: Paths, names: Sequence[str], *, every: bool) -> list[MediaEntry]:
    """Return the named clips; without names those with media, and unless `every` without annotations.

    Raises:
        AvisError: a clip has no media, or none is left.
    """
    index = read_media_index(paths.media / "index.parquet")
    for name in names:
        entry = index.get(name)
        if entry is None or entry.status != "ok":
            reason = "is not in the media index" if entry is None else f"has no media: {entry.status}"
            raise AvisError(f"The clip {name!r} {reason}", where=str(paths.media / "index.parquet"))
    if names:
        return [index[name] for name in dict.fromkeys(names)]
    labelled: set[str] = set()
    if not every:
        for split in SPLITS:
            file = paths.annotations / f"{split}.json"
            if file.is_file():
                labelled.update(video.name for video in read_annotations(file).videos)
    chosen = [entry for name, entry in index.items() if entry.status == "ok" and name not in labelled]
    if not chosen:
        raise AvisError(
            f"All {len(labelled)} clips with media are annotated" if labelled else "No clip has media",
            where=str(paths.media / "index.parquet"),
            fix="Name clips with --video, or take all of them with --all."
            if labelled
            else "Run `dvc repro extract`.",
        )
    return chosen


def draft_file(out: Path, format_name: str, clip: str) -> Path:
    """Return where a clip's draft for an annotation tool is."""
    return out / format_name / f"{clip}.{_ENDINGS.get(format_name, 'json')}"


def write_drafts(
    out: Path, annotations: AnnotationSet, writers: Mapping[str, Writer], *, model: str, image_root: str
) -> None:
    """Write a file per clip for each format, and draft.json.

    Args:
        model: its name, which Label Studio shows.
        image_root: of Label Studio's tasks: put before <clip>/00000.jpg.
    """
    for name, write in writers.items():
        for video in annotations.videos:
            part = AnnotationSet(
                annotations.categories,
                [video],
                [track for track in annotations.tracks if track.video_id == video.id],
            )
            target = draft_file(out, name, video.name)
            if name == "label_studio":  # there a draft is a prediction, which people turn into an annotation
                write_tasks(target, tasks(part, model=model, image_root=image_root))
            else:
                write(target, part)
    write_annotations(out / DRAFT, annotations)  # last: whoever finds a draft.json finds everything
