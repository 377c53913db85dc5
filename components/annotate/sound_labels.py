"""When each track is heard, labelled by itself in a sound editor: read, and laid on the masks.

A label names a track: by its id ("3" or "track 3"), by its category where only one track of the clip has it
("dog"), or by both ("dog 3"). Files: Audacity's label track (.txt), ELAN (.eaf), Label Studio (.json).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from components.annotate.capabilities import count
from components.annotate.parsing.fields import mapping
from components.annotate.parsing.label_studio_tasks import (
    annotation_of,
    data_of,
    note_upload,
    without_upload_prefix,
)
from components.annotate.parsing.xml_files import parse_xml
from components.annotate.track_builder import video_name
from components.core.records.annotations import AnnotationSet, Track, tracks_by_video
from components.core.records.changes import Changes, Kind
from components.core.records.json_rows import read_list
from components.core.records.masks import is_empty
from components.core.records.work_file import taken
from components.core.run.errors import AvisError

ENDINGS = (".txt", ".eaf", ".json")
_LONGEST_S = 1e7
_LATE = "it begins after the video's end"


@dataclass(frozen=True, slots=True)
class SoundLabel:
    """An interval in seconds of the clip, and what may name its track, the likeliest first."""

    start_s: float
    end_s: float
    names: tuple[str, ...]
    where: str


def read_sound_labels(path: Path, changes: Changes) -> dict[str, list[SoundLabel]]:
    """Labels by video name: of a file, named after its video, or of all in a folder.

    Args:
        changes: receives what of the files was left out.

    Raises:
        AvisError: nothing is there, or a file is malformed; it names the line.
    """
    if not (path.is_file() or path.is_dir()):  # a pipe that nobody writes to would be waited for
        raise AvisError("There are no sound labels", where=str(path))
    files = (
        sorted(file for file in path.iterdir() if file.suffix in ENDINGS and file.is_file())
        if path.is_dir()
        else [path]
    )
    if not files:
        raise AvisError(f"The folder has no file of labels ({', '.join(ENDINGS)})", where=str(path))
    found: dict[str, list[SoundLabel]] = {}
    for file in files:
        for name, labels in _read(file, changes).items():
            if name in found:
                raise AvisError(f"The sound of {name!r} is labelled in two files", where=str(file))
            found[name] = labels
    return found


def _read(file: Path, changes: Changes) -> dict[str, list[SoundLabel]]:
    if file.suffix == ".json":
        return _label_studio(file, changes)
    labels = list(_audacity(file) if file.suffix == ".txt" else _elan(file))
    return {video_name(file.stem, str(file)): labels}


def _audacity(file: Path) -> Iterator[SoundLabel]:
    """Lines `start<TAB>end<TAB>label`; lines that begin with a backslash hold frequencies."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AvisError("The labels are not UTF-8 text", where=str(file)) from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        where = f"{file}, line {number}"
        cells = line.split("\t")
        if len(cells) != 3:
            raise AvisError(
                "The line is not start, end and label with tabs between them", where=where,
                fix="In Audacity: File, Export Other, Export Labels.",
            )  # fmt: skip
        yield _label(cells[0].strip(), cells[1].strip(), (cells[2].strip(),), where)


def _elan(file: Path) -> Iterator[SoundLabel]:
    """Time-aligned annotations; the tier or the annotation's text names the track."""
    root = parse_xml(file)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AvisError(f"This is no ELAN file: its root is <{root.tag}>", where=str(file))
    slots = root.iterfind("TIME_ORDER/TIME_SLOT")
    times = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in slots}
    for tier in root.iterfind("TIER"):
        name = tier.get("TIER_ID", "")
        for annotation in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION"):
            where = f"{file}, tier {name!r}, annotation {annotation.get('ANNOTATION_ID')}"
            start, end = (times.get(annotation.get(f"TIME_SLOT_REF{side}")) for side in (1, 2))
            if start is None or end is None:
                raise AvisError("The annotation has no time", where=where, fix="Align it in ELAN.")
            text = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            yield _label(start, end, (name.strip(), text), where, per_second=1000)


def _label_studio(file: Path, changes: Changes) -> dict[str, list[SoundLabel]]:
    """Regions of audio tasks: value.start, value.end, value.labels."""
    found: dict[str, list[SoundLabel]] = {}
    for where, row in read_list(file, "tasks"):
        task = mapping(row, where)
        data = data_of(task, where)
        address = re.split(r"[?&]d=", str(data.get("audio") or data.get("video") or ""))[-1]
        stem = re.sub(r"\.\w{2,4}$", "", address.rpartition("/")[2])
        plain = without_upload_prefix(address, stem)
        name = video_name(str(data.get("video_id") or plain), where)
        if not data.get("video_id"):
            note_upload(changes, stem if plain != stem else "", name)
        labels = found.setdefault(name, [])
        chosen = annotation_of(task)
        chosen.note(changes, where)
        for number, region in enumerate(chosen.regions):
            at = f"{where}, result[{number}]"
            value = mapping(region, at).get("value")
            if not isinstance(value, Mapping) or "start" not in value:
                continue  # a choice, or a text of the whole clip
            names = value.get("labels")
            words = tuple(str(word) for word in names) if isinstance(names, list) else ()
            labels.append(_label(value["start"], value.get("end"), words, at))
    return found


def _label(start: Any, end: Any, names: tuple[str, ...], where: str, per_second: float = 1) -> SoundLabel:
    try:
        start_s, end_s = float(start) / per_second, float(end) / per_second
    except (TypeError, ValueError):
        start_s = end_s = math.nan
    if not 0 <= start_s <= end_s <= _LONGEST_S:
        raise AvisError(
            f"{start!r} to {end!r} is no interval of time",
            where=where,
            fix="Write points for decimals." if "," in f"{start}{end}" else None,
        )
    return SoundLabel(start_s, end_s, tuple(name for name in names if name), where)


def apply_sound_labels(
    annotations: AnnotationSet,
    labels: Mapping[str, Sequence[SoundLabel]],
    changes: Changes,
    frame_rate_hz: float = 1.0,
) -> list[str]:
    """Give tracks their intervals, and take away the masks of frames in which they are not heard at all.

    Tracks without a label stay as they are. The annotations are changed in place.

    Args:
        changes: receives what of the labels themselves was left out or cut.

    Returns:
        what the labels did to the masks, as they are meant to, a sentence each.

    Raises:
        AvisError: a label names no track of its video, or several.
    """
    notes: list[str] = []
    removed = labelled = 0
    unheard: list[str] = []
    videos = {video.name: video for video in annotations.videos}
    tracks_of = tracks_by_video(annotations)
    for name, of_video in labels.items():
        video = videos.get(name)
        if video is None:
            changes.add(
                Kind.DROPPED, "sound label", "its video has no masks", example=name, count=len(of_video)
            )
            continue
        tracks = tracks_of[video.id]
        intervals: dict[int, list[tuple[float, float]]] = {}
        for label in of_video:
            track = _named(label, tracks, annotations.categories)
            end_s = min(label.end_s, video.length / frame_rate_hz)
            if label.start_s >= end_s:
                is_point = label.start_s == label.end_s
                why = "it is a point in time, start and end are the same" if is_point else _LATE
                changes.add(Kind.DROPPED, "sound label", why, example=label.where)
            else:
                if label.end_s > end_s + 1 / frame_rate_hz:
                    changes.add(
                        Kind.CLIPPED, "sound label", "it lasts beyond the video's end", example=label.where
                    )
                intervals.setdefault(track.id, []).append((label.start_s, end_s))
        for track in tracks:
            if track.id not in intervals:
                continue
            labelled += 1
            track.sounding = _joined(intervals[track.id])
            overlaps = sum(end > start for (_, end), (start, _) in pairwise(sorted(intervals[track.id])))
            why = "it overlaps another one of its track"
            example = f"{name}, track {track.id}"
            changes.add(Kind.MERGED, "sound label", why, example=example, count=overlaps)
            heard = [_heard(track.sounding, k, frame_rate_hz) for k in range(video.length)]
            shown = [not is_empty(segmentation) for segmentation in track.segmentations]
            silent = {k for k, share in enumerate(heard) if share == 0 and shown[k]}
            if silent:
                kept = [None if k in silent else k for k in range(video.length)]
                track.segmentations = taken(track.segmentations, kept)
                removed += len(silent)
            missing = [k for k, share in enumerate(heard) if share >= 0.9 and not shown[k]]
            if missing:
                frames = f"{count(len(missing), 'frame')}, first {missing[0]}"
                unheard.append(f"track {track.id} of {name!r} ({frames})")
    notes.append(
        f"{count(labelled, 'track')} with sound labels; {count(removed, 'mask')} of frames in which "
        "they are not heard taken away"
    )
    if unheard:
        more = f" and {len(unheard) - 5} more" if len(unheard) > 5 else ""
        notes.append(f"heard without a mask (hidden, or forgotten): {', '.join(unheard[:5])}{more}")
    return notes


def _named(label: SoundLabel, tracks: Sequence[Track], categories: Mapping[int, str]) -> Track:
    """The track that a label means."""
    several = False
    for name in label.names:
        match = re.fullmatch(r"(?:(.*\S)\s+)?(\d{1,15})", name)
        if match is not None:
            word = (match[1] or "track").casefold()
            for track in tracks:
                category = categories[track.category_id].casefold()
                if track.id == int(match[2]) and word in ("track", category):
                    return track
        same = [track for track in tracks if categories[track.category_id].casefold() == name.casefold()]
        if len(same) == 1:
            return same[0]
        several = several or len(same) > 1
    known = ", ".join(f"{categories[track.category_id]} {track.id}" for track in tracks[:8]) or "none"
    what = "names several tracks" if several else "names no track of its video"
    raise AvisError(
        f"The label {' / '.join(label.names)[:80]!r} {what}", where=label.where, fix=f"Its tracks: {known}."
    )


def _joined(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _heard(intervals: Sequence[tuple[float, float]], k: int, frame_rate_hz: float) -> float:
    """The share of frame k's second in which there is sound."""
    start_s, end_s = k / frame_rate_hz, (k + 1) / frame_rate_hz
    return sum(max(0.0, min(end, end_s) - max(start, start_s)) for start, end in intervals) * frame_rate_hz


def sounding_of(
    annotations: AnnotationSet, frame_rate_hz: float = 1.0
) -> tuple[dict[int, list[tuple[float, float]]], list[str]]:
    """The intervals of each track by id, its own or else those of its masks, and what is lost thereby."""
    found: dict[int, list[tuple[float, float]]] = {}
    of_masks = 0
    for track in annotations.tracks:
        if track.sounding is not None:
            found[track.id] = track.sounding
            continue
        of_masks += 1
        frames = [k for k, mask in enumerate(track.segmentations) if not is_empty(mask)]
        found[track.id] = _joined([(k / frame_rate_hz, (k + 1) / frame_rate_hz) for k in frames])
    lost = ["only when tracks sound is held, not their masks"]
    if of_masks:
        lost.append(f"{count(of_masks, 'track')} without intervals: theirs are the seconds of the masks")
    return found, lost
