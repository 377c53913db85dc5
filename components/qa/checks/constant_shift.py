"""Time: do all labels of a source lie some frames beside the pictures and the sound?"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import Clip
from components.qa.checks import Check
from components.qa.dataset import ClipFacts, Dataset
from components.qa.findings import Finding, Severity
from components.qa.time_shift import (
    Shift,
    best_shift,
    mean_gains,
    picture_gains,
    sound_gains,
)


class ConstantShift(Check):
    name = "constant_shift"
    group = "time"
    severity: Severity = "warning"
    threshold = 0.001
    unit = "chance that no shift fits better"
    explanation = (
        "All labels of a source, or of a clip, come up to five frames too early or too late: outlines of "
        "masks stand out better in other frames, or the sound rises and falls beside the labels' beginnings "
        "and ends. What stands still, or sounds throughout, shows nothing."
    )
    fix = (
        "Compare the clips' start in the manifest, the first frame's number (0 or 1) and the frame rate with "
        "what was annotated; then import again."
    )
    fewest_clips, fewest_frames = 5, 5
    least_contrast, least_rise_db = 0.05, 2.0  # log of a ratio: 5 %

    def remember(self, clip: Clip) -> dict[str, Any] | None:
        """The clip's mean gains of pictures and sound at each shift, and its own shift, if it has one."""
        pictures = picture_gains(clip)
        own = self._shift(pictures, self.fewest_frames, self.least_contrast)
        return {"pictures": mean_gains(pictures), "sound": mean_gains(sound_gains(clip)), "own": own}

    def check_set(self, dataset: Dataset) -> Iterator[Finding]:
        clips: dict[str, list[ClipFacts]] = defaultdict(list)
        for facts in dataset.clips:
            if self.name in facts.remembered:
                clips[dataset.origin_of(facts.name)].append(facts)
        for origin, of_origin in clips.items():
            yield from list(self._of_source(origin, of_origin)) or self._of_clips(of_origin)

    def told(self, clips: list[ClipFacts]) -> dict[int, list[tuple[str, Shift]]]:
        """The shifts, in frames, that pictures and sound of these clips tell together."""
        told: dict[int, list[tuple[str, Shift]]] = defaultdict(list)
        for kind, least_gain in (("pictures", self.least_contrast), ("sound", self.least_rise_db)):
            gains = np.array([facts.remembered[self.name][kind] for facts in clips])
            shift = self._shift(gains, self.fewest_clips, least_gain)
            if shift is not None:
                told[shift.frames].append((kind, shift))
        return told

    def _of_source(self, origin: str, clips: list[ClipFacts]) -> Iterator[Finding]:
        for frames, shifts in self.told(clips).items():
            yield self.found(
                f"the labels of {origin or 'the set'} ({len(clips)} clips) come {_words(frames)}, by the "
                + " and the ".join(kind for kind, _ in shifts),
                value=min(shift.chance for _, shift in shifts),
            )

    def _of_clips(self, clips: list[ClipFacts]) -> Iterator[Finding]:
        for facts in clips:
            own: Shift | None = facts.remembered[self.name]["own"]
            if own is not None:
                message = f"the masks come {_words(own.frames)}, by the pictures"
                yield self.found(message, split=facts.split, video=facts.name, value=own.chance)

    def _shift(self, gains: NDArray[np.float64], fewest: int, least_gain: float) -> Shift | None:
        shift = best_shift(gains, fewest=fewest, least_gain=least_gain)
        return shift if shift is not None and shift.chance < self.limit else None


def _words(frames: int) -> str:
    """What a shift means for the labels: where they fit later, they come too early."""
    plural = "s" if abs(frames) > 1 else ""
    return f"{abs(frames)} frame{plural} too {'early' if frames > 0 else 'late'}"
