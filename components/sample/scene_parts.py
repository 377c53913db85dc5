"""What a scene is, as plain data. Lengths are shares of the frame, times are seconds from the clip's start.

A scene says everything about a clip except its pixels and samples: render.py draws it at any size and any
instant, soundtrack.py mixes it for any window.
"""

import math
from dataclasses import dataclass

Interval = tuple[float, float]  # [start, end) in seconds

LEAN_RAMP_S = 0.1
SWAY_DEG = 5.0
SWAY_HZ = 2.4


@dataclass(frozen=True, slots=True)
class Wave:
    """A smooth function of time: a centre and sines of (amplitude, period in seconds, phase in radians)."""

    centre: float
    sines: tuple[tuple[float, float, float], ...] = ()

    def at(self, time_s: float) -> float:
        return self.centre + sum(a * math.sin(2 * math.pi * time_s / p + phase) for a, p, phase in self.sines)


@dataclass(frozen=True, slots=True)
class Voice:
    """A recording of the kit and when it is heard; between intervals it is silent."""

    category: str
    sound: int  # index into kit.sounds[category]
    pitch_percent: int
    offset_s: float  # where in the loop the clip's time 0 falls
    gain: float
    intervals: tuple[Interval, ...]  # sorted; each and the gap to the next at least 1 s long

    def interval_at(self, time_s: float) -> Interval | None:
        return next((span for span in self.intervals if span[0] <= time_s < span[1]), None)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """A cut-out that moves through the scene, with its voice (which may never sound)."""

    category: str
    sprite: int  # index into kit.sprites[category]
    flipped: bool
    x: Wave  # centre, share of the frame's width
    y: Wave  # centre, share of the frame's height
    size: Wave  # square root of the cut-out's width x height, share of the frame's height
    roll_deg: float
    tint: tuple[float, float, float]  # factors for red, green, blue
    lean_deg: float  # how far it leans while it sounds; not 0 only beside another of its category
    voice: Voice

    def angle_deg(self, time_s: float) -> float:
        """Rotation. A leaning object sways around its lean and is never upright while it sounds."""
        span = self.voice.interval_at(time_s) if self.lean_deg else None
        if span is None:
            return self.roll_deg
        ramp = min(1.0, (time_s - span[0]) / LEAN_RAMP_S, (span[1] - time_s) / LEAN_RAMP_S)
        sway = SWAY_DEG * math.sin(2 * math.pi * SWAY_HZ * time_s)
        return self.roll_deg + ramp * (self.lean_deg + sway)


@dataclass(frozen=True, slots=True)
class View:
    """A part of a background photograph, slowly panning and zooming."""

    background: int
    flipped: bool
    x: Wave  # 0: the part touches the photograph's left edge, 1: its right edge
    y: Wave  # 0: top, 1: bottom
    share: Wave  # of the largest part with the frame's aspect ratio
    tint: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip. Later objects are in front of earlier ones."""

    seed: int
    duration_s: int
    aspect: float  # width / height that the layout was made for
    view: View
    objects: tuple[SceneObject, ...]
    off_screen: tuple[Voice, ...]  # heard, never seen, never labelled
    room_gain: float
    room_offset_s: float
