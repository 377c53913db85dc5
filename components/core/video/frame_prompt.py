"""Boxes and points on a frame: what a promptable segmenter is told of an object."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class FramePrompt:
    """What is said about an object on one frame, in pixels of the frame.

    box: left, top, right, bottom.
    points: x, y, and whether the point lies on the object (else it lies beside it).
    """

    box: tuple[float, float, float, float] | None = None
    points: list[tuple[float, float, bool]] = field(default_factory=list)
