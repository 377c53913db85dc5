"""What a check says."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["blocking", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("blocking", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is, or may be, wrong.

    video: a clip's name; "" where the whole set is meant.
    track: the annotation's id.
    frame, last_frame: first and last frame concerned, counted from 0; frame k is heard in second k of a
        clip with one frame per second.
    value: what the check compared with its threshold.
    waived: why somebody accepts it; "" where nobody does.
    category, annotator: of the track; "" where there is none or it is not known.
    source: the source video that the clip was cut from, read off its name; "" for the whole set.
    """

    check: str
    severity: Severity
    message: str
    split: str = ""
    video: str = ""
    track: int | None = None
    frame: int | None = None
    last_frame: int | None = None
    value: float | None = None
    waived: str = ""
    category: str = ""
    annotator: str = ""
    source: str = ""

    @property
    def place(self) -> str:
        """Where it is, as a person would say it."""
        parts = [f"{self.split}/{self.video}" if self.video else self.split or "whole set"]
        if self.track is not None:
            parts.append(f"track {self.track}")
        if self.frame is not None:
            several = self.last_frame is not None and self.last_frame > self.frame
            parts.append(f"frames {self.frame} to {self.last_frame}" if several else f"frame {self.frame}")
        return ", ".join(parts)
