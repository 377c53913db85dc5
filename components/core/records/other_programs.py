"""Results of other programs: what differs from the official format and can be read in one way only.

Which way it is shows in the whole file, so one pass notes of each row what is needed to tell.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.core.records.annotations import AnnotationSet, Video
from components.core.records.changes import Changes, Kind

_ROUNDING = 1e-4  # how far sums of probabilities in 16 or 32 bits lie outside 0 to 1
_LEAST_PERCENT = 20.0  # the best score of a file in percent; logits rarely are so large
_PERCENT_SHARE = 0.1  # of the scores that lie above 1 in a file in percent
_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class SeenRow:
    """What one pass notes of a row.

    start, end: its bytes; values: its video_id (if it has none, its image_id), category_id, score and id, or
    None where it is no object;
    length: of its list of masks, or None; sizes: [height, width] of its run lengths.
    """

    number: int
    start: int
    end: int
    values: dict[str, Any] | None
    length: int | None = None
    sizes: frozenset[tuple[Any, ...]] = frozenset()

    @classmethod
    def of(cls, number: int, start: int, end: int, row: Any) -> "SeenRow":
        """Note a row as `scan` gives it, with texts read as Latin-1."""
        if not isinstance(row, dict):
            return cls(number, start, end, None)
        values = {name: _decoded(row.get(name)) for name in ("video_id", "category_id", "score", "id")}
        if "video_id" not in row and "image_id" in row:
            values["image_id"] = _decoded(row["image_id"])
        masks = row.get("segmentations")
        if not isinstance(masks, list):
            return cls(number, start, end, values)
        sizes = frozenset(
            tuple(mask["size"])
            for mask in masks
            if isinstance(mask, dict)
            and isinstance(mask.get("size"), list)
            and all(type(side) is int for side in mask["size"])
        )
        return cls(number, start, end, values, len(masks), sizes)

    def fits(self, video: Video | None) -> bool:
        """Whether its masks are as many as the video's frames, and of their size."""
        return (
            video is not None and self.length == video.length and self.sizes <= {(video.height, video.width)}
        )


@dataclass(frozen=True, slots=True)
class Videos:
    """The videos of the ground truth by what stands in video_id.

    types: of video_id. hint: what the file looks like that may not be assumed, for messages.
    """

    by_key: Mapping[Any, Video]
    types: tuple[type, ...] = (int,)
    hint: str | None = None

    def find(self, key: object) -> Video | None:
        """The video that a row is about; None if there is none."""
        return self.by_key.get(key) if type(key) in self.types else None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of a file are read; small, as it goes with each video to another process.

    category_ids: by name, where categories are named. divisor: of the scores. hints: what the file looks like
    that may not be assumed, for messages.
    """

    category_ids: dict[str, int] = field(default_factory=dict)
    divisor: float = 1.0
    score_hint: str | None = None
    category_hint: str | None = None

    def official(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row as the official format has it, as far as it is understood."""
        category, score = row.get("category_id"), row.get("score")
        if isinstance(category, str):
            category = self.category_ids.get(category, category)
        if isinstance(score, int | float) and not isinstance(score, bool):
            score = _within(score, self.divisor)
        return {**row, "category_id": category, "score": score}


def reading_of(
    rows: Sequence[SeenRow], annotations: AnnotationSet, changes: Changes
) -> tuple[Videos, Reading]:
    """Tell how a file is meant, and count what is read otherwise than it stands there."""
    objects = [row for row in rows if row.values is not None]
    videos = _videos(objects, annotations, changes)
    divisor, score_hint = _divisor(objects, changes)
    category_ids, category_hint = _categories(objects, annotations.categories, changes)
    return videos, Reading(category_ids, divisor, score_hint, category_hint)


def _videos(rows: Sequence[SeenRow], annotations: AnnotationSet, changes: Changes) -> Videos:
    by_id = {video.id: video for video in annotations.videos}
    given = [row.values["video_id"] for row in rows if row.values is not None]
    if given and all(isinstance(one, str) for one in given):
        return _videos_by_text(given, annotations, changes)
    if given and any(type(one) is float for one in given) and all(_is_whole(one) for one in given):
        changes.add(Kind.GUESSED, "track", "its video id is written with a decimal point", count=len(given))
        return Videos(by_id, (int, float))
    if not given or not all(type(one) is int for one in given):
        return Videos(by_id)
    if all(row.fits(by_id.get(one)) for row, one in zip(rows, given, strict=True)):
        return Videos(by_id)
    return _shifted(rows, given, by_id, changes)


def _shifted(
    rows: Sequence[SeenRow], given: Sequence[int], by_id: dict[int, Video], changes: Changes
) -> Videos:
    """Are all ids one off? It is taken for that where the frames tell, too: they fit no other way."""
    ways = {
        by: word
        for by, word in ((1, "lower"), (-1, "higher"))
        if all(row.fits(by_id.get(one + by)) for row, one in zip(rows, given, strict=True))
    }
    if len(ways) != 1:
        return Videos(by_id)
    ((by, word),) = ways.items()
    said = f"all ids are one {word} than in the ground truth"
    contradicted = [
        one for row, one in zip(rows, given, strict=True) if one in by_id and not row.fits(by_id[one])
    ]
    if not contradicted:
        theirs, ours = (f"{min(ids)} to {max(ids)}" for ids in (given, by_id))
        perhaps = f"Perhaps {said} ({theirs}, there {ours}): then write those of the ground truth."
        return Videos(by_id, hint=perhaps)
    why = f"{said}, and only moved by one do the frames of all tracks fit their videos"
    changes.add(Kind.GUESSED, "track", why, example=f"{given[0]} is {given[0] + by}", count=len(given))
    return Videos({key - by: video for key, video in by_id.items()})


def _videos_by_text(given: Sequence[str], annotations: AnnotationSet, changes: Changes) -> Videos:
    """Names, with or without a media file's ending, or ids in quotes; one or the other for all rows."""
    named = _unique((video.name, video) for video in annotations.videos)
    quoted = {str(video.id): video for video in annotations.videos}
    if all(one in quoted for one in given):
        if any(one in named and named[one] is not quoted[one] for one in given):
            return Videos({}, hint="It is the id of a video and the name of another: write ids as numbers.")
        changes.add(Kind.GUESSED, "track", "its video id is written as a text", count=len(given))
        return Videos(quoted, (str,))
    plain = {one: one if one in named else one.rpartition(".")[0] for one in given}
    known = {one: named[name] for one, name in plain.items() if name in named}
    for one in given:
        if one in known:
            cut = "" if one == known[one].name else ", with the ending of a file"
            changes.add(
                Kind.RENAMED, "track", f"its video is named instead of numbered{cut}", example=f"{one!r}"
            )
    hint = f"Other rows name videos, such as {next(iter(known))!r}." if known else None
    return Videos(known, (str,), hint)


def _divisor(rows: Sequence[SeenRow], changes: Changes) -> tuple[float, str | None]:
    scores = [row.values["score"] for row in rows if row.values is not None]
    if not scores or not all(type(one) in (int, float) and _is_finite(one) for one in scores):
        return _clipped(scores, 1.0, changes), None
    above = sum(one > 1 + _ROUNDING for one in scores)
    if above < _PERCENT_SHARE * len(scores) or not above:
        return _clipped(scores, 1.0, changes), None
    low, high = min(scores), max(scores)
    limit = _PERCENT * (1 + _ROUNDING)
    if low < -_ROUNDING or not _LEAST_PERCENT < high <= limit:
        return 1.0, f"They go from {low:g} to {high:g}: give probabilities, not logits."
    why = f"the scores go from {low:g} to {high:g}, so they are read as percent"
    changes.add(Kind.GUESSED, "score", why, count=len(scores))
    return _clipped(scores, _PERCENT, changes), None


def _clipped(scores: Iterable[Any], divisor: float, changes: Changes) -> float:
    numbers = [one / divisor for one in scores if type(one) in (int, float) and _is_finite(one)]
    outside = [one for one in numbers if not 0 <= one <= 1 and 0 <= _within(one, 1.0) <= 1]
    if outside:
        why = f"it lies less than {_ROUNDING:g} outside 0 to 1"
        changes.add(Kind.CLIPPED, "score", why, example=f"{outside[0]:.9g}", count=len(outside))
    return divisor


def _categories(
    rows: Sequence[SeenRow], categories: dict[int, str], changes: Changes
) -> tuple[dict[str, int], str | None]:
    given = [row.values["category_id"] for row in rows if row.values is not None]
    if given and all(isinstance(one, str) for one in given):
        names = _unique((name, identity) for identity, name in categories.items())
        for one in given:
            if one in names:
                why = "its category is named instead of numbered"
                changes.add(Kind.RENAMED, "track", why, example=f"{one!r}")
        return names, None
    numbers = {one for one in given if type(one) is int}
    if not numbers or numbers <= categories.keys():
        return {}, None
    for by, word in ((1, "lower"), (-1, "higher")):
        if {one + by for one in numbers} <= categories.keys():
            return {}, f"Perhaps all category ids are one {word} than in the ground truth."
    return {}, None


def _within(score: float, divisor: float) -> float:
    """A score from 0 to 1, where it is no further outside than rounding explains; else as it is."""
    if not _is_finite(score):
        return score
    value = score / divisor
    if -_ROUNDING <= value < 0:
        return 0.0
    if 1 < value <= 1 + _ROUNDING:
        return 1.0
    return score if divisor == 1 else value


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Names with what they stand for, without those that stand for several."""
    found: dict[str, Any] = {}
    several = set()
    for name, value in pairs:
        if name in found:
            several.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in several}


def _decoded(value: Any) -> Any:
    """A text as it was meant: it was read as Latin-1, so that a character is a byte."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:  # an escape, \u20ac, is read as it is
        return value
