"""What a conversion wrote, read back and compared: object by object, pixel by pixel."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.annotate.capabilities import count
from components.annotate.exports import changes_of, read_sources
from components.annotate.formats import Format
from components.annotate.merge import unite_all
from components.annotate.sound_labels import apply_sound_labels, read_sound_labels, sounding_of
from components.core.records import masks
from components.core.records.annotations import AnnotationSet, Track, Video, tracks_by_video
from components.core.records.archives import is_zip, unpacked
from components.core.records.changes import MOST_NAMED, Changes, Kind
from components.core.records.work_file import WorkFile
from components.core.run.errors import AvisError

_SAME_TIME_S = 0.002  # ELAN holds milliseconds
_PLURALS = {"track with masks": "tracks with masks"}


@dataclass
class ReadBack:
    """What came back.

    compared: how many there were of each unit: "video", "track", "mask".
    differences: what the format should have carried and did not.
    not_held: what differs because the format cannot hold it.
    reading: what reading it back changed.
    """

    compared: dict[str, int]
    differences: Changes = field(default_factory=Changes)
    not_held: Changes = field(default_factory=Changes)
    reading: Changes = field(default_factory=Changes)

    def report(self) -> list[str]:
        """Lines for the terminal."""
        numbers = ", ".join(count(number, unit, _PLURALS.get(unit)) for unit, number in self.compared.items())
        lines = [f"read back and compared: {numbers}; differences: {self.differences.line()}"]
        for title, changes in (
            ("difference", self.differences),
            ("not held by the format", self.not_held),
            ("changed on reading back", self.reading),
        ):
            lines += [f"  {title}: {sentence}" for sentence in changes.sentences()]
        return lines

    def refuse(self, target: Path) -> None:
        """Raise AvisError where something differs that the format should have carried."""
        if self.differences:
            sentences = self.differences.sentences()
            more = len(sentences) - MOST_NAMED
            rest = f"; and {more} more reasons" if more > 0 else ""
            raise AvisError(
                f"What was written does not come back the same: {'; '.join(sentences[:MOST_NAMED])}{rest}",
                where=str(target),
                fix="The target was written; do not use it. Convert to another format, and report this.",
            )


def read_back(written: AnnotationSet, target: Path, writer: Format) -> ReadBack:
    """Read what `writer` wrote to `target` and compare it with the annotations that it was given.

    Raises:
        AvisError: the target cannot be read back at all.
    """
    try:
        if writer.read is None:
            return _compare_sound(written, target)
        sources = read_sources(target, writer.name, work=WorkFile(target.parent), setting="the target")
        back = unite_all([one.reading.annotations for one in sources], [one.name for one in sources])
    except AvisError as error:
        raise AvisError(
            f"What was written cannot be read back: {error.what}", where=error.where or str(target),
            fix="Do not use the target. Convert to another format, and report this.",
        ) from None  # fmt: skip
    result = compare(written, back, writer)
    result.reading = changes_of(sources)
    return result


def compare(written: AnnotationSet, back: AnnotationSet, writer: Format) -> ReadBack:
    """Compare what was written in a format with what was read of it."""
    result = ReadBack(_counts(written))
    _Comparison(written, back, writer, result).compare()
    return result


class _Comparison:
    def __init__(self, written: AnnotationSet, back: AnnotationSet, writer: Format, result: ReadBack) -> None:
        self.written, self.back, self.result = written, back, result
        self.holds, self.one_object_a_pixel = writer.holds, writer.one_object_a_pixel

    def note(self, part: str | None, kind: Kind, unit: str, why: str, example: str) -> None:
        """Count a difference; `part` of PARTS excuses it where the format does not hold that."""
        held = part is None or part in self.holds
        (self.result.differences if held else self.result.not_held).add(kind, unit, why, example=example)

    def compare(self) -> None:
        self._compare_categories()
        came = {video.name: (video, tracks) for video, tracks in _by_video(self.back)}
        for video, tracks in _by_video(self.written):
            if video.name not in came:
                bare = not any(_codes(track, video)[1] for track in tracks)
                part = "videos without masks" if bare else None
                self.note(part, Kind.DROPPED, "video", "it does not come back", video.name)
                continue
            other, others = came.pop(video.name)
            self._compare_video(video, other)
            if (video.height, video.width) == (other.height, other.width):
                self._compare_tracks(video, tracks, other, others)
        for name in came:
            self.note(None, Kind.FILLED, "video", "nobody wrote it", name)
        if self.written.info != self.back.info:
            self.note("info", Kind.DROPPED, "field info", "it is not the same", "")

    def _compare_categories(self) -> None:
        shown = {
            track.category_id
            for video, tracks in _by_video(self.written)
            for track in tracks
            if _codes(track, video)[1]
        }
        ids = {name: number for number, name in self.back.categories.items()}
        for number, name in self.written.categories.items():
            if name not in ids:
                part = "categories" if number in shown else "unused categories"
                self.note(part, Kind.DROPPED, "category", "it does not come back", name)
            elif ids.pop(name) != number:
                self.note("category ids", Kind.RENAMED, "category id", "it is another", name)
        for name in ids:
            self.note("categories", Kind.FILLED, "category", "nobody wrote it", name)

    def _compare_video(self, video: Video, other: Video) -> None:
        if (video.height, video.width) != (other.height, other.width):
            self.note(None, Kind.CLIPPED, "video", "its frames have another size", video.name)
        if video.length != other.length:
            part = "lengths" if other.length < video.length else None
            self.note(part, Kind.CLIPPED, "video", "it has another number of frames", video.name)
        elif video.file_names != other.file_names:
            self.note("frame names", Kind.RENAMED, "video", "its pictures have other names", video.name)
        if video.id != other.id:
            self.note("video ids", Kind.RENAMED, "video id", "it is another", video.name)

    def _compare_tracks(
        self, video: Video, tracks: Sequence[Track], other: Video, others: Sequence[Track]
    ) -> None:
        pairs, alone, strange = self._paired(video, tracks, other, others)
        shared = _shared(tracks, video) if self.one_object_a_pixel else {}
        for track, came in pairs:
            self._compare_pair(video, track, came, shared)
        for track in alone:
            example = f"{video.name}, track {track.id}"
            shown = _codes(track, video)[1]
            part = None if shown else "tracks without masks"
            if shown and all(k in shared and not (_mask(track, k, video) & ~shared[k]).any() for k in shown):
                self.result.not_held.add(
                    Kind.DROPPED, "track", "others lie over it, and a pixel is of one object", example=example
                )
                continue
            self.note(part, Kind.DROPPED, "track", "it does not come back", example)
        for track in strange:
            example = f"{video.name}, track {track.id}"
            self.note(None, Kind.FILLED, "track", "nobody wrote it", example)

    def _paired(
        self, video: Video, tracks: Sequence[Track], other: Video, others: Sequence[Track]
    ) -> tuple[list[tuple[Track, Track]], list[Track], list[Track]]:
        """(written, read) tracks of one object; those that did not come back; those nobody wrote."""
        pairs: list[tuple[Track, Track]] = []
        ours, theirs = list(tracks), list(others)

        def take(track: Track, came: Track) -> None:
            pairs.append((track, came))
            ours.remove(track)
            theirs.remove(came)

        if "track ids" in self.holds:
            ids = {came.id: came for came in theirs}
            for track in tracks:
                if track.id in ids:
                    take(track, ids[track.id])
        length = min(video.length, other.length)
        mine = {id(track): _codes(track, video)[0][:length] for track in ours}
        found = {id(came): _codes(came, other)[0][:length] for came in theirs}
        likely = []
        for place, track in enumerate(ours):
            for other_place, came in enumerate(theirs):
                overlap = masks.clip_overlap(mine[id(track)], found[id(came)])
                same = self._category(track, self.written) == self._category(came, self.back)
                if overlap > 0 or (same and not any(mine[id(track)]) and not any(found[id(came)])):
                    agree = track.annotator == came.annotator
                    likely.append((-overlap, not same, not agree, place, other_place, track, came))
        for *_, track, came in sorted(likely, key=lambda entry: entry[:5]):
            if any(track is one for one in ours) and any(came is one for one in theirs):
                take(track, came)
        places = {track.id: place for place, track in enumerate(tracks)}
        return sorted(pairs, key=lambda pair: places[pair[0].id]), ours, theirs

    @staticmethod
    def _category(track: Track, annotations: AnnotationSet) -> str:
        return annotations.categories[track.category_id]

    def _compare_pair(self, video: Video, track: Track, came: Track, shared: dict[int, Any]) -> None:
        example = f"{video.name}, track {track.id}"
        if self._category(track, self.written) != self._category(came, self.back):
            self.note("categories", Kind.RENAMED, "track", "it has another category", example)
        if track.id != came.id:
            self.note("track ids", Kind.RENAMED, "track id", "it is another", example)
        if bool(track.iscrowd) != bool(came.iscrowd):
            self.note("crowd", Kind.DROPPED, "crowd mark", "it is not the same", example)
        if track.annotator != came.annotator:
            self.note("annotator", Kind.DROPPED, "annotator's name", "it is not the same", example)
        if not _same_times(track.sounding, came.sounding):
            self.note("sounding", Kind.DROPPED, "track's sounding", "the intervals are not the same", example)
        for k, (segmentation, other) in enumerate(
            zip(track.segmentations, _padded(came.segmentations, len(track.segmentations)), strict=True)
        ):
            self._compare_mask(video, k, segmentation, other, f"{example}, frame {k}", shared.get(k))

    def _compare_mask(
        self, video: Video, k: int, segmentation: Any, other: Any, example: str, shared: Any
    ) -> None:
        before, after = (masks.compress(one, video.height, video.width) for one in (segmentation, other))
        if before == after:
            if isinstance(segmentation, list) and segmentation and not isinstance(other, list):
                why = "they come back as a mask of the same pixels"
                self.result.not_held.add(Kind.DROPPED, "frame's polygons", why, example=example)
            return
        one, two = (masks.decode(code, video.height, video.width) for code in (before, after))
        differs = one != two
        if not differs.any():
            return  # coded in another way, or null for empty
        if shared is not None and not (differs & ~shared).any():
            why = "of overlapping masks one has the pixels"
            self.result.not_held.add(Kind.CLIPPED, "mask", why, example=example)
        elif not two.any():
            self.note(None, Kind.DROPPED, "mask", "it does not come back", example)
        elif not one.any():
            self.note(None, Kind.FILLED, "mask", "nobody wrote it", example)
        else:
            self.note(None, Kind.CLIPPED, "mask", "its pixels are not the same", example)


def _compare_sound(written: AnnotationSet, target: Path) -> ReadBack:
    """Of a format of sound labels: do the intervals come back to the same tracks?"""
    result = ReadBack(_counts(written))
    wanted, _ = sounding_of(written)
    back = copy.deepcopy(written)
    for track in back.tracks:
        track.sounding = None
    if target.is_file() and is_zip(target):
        with unpacked(target, target.parent) as folder:
            labels = read_sound_labels(folder, result.reading)
    else:
        labels = read_sound_labels(target, result.reading)
    apply_sound_labels(back, labels, result.reading)
    names = {video.id: video.name for video in written.videos}
    for track in back.tracks:
        example = f"{names[track.video_id]}, track {track.id}"
        if not _same_times(wanted[track.id] or None, track.sounding):
            why = "the intervals are not the same"
            result.differences.add(Kind.DROPPED, "track's sounding", why, example=example)
    if result.compared["mask"]:
        result.not_held.add(
            Kind.DROPPED, "mask", "only when tracks sound is held", count=result.compared["mask"]
        )
    return result


def _counts(annotations: AnnotationSet) -> dict[str, int]:
    frames = [len(_codes(track, video)[1]) for video, tracks in _by_video(annotations) for track in tracks]
    counts = {"video": len(annotations.videos), "track with masks": sum(map(bool, frames))}
    return {**counts, "mask": sum(frames)}


def _by_video(annotations: AnnotationSet) -> Iterable[tuple[Video, list[Track]]]:
    tracks = tracks_by_video(annotations)
    return [(video, tracks[video.id]) for video in annotations.videos]


def _codes(track: Track, video: Video) -> tuple[list[dict[str, Any] | None], list[int]]:
    """The codes of a track's frames, None where no pixel is set, and the frames with pixels."""
    codes = masks.seen_codes(track.segmentations, video.height, video.width)
    return codes, [k for k, code in enumerate(codes) if code is not None]


def _mask(track: Track, k: int, video: Video) -> Any:
    return masks.decode(track.segmentations[k], video.height, video.width)


def _shared(tracks: Sequence[Track], video: Video) -> dict[int, Any]:
    """By frame the pixels [H, W] that are in several tracks, of the frames that have such."""
    found = {}
    for k in range(video.length):
        covered = sum(_mask(track, k, video).astype(int) for track in tracks if track.segmentations[k])
        several = covered > 1
        if isinstance(several, bool) or not several.any():
            continue
        found[k] = several
    return found


def _padded(segmentations: Sequence[Any], length: int) -> list[Any]:
    return [*segmentations[:length], *[None] * (length - len(segmentations))]


def _same_times(one: Sequence[Any] | None, other: Sequence[Any] | None) -> bool:
    if one is None or other is None or len(one) != len(other):
        return one is None and other is None
    return all(
        abs(before - after) <= _SAME_TIME_S
        for interval, came in zip(one, other, strict=True)
        for before, after in zip(interval, came, strict=True)
    )
