"""The whole set as checks and the report see it: small facts of every clip."""

from dataclasses import dataclass, field
from typing import Any

from components.core.clips.index import MediaEntry
from components.core.records.annotations import SPLITS
from components.qa.checked_clip import Clip
from components.qa.label_files import SplitDocument
from components.qa.label_summary import LabelSummary
from components.qa.tables.agreements import Agreement
from components.qa.tables.suspicions import Suspicion


@dataclass(slots=True)
class ClipFacts:
    """What is remembered of a clip after its checks.

    categories: of each track.
    sources: masks on each frame.
    sounding: frames with a mask, by category.
    remembered: what checks keep of the clip until they see the whole set, by the check's name.
    """

    split: str
    name: str
    frames: int
    masks: int
    categories: list[str]
    sources: list[int]
    sounding: dict[str, int]
    remembered: dict[str, Any] = field(default_factory=dict)


def facts_of(clip: Clip) -> ClipFacts:
    """The facts of one clip."""
    sounding: dict[str, set[int]] = {}
    for track in clip.tracks:
        sounding.setdefault(track.category or "?", set()).update(track.present)
    return ClipFacts(
        split=clip.split,
        name=clip.name,
        frames=clip.length,
        masks=int(clip.labelled.sum()),
        categories=[track.category or "?" for track in clip.tracks],
        sources=clip.labelled.tolist(),
        sounding={category: len(frames) for category, frames in sorted(sounding.items())},
    )


@dataclass(slots=True)
class Dataset:
    """All splits. `clips` lacks those that could not be checked; `failed` holds why, by (split, name).

    agreements: of clips that were annotated twice, and of all of them together.
    suspicions: what a trained model doubts.
    labels: what the annotate stage says of where the labels come from.
    """

    documents: dict[str, SplitDocument]
    media: dict[str, MediaEntry]
    clips: list[ClipFacts] = field(default_factory=list)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)
    agreements: list[Agreement] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)
    labels: LabelSummary = field(default_factory=LabelSummary)

    def origin_of(self, clip: str) -> str:
        """Where a clip's labels come from, and in which format; "" where that is not known."""
        return self.labels.origins.get(clip, "")

    def tracks_of(self, split: str) -> dict[str, int]:
        """Number of tracks by category, of the categories that have any."""
        counts: dict[str, int] = {}
        for clip in self.clips:
            if clip.split == split:
                for category in clip.categories:
                    counts[category] = counts.get(category, 0) + 1
        return counts

    def metrics(self) -> dict[str, float]:
        """Counts as flat numbers, over all splits and for each."""
        numbers: dict[str, float] = {}
        for split in ("", *SPLITS):
            clips = [clip for clip in self.clips if split in ("", clip.split)]
            sources = [count for clip in clips for count in clip.sources]
            ending = f"_{split}" if split else ""
            numbers |= {
                f"clips{ending}": len(clips),
                f"frames{ending}": len(sources),
                f"tracks{ending}": sum(len(clip.categories) for clip in clips),
                f"masks{ending}": sum(clip.masks for clip in clips),
                f"frames_silent{ending}": sources.count(0),
                f"frames_one_source{ending}": sources.count(1),
                f"frames_more_sources{ending}": sum(count > 1 for count in sources),
            }
        numbers["categories"] = len({category for clip in self.clips for category in clip.categories})
        return numbers
