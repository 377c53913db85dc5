"""Set: what only shows when all clips are looked at together."""

from collections import defaultdict

from components.core.source import source_of
from components.qa.checks import Check
from components.qa.dataset import Dataset
from components.qa.findings import Finding, Severity


class SourceLeakage(Check):
    name = "source_leakage"
    group = "set"
    severity: Severity = "blocking"
    explanation = (
        "Clips cut from one source video are in several splits: the test would measure memory. Sources are "
        "read off the clips' names."
    )
    fix = "Set annotate.splits.shared_sources to drop. For published splits, make this check a warning."

    def check_set(self, dataset: Dataset) -> list[Finding]:
        clips_of: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for document in dataset.documents.values():
            for clip in document.clips:
                clips_of[source_of(clip.name)].append((document.split, clip.name))
        return [
            _across(self, f"the source {source} is in several splits", clips)
            for source, clips in clips_of.items()
            if len({split for split, _ in clips}) > 1
        ]


class DuplicateClip(Check):
    name = "duplicate_clip"
    group = "set"
    severity: Severity = "blocking"
    explanation = "Two clips of different splits, or two of one, have the same frames or the same sound."
    fix = "Keep one of them."

    def check_set(self, dataset: Dataset) -> list[Finding]:
        clips_of: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for document in dataset.documents.values():
            for clip in document.clips:
                if clip.entry and clip.entry.frames_sha256:
                    clips_of["frames", clip.entry.frames_sha256].append((document.split, clip.name))
        return [
            _across(self, f"the same {what} occur {len(clips)} times", clips)
            for (what, _), clips in clips_of.items()
            if len(clips) > 1
        ]


def _across(check: Check, message: str, clips: list[tuple[str, str]]) -> Finding:
    listed = ", ".join(f"{split}/{name}" for split, name in clips[:6])
    return check.found(
        f"{message}: {listed}", split=clips[-1][0], video=clips[-1][1], value=float(len(clips))
    )


class EmptySplit(Check):
    name = "empty_split"
    group = "set"
    severity: Severity = "blocking"
    threshold = 1.0
    unit = "tracks"
    explanation = "The training or the test split has no (or too few) tracks: nothing to learn or to measure."
    fix = "Change the splits or their shares; read in annotations/summary.json why clips were dropped."

    def check_set(self, dataset: Dataset) -> list[Finding]:
        return [
            self.found(f"the {split} split has {count or 'no'} tracks", split=split, value=float(count))
            for split in ("train", "test")
            if (count := sum(dataset.tracks_of(split).values())) < self.limit
        ]


class UntrainedCategory(Check):
    name = "untrained_category"
    group = "set"
    severity: Severity = "warning"
    explanation = "A category is tested, or validated, and never trained."
    fix = "Move clips of this category to the training split, or map the category to another."

    def check_set(self, dataset: Dataset) -> list[Finding]:
        trained = dataset.tracks_of("train")
        if not trained:
            return []  # said by empty_split
        return [
            self.found(
                f"tracks of {category}: {count} in {split}, none in train", split=split, value=float(count)
            )
            for split in ("val", "test")
            for category, count in dataset.tracks_of(split).items()
            if category not in trained
        ]


class RareCategory(Check):
    name = "rare_category"
    group = "set"
    severity: Severity = "info"
    threshold = 5.0
    unit = "tracks"
    explanation = "The training split has few tracks of these categories; their scores will be poor and jump."
    fix = "Add clips, or map a category to a related one."

    def check_set(self, dataset: Dataset) -> list[Finding]:
        counts = dataset.tracks_of("train").items()
        rare = sorted((count, category) for category, count in counts if count < self.limit)
        if not rare:
            return []
        listed = ", ".join(f"{category} {count}" for count, category in rare)
        message = f"few tracks in train: {listed}"
        return [self.found(message, split="train", value=float(rare[0][0]))]
