"""Mix what a scene sounds like, and tell which of its objects sound in a frame."""

import numpy as np
import numpy.typing as npt

from components.sample.kit import Kit
from components.sample.scene_parts import Interval, Scene, Voice

FADE_S = 0.01


def mix(kit: Kit, scene: Scene, start_s: float, end_s: float, rate_hz: int) -> npt.NDArray[np.float32]:
    """Samples round(start_s * rate_hz) up to round(end_s * rate_hz) of the scene's sound, mono.

    Every sample depends on its own number only: any window gives the same samples. Between rates, intervals
    agree to the sample, the repetitions inside them to some milliseconds (loops are whole samples long).
    """
    first, last = round(start_s * rate_hz), round(end_s * rate_hz)
    room = kit.room.at(rate_hz)
    samples = scene.room_gain * _looped(room, round(scene.room_offset_s * rate_hz), first, last)
    for voice in (*(thing.voice for thing in scene.objects), *scene.off_screen):
        for span in voice.intervals:
            _add(samples, kit, voice, span, first, rate_hz)
    return np.clip(samples, -1, 1, out=samples)


def sounding(scene: Scene, frame_index: int, frame_rate_hz: float = 1.0) -> list[bool]:
    """Per object: does it sound for at least half of the second (frame period) of this frame?"""
    start_s, end_s = frame_index / frame_rate_hz, (frame_index + 1) / frame_rate_hz
    return [_overlap_s(thing.voice, start_s, end_s) >= (end_s - start_s) / 2 for thing in scene.objects]


def _overlap_s(voice: Voice, start_s: float, end_s: float) -> float:
    return sum(max(0.0, min(end_s, end) - max(start_s, start)) for start, end in voice.intervals)


def _looped(loop: npt.NDArray[np.float32], offset: int, first: int, last: int) -> npt.NDArray[np.float32]:
    """Samples first..last of an endless repetition that begins at offset."""
    start = (offset + first) % len(loop)
    length = last - first
    if start + length <= len(loop):
        return loop[start : start + length]
    return np.take(loop, np.arange(start, start + length), mode="wrap")


def _add(
    samples: npt.NDArray[np.float32], kit: Kit, voice: Voice, span: Interval, first: int, rate_hz: int
) -> None:
    """Add one interval of a voice to samples, which begin at sample number first."""
    fade = FADE_S * rate_hz
    begin, end = round(span[0] * rate_hz), round(span[1] * rate_hz)
    low, high = max(begin, first), min(end, first + len(samples))
    if high <= low:
        return
    loop = kit.sounds[voice.category][voice.sound].at(rate_hz, voice.pitch_percent)
    heard = voice.gain * _looped(loop, round(voice.offset_s * rate_hz), low, high)
    if low < begin + fade or high > end - fade:
        number = np.arange(low, high)
        edge = np.minimum(number - begin + 0.5, end - number - 0.5) / fade
        heard *= np.minimum(edge, 1).astype(np.float32)
    samples[low - first : high - first] += heard
