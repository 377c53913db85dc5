"""Set: what only shows when all clips are looked at together."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.core.raw.clip_names import source_of
from components.qa.checks import Check
from components.qa.dataset import Dataset
from components.qa.findings import Finding, Severity
from components.qa.params import QaParams
from components.qa.reference import read_reference


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

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        for split in ("train", "test"):
            if (count := sum(dataset.tracks_of(split).values())) < self.limit:
                yield self.found(
                    f"the {split} split has {count or 'no'} tracks", split=split, value=float(count)
                )


class UntrainedCategory(Check):
    name = "untrained_category"
    group = "set"
    severity: Severity = "warning"
    explanation = "A category is tested, or validated, and never trained."
    fix = "Move clips of this category to the training split, or map the category to another."

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        trained = dataset.tracks_of("train")
        if not trained:
            return  # said by empty_split
        for split in ("val", "test"):
            for category, count in dataset.tracks_of(split).items():
                if category not in trained:
                    yield self.found(
                        f"tracks of {category}: {count} in {split}, none in train",
                        split=split,
                        value=float(count),
                    )


class RareCategory(Check):
    name = "rare_category"
    group = "set"
    severity: Severity = "info"
    threshold = 5.0
    unit = "tracks"
    explanation = "The training split has few tracks of these categories; their scores will be poor and jump."
    fix = "Add clips, or map a category to a related one."

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        counts = dataset.tracks_of("train").items()
        rare = sorted((count, category) for category, count in counts if count < self.limit)
        if not rare:
            return
        listed = ", ".join(f"{category} {count}" for count, category in rare)
        message = f"few tracks in train: {listed}"
        yield self.found(message, split="train", value=float(rare[0][0]))


class CategoryBalance(Check):
    name = "category_balance"
    group = "set"
    severity: Severity = "info"
    threshold = 4.0
    unit = "standard errors between the shares in train and test"
    explanation = (
        "A category has another share of the tracks in train than in test, by more than chance explains and "
        "more than twice as large: what is rarely trained is often tested, or the other way round."
    )
    fix = "Draw the splits anew (annotate.splits), or say so beside the scores. Published splits stay."
    factor = 2.0

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        train, test = dataset.tracks_of("train"), dataset.tracks_of("test")
        all_train, all_test = sum(train.values()), sum(test.values())
        for category in sorted(train.keys() & test.keys()):  # else untrained_category, or nothing to test
            shares = train[category] / all_train, test[category] / all_test
            common = (train[category] + test[category]) / (all_train + all_test)
            error = math.sqrt(common * (1 - common) * (1 / all_train + 1 / all_test))
            if error == 0 or max(shares) < self.factor * min(shares):
                continue
            difference = abs(shares[0] - shares[1]) / error
            if difference > self.limit:
                message = f"tracks of {category}: {shares[0]:.1%} of train, {shares[1]:.1%} of test"
                yield self.found(message, value=difference)


class ReferenceCounts(Check):
    name = "reference_counts"
    group = "set"
    severity: Severity = "warning"
    threshold = 0.0
    unit = "share of the reference"
    explanation = (
        "The set has more or fewer clips, frames, tracks or masks than the file qa.reference says; "
        "without such a file nothing is compared."
    )
    fix = "Look in the raw index and annotations/summary.json for what was lost, or correct the reference."
    reference: Mapping[str, Any] | None = None

    def configure(self, params: QaParams) -> None:
        self.reference = read_reference(Path(params.reference)) if params.reference else None

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        numbers = dataset.metrics()
        for split, expected in (self.reference or {}).items():
            categories = dataset.tracks_of(split)
            counts = [
                (name, value, int(numbers[f"{name}_{split}"]))
                for name, value in expected.items()
                if name != "categories"
            ]
            counts += [
                (f"tracks of {name}", value, categories.get(name, 0))
                for name, value in expected.get("categories", {}).items()
            ]
            for name, value, there in counts:
                difference = abs(there - value) / max(value, 1)
                if difference > self.limit:
                    message = f"{there} {name} in {split}, the reference says {value}"
                    yield self.found(message, split=split, value=difference)
