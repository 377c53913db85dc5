"""Media: clips that show or play the same as another, though their files differ."""

from collections.abc import Sequence

from components.core.raw.clip_names import source_of
from components.qa.checked_clip import SAMPLE_RATE_HZ, Clip
from components.qa.checks import Check
from components.qa.dataset import ClipFacts, Dataset
from components.qa.findings import Finding, Severity
from components.qa.measures.fingerprints import (
    PICTURE_BITS,
    SOUND_BITS,
    SOUND_STEP_S,
    Match,
    Prints,
    matches,
    picture_prints,
    sound_prints,
)


class _NearDuplicate(Check):
    """Compares the fingerprints of all clips; one finding for each group that hangs together."""

    what = ""

    def _pairs(self, prints: Sequence[Prints]) -> list[Match]:
        raise NotImplementedError

    def check_set(self, dataset: Dataset) -> list[Finding]:
        clips = [clip for clip in dataset.clips if self.name in clip.remembered]
        pairs = [
            pair
            for pair in self._pairs([clip.remembered[self.name] for clip in clips])
            if not _told_elsewhere(dataset, clips[pair.one], clips[pair.other])
        ]
        return [self._finding(clips, group) for group in _groups(pairs)]

    def _finding(self, clips: Sequence[ClipFacts], group: Sequence[Match]) -> Finding:
        members = sorted({number for pair in group for number in (pair.one, pair.other)})
        best = min(group, key=lambda pair: pair.distance)
        named = ", ".join(f"{clips[number].split}/{clips[number].name}" for number in members[:6])
        more = f" and {len(members) - 6} more" if len(members) > 6 else ""
        across = "across splits" if len({clips[number].split for number in members}) > 1 else "in one split"
        return self.found(
            f"{self.what} {across}: {named}{more} ({best.distance:.0%} of the bits differ)",
            split=clips[members[-1]].split,
            video=clips[members[-1]].name,
            value=best.distance,
        )


def _told_elsewhere(dataset: Dataset, one: ClipFacts, other: ClipFacts) -> bool:
    """Clips of one source (a fixed camera sees the same all day) and equal files have their own checks."""
    if source_of(one.name) == source_of(other.name):
        return True
    entries = dataset.media.get(one.name), dataset.media.get(other.name)
    hashes = [entry.frames_sha256 for entry in entries if entry is not None]
    return len(hashes) == 2 and hashes[0] is not None and hashes[0] == hashes[1]


def _groups(pairs: Sequence[Match]) -> list[list[Match]]:
    """Pairs that are connected, in the order of their first clip."""
    leader: dict[int, int] = {}

    def lead(number: int) -> int:
        while leader.setdefault(number, number) != number:
            number = leader[number]
        return number

    for pair in pairs:
        one, other = sorted((lead(pair.one), lead(pair.other)))
        leader[other] = one
    groups: dict[int, list[Match]] = {}
    for pair in pairs:
        groups.setdefault(lead(pair.one), []).append(pair)
    return [groups[number] for number in sorted(groups)]


class NearDuplicateVideo(_NearDuplicate):
    name = "near_duplicate_video"
    group = "media"
    severity: Severity = "warning"
    threshold = 0.18
    unit = "share of 64 bits of each frame that differ"
    explanation = (
        "Two clips of different sources show the same pictures, perhaps re-encoded, a little cropped, "
        "brightened or shifted in time: a re-upload. Across splits the test would measure memory."
    )
    fix = "Keep one of them; across splits keep the one in the test split."
    what = "the same pictures"
    shortest = 4  # frames that both must have

    def remember(self, clip: Clip) -> Prints | None:
        prints = picture_prints(clip.pictures)
        return prints if prints.valid.any() else None

    def _pairs(self, prints: Sequence[Prints]) -> list[Match]:
        return matches(prints, PICTURE_BITS, 4, self.limit, self.shortest, 0.5)


class ReusedSound(_NearDuplicate):
    name = "reused_sound"
    group = "media"
    severity: Severity = "info"
    threshold = 0.2
    unit = "share of 24 bits of each 0.1 s that differ"
    explanation = (
        "Two clips of different sources have the same sound track through most of the shorter one: a "
        "re-upload, or one recording laid over two videos. Gain, coding and a shift do not matter."
    )
    fix = "Look at near_duplicate_video: if the pictures differ, the sound of one may not be its own."
    what = "the same sound"
    shortest_s = 3.0

    def remember(self, clip: Clip) -> Prints | None:
        prints = sound_prints(clip.sound, SAMPLE_RATE_HZ) if clip.sound is not None else None
        return prints if prints is not None and prints.valid.any() else None

    def _pairs(self, prints: Sequence[Prints]) -> list[Match]:
        return matches(prints, SOUND_BITS, 1, self.limit, round(self.shortest_s / SOUND_STEP_S), 0.8)
