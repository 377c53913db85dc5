"""What people changed of a draft: the model's errors, by category.

A draft's tracks and the corrected ones are matched one to one by the overlap of their masks over the whole
clip. Nothing else could match them: annotation tools number tracks anew.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import clip_overlap, seen_codes
from components.core.run.errors import AvisError

Kind = Literal["kept", "redrawn", "relabelled", "removed", "added"]
KINDS: tuple[Kind, ...] = ("kept", "redrawn", "relabelled", "removed", "added")
_LEAST_OVERLAP = 0.1  # over the clip; below, a track was removed and another added
_SAME = 0.995  # overlap of masks that went through a tool and came back untouched


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one track.

    draft, corrected: the tracks' ids; None where there is none.
    draft_category, corrected_category: "" where there is none.
    overlap: mean intersection over union of frames on which both have a mask; None without such frames.
    frames_added: people drew a mask where the draft was silent. frames_removed: the reverse.
    frames_redrawn: both have a mask, and it was changed.
    worst_frame: with the least overlap; None for tracks that were kept.
    """

    video: str
    kind: Kind
    draft_category: str
    corrected_category: str
    draft: int | None
    corrected: int | None
    overlap: float | None
    frames_added: int
    frames_removed: int
    frames_redrawn: int
    worst_frame: int | None


@dataclass(slots=True)
class CategoryChanges:
    """One category: tracks by what became of them, frames that changed, categories that it was taken for.

    The category is the corrected one; removed tracks count under the draft's.
    """

    tracks: Counter[Kind] = field(default_factory=Counter)
    frames_added: int = 0
    frames_removed: int = 0
    frames_redrawn: int = 0
    overlaps: list[float] = field(default_factory=list)
    taken_for: Counter[str] = field(default_factory=Counter)

    @property
    def overlap(self) -> float | None:
        """Mean overlap of the draft's masks with the corrected ones."""
        return float(np.mean(self.overlaps)) if self.overlaps else None


@dataclass(slots=True)
class Corrections:
    """All changes. pending: videos of the draft that no corrected file has; unknown: the reverse."""

    changes: list[Change]
    videos: int
    pending: list[str]
    unknown: list[str]

    def by_category(self) -> dict[str, CategoryChanges]:
        """The changes of each category, the most frequent first."""
        found: dict[str, CategoryChanges] = {}
        for change in self.changes:
            category = found.setdefault(change.corrected_category or change.draft_category, CategoryChanges())
            category.tracks[change.kind] += 1
            category.frames_added += change.frames_added
            category.frames_removed += change.frames_removed
            category.frames_redrawn += change.frames_redrawn
            if change.overlap is not None:
                category.overlaps.append(change.overlap)
            if change.kind == "relabelled":
                category.taken_for[change.draft_category] += 1
        return dict(sorted(found.items(), key=lambda entry: (-entry[1].tracks.total(), entry[0])))


def compare(draft: AnnotationSet, corrected: AnnotationSet) -> Corrections:
    """Compare drafts with what people made of them, videos by name.

    Raises:
        AvisError: a video has another length or size than in the draft, or a mask does not decode.
    """
    after = {video.name: video for video in corrected.videos}
    changes: list[Change] = []
    done = [video for video in draft.videos if video.name in after]
    for video in done:
        other = after[video.name]
        if (video.length, video.height, video.width) != (other.length, other.height, other.width):
            raise AvisError(
                f"The corrected video has {other.length} frames of {other.width}x{other.height}, the draft "
                f"{video.length} of {video.width}x{video.height}",
                where=video.name,
                fix="Correct the frames of data/media/frames that the draft was made for.",
            )
        changes += _compare_video(
            video,
            [
                (track, draft.categories[track.category_id])
                for track in draft.tracks
                if track.video_id == video.id
            ],
            [
                (track, corrected.categories[track.category_id])
                for track in corrected.tracks
                if track.video_id == other.id
            ],
        )
    known = {video.name for video in draft.videos}
    return Corrections(
        changes,
        videos=len(done),
        pending=[video.name for video in draft.videos if video.name not in after],
        unknown=[name for name in after if name not in known],
    )


def _compare_video(
    video: Video, before: Sequence[tuple[Track, str]], after: Sequence[tuple[Track, str]]
) -> list[Change]:
    codes = [_codes(track, video) for track, _ in before], [_codes(track, video) for track, _ in after]
    overlaps = np.array([[clip_overlap(one, other) for other in codes[1]] for one in codes[0]])
    pairs: dict[int, int] = {}
    if overlaps.size:
        # The category decides only between equal overlaps: what people relabelled stays one track.
        same = np.array([[a[1] == b[1] for b in after] for a in before])
        for row, column in zip(*linear_sum_assignment(overlaps + 1e-6 * same, maximize=True), strict=True):
            if overlaps[row, column] >= _LEAST_OVERLAP:
                pairs[int(row)] = int(column)
    silent: list[Any] = [None] * video.length
    changes = []
    for row, (track, category) in enumerate(before):
        column = pairs.get(row)
        if column is None:
            changes.append(_change(video, track.id, category, None, "", codes[0][row], silent))
        else:
            other, new_category = after[column]
            changes.append(
                _change(video, track.id, category, other.id, new_category, codes[0][row], codes[1][column])
            )
    for column, (track, category) in enumerate(after):
        if column not in pairs.values():
            changes.append(_change(video, None, "", track.id, category, silent, codes[1][column]))
    return changes


def _change(
    video: Video,
    draft: int | None,
    draft_category: str,
    corrected: int | None,
    corrected_category: str,
    before: Sequence[Any],
    after: Sequence[Any],
) -> Change:
    both = {k: _overlap(a, b) for k, (a, b) in enumerate(zip(before, after, strict=True)) if a and b}
    added = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if b and not a]
    removed = [k for k, (a, b) in enumerate(zip(before, after, strict=True)) if a and not b]
    redrawn = [k for k, overlap in both.items() if overlap < _SAME]
    kind: Kind = "kept"
    if corrected is None:
        kind = "removed"
    elif draft is None:
        kind = "added"
    elif draft_category != corrected_category:
        kind = "relabelled"
    elif added or removed or redrawn:
        kind = "redrawn"
    worst = min(redrawn, key=lambda k: both[k]) if redrawn else next(iter([*added, *removed]), None)
    return Change(
        video=video.name,
        kind=kind,
        draft_category=draft_category,
        corrected_category=corrected_category,
        draft=draft,
        corrected=corrected,
        overlap=float(np.mean(list(both.values()))) if both else None,
        frames_added=len(added),
        frames_removed=len(removed),
        frames_redrawn=len(redrawn),
        worst_frame=worst,
    )


def _codes(track: Track, video: Video) -> list[Any]:
    """Compressed codes of a track; None where there is no pixel."""
    try:
        return list(seen_codes(track.segmentations, video.height, video.width))
    except AvisError as error:
        raise AvisError(error.what, where=f"{video.name}, track {track.id}, {error.where}") from None


def _overlap(one: Any, other: Any) -> float:
    from pycocotools import mask as coco

    return float(coco.iou([one], [other], [0])[0, 0])
