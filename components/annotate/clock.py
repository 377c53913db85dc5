"""Which of a video's frames were annotated, and how fast they come."""

import math
from dataclasses import dataclass

_LEAST_LISTED = 3  # frames, all of them apart by a step, for that to be no chance


@dataclass(frozen=True)
class Clock:
    """Which of a video's own frames were annotated: first, first + step, …, and how fast they come.

    rate_hz: of the video's own frames; None where the source does not tell.
    every, since: of the frames that were read the source has none but since, since + every, …
    """

    first: int = 0
    step: int = 1
    rate_hz: float | None = None
    every: int = 1
    since: int = 0

    def listed(self, frame: int) -> int:
        """The frame that the source has and that is nearest to `frame`."""
        if self.every == 1:
            return frame
        return self.since + max(0, frame - self.since + self.every // 2) // self.every * self.every


def clock_of(present: set[int]) -> Clock:
    """How the frames that a source has lie apart, where all of them do so by a step."""
    since = min(present, default=0)
    every = math.gcd(*(number - since for number in present)) if len(present) >= _LEAST_LISTED else 1
    return Clock(every=every, since=since % every)
