"""The annotate stage: import, keep what has media, split, write."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.annotate.capabilities import count
from components.annotate.categories import map_all, note_like_names, unite_categories
from components.annotate.clock import Clock
from components.annotate.exports import Source, Sources, changes_of, count_masks, read_all, refuse_changes
from components.annotate.frame_rate import MOST_APART, frames_of_pictures, keep_frames
from components.annotate.merge import refuse_twice, unite
from components.annotate.params import AnnotateParams
from components.annotate.sound_labels import apply_sound_labels, read_sound_labels
from components.annotate.splits import (
    count_splits,
    settle_shared_sources,
    split_by_hash,
    split_of_file,
    split_of_manifest,
)
from components.annotate.track_builder import refuse_other_shape
from components.core.clips.index import MediaEntry, read_media_index
from components.core.raw.clip_names import source_of
from components.core.raw.manifest import ManifestEntry, read_manifest
from components.core.records.annotations import (
    SPLITS,
    AnnotationSet,
    PictureNames,
    Track,
    Video,
    tracks_by_video,
    write_annotations,
)
from components.core.records.changes import Changes, Kind
from components.core.records.work_file import WorkFile
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.core.tracking.run import Run, data_run


@dataclass
class Imported:
    """What the stage did."""

    clips: dict[str, int]  # by split
    tracks: dict[str, int]  # by split
    categories: list[str]
    formats: dict[str, str]  # by source file: the format and why it was taken for that
    sources: list[dict[str, Any]]  # where labels come from: name, format, clips that are kept
    changes: list[dict[str, Any]]  # what reading changed: kind, unit, count, why, examples
    notes: list[str]  # what was done because params.yaml says so
    unread: dict[str, dict[str, str]] = field(default_factory=dict)  # files: status and message by name
    dropped: dict[str, str] = field(default_factory=dict)  # annotated clips left out: reason by name
    unlabelled: list[str] = field(default_factory=list)  # clips with media that no source annotates

    def metrics(self) -> dict[str, float]:
        """The counts as flat numbers."""
        return {
            **{f"clips_{split}": float(number) for split, number in self.clips.items()},
            **{f"tracks_{split}": float(number) for split, number in self.tracks.items()},
            "categories": float(len(self.categories)),
            "unread": float(len(self.unread)),
            "dropped": float(len(self.dropped)),
            "unlabelled": float(len(self.unlabelled)),
        }


def main() -> None:
    """Run the stage as a process, with what params.yaml says."""

    def work() -> None:
        params = read_block("annotate", AnnotateParams)
        with data_run("annotate", params=params.model_dump()) as run:
            annotate(params, Paths(), run)

    run_stage("annotate", work)


def annotate(params: AnnotateParams, paths: Paths, run: Run) -> Imported:
    """Import `params.source` to data/annotations/{train,val,test}.json and summary.json beside them.

    Raises:
        AvisError: a source cannot be read, an annotation's length differs from the frames of its video,
            a clip has no split or is in two sources, or nothing is left.
    """
    manifest = _manifest(params)
    media = read_media_index(paths.media / "index.parquet")
    sizes = {name: (entry.height, entry.width) for name, entry in media.items() if entry.status == "ok"}
    found = read_all(
        Path(params.source),
        params.format,
        sizes=sizes,
        lengths={name: entry.frames for name, entry in media.items() if entry.status == "ok"},
        why_lost=lambda name: _why_no_media(media.get(name)),
        work=WorkFile(paths.annotations),
    )
    _refuse_unread(found, params)
    sources = found.read
    changes = changes_of(sources)
    sets = _mapped(sources, params)
    note_like_names(sets, changes)
    masks = count_masks(sets)
    categories = unite_categories(sets)
    dropped: dict[str, str] = {}
    splits: dict[str, str] = {}
    origin: dict[str, str] = {}
    placed = _Placed(params.frame_rate_hz, changes)
    for source, annotations in zip(sources, sets, strict=True):
        tracks_of = tracks_by_video(annotations)
        for name, reason in source.reading.lost.items():
            origin.setdefault(name, source.name)
            dropped[name] = reason
        for video in annotations.videos:
            refuse_twice(origin, video.name, source.name)
            lost = _why_no_media(media.get(video.name))
            if lost is not None:
                dropped[video.name] = lost
                continue
            clock = source.reading.clocks.get(video.name, Clock())
            size, of_media = (video.height, video.width), sizes[video.name]
            refuse_other_shape(video.name, size, of_media, f"{source.name}, video {video.id}")
            placed.place(video, tracks_of[video.id], clock, media[video.name], source.name)
            splits[video.name] = _split(video.name, source.name, manifest, params)
    if not splits:
        raise AvisError(
            f"None of the {len(origin)} annotated videos has media",
            where=f"{params.source}; {paths.media / 'index.parquet'}",
            fix="Video names in the annotations must be the manifest's video ids. First: "
            + "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:3])
            + ".",
        )
    for name, reason in settle_shared_sources(splits, manifest, params.splits).items():
        dropped[name] = reason
        del splits[name]
    tracks = {}
    sound_notes = _apply_sound(sets, splits, params, media, changes)
    refuse_changes(
        changes, masks, strict=params.strict, max_share=params.max_changed_share, where=params.source,
        setting="annotate.max_changed_share",
    )  # fmt: skip
    for split in SPLITS:
        part = _part(sets, categories, {name for name in splits if splits[name] == split})
        tracks[split] = len(part.tracks)
        try:
            write_annotations(paths.annotations / f"{split}.json", part)
        except AvisError as error:  # it knows the annotation, we know where that came from
            raise AvisError(error.what, where=f"{params.source}, {error.where}", fix=error.fix) from None
    imported = Imported(
        clips=count_splits(splits.values()),
        tracks=tracks,
        categories=list(categories.values()),
        formats={source.name: f"{source.format.name} ({source.reason})" for source in sources},
        sources=_origins(sources, sets, splits, Path(params.source)),
        changes=changes.rows(),
        notes=[*placed.notes(), *(f"{params.sound}: {note}" for note in sound_notes)],
        unread={
            name: {"status": status.value, "message": str(error)}
            for name, (status, error) in found.unread.items()
        },
        dropped=dropped,
        unlabelled=[name for name, entry in media.items() if entry.status == "ok" and name not in origin],
    )
    _report(imported, changes, paths, run)
    return imported


def _refuse_unread(found: Sources, params: AnnotateParams) -> None:
    """Raise AvisError where too many of the annotation files could not be read."""
    count = len(found.unread)
    if not count or (found.read and not params.strict and count <= params.max_failed_share * found.parts):
        return
    _, first = next(iter(found.unread.values()))
    if found.parts == 1:
        raise first
    raise AvisError(
        f"{first.what.rstrip('. ')} ({count} of {found.parts} annotation files cannot be read,"
        f" annotate.max_failed_share allows {params.max_failed_share:.0%})",
        where=first.where,
        fix=first.fix,
    )


def _manifest(params: AnnotateParams) -> dict[str, ManifestEntry]:
    if params.splits.manifest is None:
        if params.splits.by == "manifest":
            raise AvisError(
                "annotate.splits.by is manifest, but no manifest is given",
                where="params.yaml, annotate.splits.manifest",
                fix="Give the manifest that ingest uses.",
            )
        return {}
    return {entry.video_id: entry for entry in read_manifest(Path(params.splits.manifest))}


def _mapped(sources: list[Source], params: AnnotateParams) -> list[AnnotationSet]:
    """What was read, with categories named as the map says."""
    sets = [source.reading.annotations for source in sources]
    if params.category_map is None:
        return sets
    return map_all(sets, Path(params.category_map))


def _apply_sound(
    sets: list[AnnotationSet],
    names: Collection[str],
    params: AnnotateParams,
    media: Mapping[str, MediaEntry],
    changes: Changes,
) -> list[str]:
    """Lay the sound labels of kept clips on their tracks; returns what is worth saying."""
    if params.sound is None:
        return []
    labels = read_sound_labels(Path(params.sound), changes)
    notes = []
    for annotations in sets:
        tracks_of = tracks_by_video(annotations)
        for video in annotations.videos:
            if video.name in names and video.name in labels:
                alone = AnnotationSet(annotations.categories, [video], tracks_of[video.id])
                rate_hz = media[video.name].frame_rate_hz
                notes += apply_sound_labels(alone, {video.name: labels[video.name]}, changes, rate_hz)
    for name in labels:
        if name not in names:
            changes.add(
                Kind.DROPPED, "sound label", "its clip is not imported", example=name, count=len(labels[name])
            )
    return notes


def _why_no_media(entry: MediaEntry | None) -> str | None:
    if entry is None:
        return "no such video in the media index"
    if entry.status != "ok":
        return f"media {entry.status}{f': {entry.message}' if entry.message else ''}"
    return None


class _Placed:
    """Brings annotations of a video's own frames to the pictures that extract took of it.

    told_hz: annotate.frame_rate_hz, of the annotated frames.
    """

    def __init__(self, told_hz: float | None, changes: Changes) -> None:
        self._told_hz = told_hz
        self._changes = changes
        self._counts: dict[str, list[int]] = {}  # videos, their frames, those that are kept; by whose rate

    def place(self, video: Video, tracks: list[Track], clock: Clock, entry: MediaEntry, source: str) -> None:
        """Keep the frames that the pictures show; raises AvisError where the two do not last equally long."""
        if video.length == entry.frames:
            return
        if self._told_hz is not None:
            clock = replace(clock, rate_hz=self._told_hz * clock.step)
        guessed = clock.rate_hz is None
        if guessed:
            clock = replace(clock, rate_hz=entry.source_rate_hz)
        frames = frames_of_pictures(video.length, clock, entry.frames, entry.frame_rate_hz)
        if frames is None:
            raise _other_length(video, tracks, clock, entry, source)
        if clock.every > 1:
            self._changes.add(
                Kind.GUESSED,
                "video",
                "the source has not all of its frames: of those that it has the nearest is taken",
                example=f"{video.name}, one frame of {clock.every}",
            )
        if guessed:
            self._changes.add(
                Kind.GUESSED,
                "video",
                "its annotated frames are not the extracted ones, and come at the rate that ingest read: "
                "those are kept that the extracted ones show",
                example=f"{video.name}, {video.length} frames at {clock.rate_hz:g} a second",
            )
        else:
            whose = "the source" if self._told_hz is None else "annotate.frame_rate_hz"
            counts = self._counts.setdefault(whose, [0, 0, 0])
            for place, number in enumerate((1, video.length, len(frames))):
                counts[place] += number
        shown = [track for track in tracks if any(track.segmentations)]
        keep_frames(video, tracks, frames)
        for track in shown:
            if not any(track.segmentations):
                why = "none of its masks lies in a frame that was extracted"
                self._changes.add(Kind.DROPPED, "track", why, example=f"{video.name}, track {track.id}")

    def notes(self) -> list[str]:
        return [
            f"{count(videos, 'video')} annotated at a rate that {whose} tells: of {before} frames, {after} "
            "are kept, those that the extracted ones show"
            for whose, (videos, before, after) in self._counts.items()
        ]


def _other_length(
    video: Video, tracks: list[Track], clock: Clock, entry: MediaEntry, source: str
) -> AvisError:
    ids = ", ".join(str(track.id) for track in tracks[:3]) or "(none)"
    seconds = ""
    if clock.rate_hz is not None:
        apart_s = clock.step * clock.every / clock.rate_hz
        if apart_s * entry.frame_rate_hz > MOST_APART:
            return AvisError(
                f"The annotated frames of the video {video.name!r} lie {apart_s:.3g} s apart, its pictures "
                f"{1 / entry.frame_rate_hz:.3g} s: nobody knows what sounds in those between",
                where=f"{source}, video {video.id}",
                fix=f"Annotate a frame of each picture, or set extract.frame_rate_hz to {1 / apart_s:.3g}. "
                f"If it is not {clock.rate_hz:g} frames a second, annotate.frame_rate_hz says how many.",
            )
        end_s = (clock.first + video.length * clock.step) / clock.rate_hz
        seconds = (
            f"; at the video's {clock.rate_hz:g} frames a second they end after {end_s:.2f} s, "
            f"the media after {entry.frames / entry.frame_rate_hz:.2f} s"
        )
    return AvisError(
        f"Annotation {ids} of the video {video.name!r} has {video.length} frames, "
        f"its media have {entry.frames}{seconds}",
        where=f"{source}, video {video.id}",
        fix="The clip's start or end in the manifest, or the frame rate, is not the one that was annotated. "
        "annotate.frame_rate_hz says how many frames a second were annotated.",
    )


def _split(name: str, source: str, manifest: dict[str, ManifestEntry], params: AnnotateParams) -> str:
    if params.splits.by == "file":
        return split_of_file(Path(source))
    if params.splits.by == "manifest":
        return split_of_manifest(name, manifest, str(params.splits.manifest))
    entry = manifest.get(name)
    return split_by_hash(
        source_of(name, entry.source if entry else None), params.splits.shares, params.splits.seed
    )


def _origins(
    sources: list[Source], sets: list[AnnotationSet], kept: Collection[str], root: Path
) -> list[dict[str, Any]]:
    """The kept clips by data set and format: what lies in one folder in one format is one data set."""
    clips: dict[tuple[str, str], list[str]] = {}
    for source, annotations in zip(sources, sets, strict=True):
        path = Path(source.name)
        archives = [part for part in (*reversed(path.parents), path) if part.suffix.lower() == ".zip"]
        file = archives[0] if archives else path
        origin = file if file == root or file.is_dir() else file.parent
        names = [video.name for video in annotations.videos if video.name in kept]
        clips.setdefault((origin.as_posix(), source.format.name), []).extend(names)
    return [
        {"name": name, "format": format_name, "clips": names} for (name, format_name), names in clips.items()
    ]


def _part(sets: list[AnnotationSet], categories: dict[int, str], names: set[str]) -> AnnotationSet:
    """One split, its pictures named as extract names them."""
    part = unite(sets, categories, names)
    for video in part.videos:
        video.file_names = PictureNames(video.name, video.length)
    return part


def _report(imported: Imported, changes: Changes, paths: Paths, run: Run) -> None:
    summary = paths.annotations / "summary.json"
    write_json(summary, {**imported.metrics(), **imported.__dict__})
    run.metrics({**imported.metrics(), **changes.metrics()})
    run.artifact(summary)
    clips = ", ".join(f"{number} {split}" for split, number in imported.clips.items())
    print(
        f"annotate: {sum(imported.clips.values())} clips ({clips}), {sum(imported.tracks.values())} tracks "
        f"of {len(imported.categories)} categories; {len(imported.dropped)} annotated clips dropped, "
        f"{len(imported.unlabelled)} clips without annotations",
        file=sys.stderr,
    )
    print("annotate: " + "\n".join(changes.report()), file=sys.stderr)
    for note in imported.notes:
        print(f"  {note}", file=sys.stderr)
    for name, row in imported.unread.items():
        print(f"  not read, {row['status']}: {name}: {row['message']}", file=sys.stderr)
    for name, reason in imported.dropped.items():
        print(f"  dropped {name}: {reason}", file=sys.stderr)
