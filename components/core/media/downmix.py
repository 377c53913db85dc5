"""How the channels of a sound become one or two: what is mixed with what weight is decided here only.

| channels                                       | become mono by                                          |
|------------------------------------------------|---------------------------------------------------------|
| one                                            | itself                                                  |
| two                                            | (left + right) / 2, as before the published VGGish      |
| two, or the two sides of more, that cancel     | (left - right) / 2: the sign of one was turned          |
| two, one of them silent, or two languages      | (left + right) / 2: one that is alone has half its level|
| 2.1 to 22.2 of a known layout                  | FFmpeg's weights: centre 1, left and right 0.71, those  |
|                                                | behind and at the sides 0.5, no LFE, over their sum     |
| ambisonic of any order, with or without stereo | W, the first                                            |
| 4, 9 or 16 that the file does not name         | the first                                               |
| others that it does not name                   | as the layout FFmpeg takes for so many; else the first  |

FFmpeg's weights (libswresample) are those by which ITU-R BS.775 mixes five channels to one, over their sum,
so that nothing clips; they are right for what was mixed to be heard in a room. FFmpeg is not followed where

* channels cancel (a crossed cable, a phone's or a stage's recording): its sum is silence. The right cable
  would have given the difference, which of exact opposites is either channel. `MonoChoice` says when.
* the layout is ambisonic: it refuses. W hears all directions alike, whatever order (ACN, FuMa) and weights
  (SN3D, N3D) the others have, which are differences of directions.
* a file does not name 4, 9 or 16 channels: these are the numbers of ambisonics, and FFmpeg's guess for 4
  (4.0) would add up W, Y, Z and X. Of a row of microphones the first is one of them, and cancels nothing.

The stereo of a cut or of an overlay is FFmpeg's too; where the first channel stands alone above, it is that
channel twice. So a sound that ingest cut becomes the mono that the whole file would have become.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from components.core.records.changes import Changes, Kind

if TYPE_CHECKING:
    from av import AudioFrame, AudioLayout

Sample = TypeVar("Sample", np.int16, np.float64)

_WINDOW_S = 0.5
_CANCELLED = 0.125  # of the energy of both is left in their sum: -9 dB, a correlation of -0.75 of equals
_SOUND = 0.25  # left in the sum: enough to be sure that nothing cancels
_SILENT = 1e-4  # of the other side's energy
_FRAMES_AT_ONCE = 32
_NOTHING_YET = np.zeros((0, 2), np.int16)
_JOINED = frozenset(  # PyAV makes arrays of these; of more than 8 channels it crashes
    {"u8", "s16", "s32", "flt", "dbl", "u8p", "s16p", "s32p", "fltp", "dblp"}
)
_QUIET_RMS = 3.0  # of 32768: mere rounding
_UNIT = "sound track"
_AMBISONIC = "its channels are ambisonic; the first, which hears all directions, was taken"
_UNNAMED = "the file does not name its channels; the first was taken"
_AS_SO_MANY = "the file does not name its channels; they were mixed as so many usually are"
_NO_WEIGHTS = "there are no weights for its channels; the first was taken"
_TURNED = "its channels cancel each other; the sign of one was turned before they were mixed"
_ONE_SIDE = "one of its two sides is silent; they were mixed all the same, at half the level"


class Converter:
    """Decoded frames of one layout -> int16 [n, 2] at a rate.

    The two are left and right, or, for mono, (left + right) / 2 as FFmpeg mixes it and (left - right) / 2.
    own_level: one channel becomes both sides as it is; FFmpeg takes 3 dB from it.
    """

    def __init__(self, layout: AudioLayout, *, rate_hz: int, mono: bool, own_level: bool = False) -> None:
        # which two of its channels become stereo; None: FFmpeg mixes them
        alone = first_alone(layout) is not None or (own_level and layout.nb_channels == 1)
        self._pair = (0, 0) if alone else None if _has_weights(layout.name) else (0, 1)
        self._stereo = av.AudioResampler(format="s16", layout="stereo", rate=rate_hz)
        self._mono = av.AudioResampler(format="s16", layout="mono", rate=rate_hz) if mono else None
        self._sides = not mono or (layout.nb_channels > 1 and self._pair != (0, 0))
        self._held: list[AudioFrame] = []
        self._begun = False

    def convert(self, frame: AudioFrame | None) -> NDArray[np.int16]:
        """The next frame, or None for what is still held.

        Frames last some 20 ms: but for the first, which shows whether they can be converted at all, they are
        held until there are some to convert at once, which is faster and gives the same samples.

        Raises:
            av.error.FFmpegError: its format cannot be converted.
        """
        is_joined = frame is None or (frame.layout.nb_channels <= 2 and frame.format.name in _JOINED)
        if not self._begun or not is_joined:
            self._begun = True
            return self._converted(frame)
        if frame is not None:
            self._held.append(frame)
            if len(self._held) < _FRAMES_AT_ONCE:
                return _NOTHING_YET
        pieces = [self._converted(_joined(self._held))] if self._held else []
        self._held.clear()
        return np.concatenate([*pieces, self._converted(None)]) if frame is None else pieces[0]

    def _converted(self, frame: AudioFrame | None) -> NDArray[np.int16]:
        if frame is not None and self._pair is not None:
            frame = _as_stereo(frame, self._pair)
        mixed = _arrays(self._mono, frame) if self._mono is not None else None
        if mixed is not None and not self._sides:
            return np.stack((mixed, np.zeros_like(mixed)), axis=1)
        sides = _arrays(self._stereo, frame).reshape(-1, 2)
        if mixed is None:
            return sides
        difference = (sides[:, 0].astype(np.int32) - sides[:, 1]) >> 1
        return np.stack((mixed, difference.astype(np.int16)), axis=1)


class MonoChoice:
    """Of (left + right) / 2 and (left - right) / 2, full scale 32768, what is heard, for each half second.

    The sum, unless it has less than an eighth of the energy of both (-9 dB: opposites, more or less; channels
    that have nothing in common have half of it); then the difference, until the sum has a quarter again. The
    choice needs what was heard up to the end of the half second, not the rest: it is the same whether a sound
    is read whole or in pieces, and one that cancels for some time only loses nothing.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._window = max(1, round(rate_hz * _WINDOW_S))
        self._waiting: NDArray[Any] = np.zeros((0, 2), np.int16)
        self._turned = False
        self._samples = 0  # given
        self._spans: list[list[int]] = []  # of samples with the sign turned, end to end
        self._left = self._right = 0.0  # energy

    def add(self, piece: NDArray[Sample]) -> Iterator[NDArray[Sample]]:
        """Add sums and differences [n, 2], end to end; yields what is decided, [n, 1] each."""
        self._waiting = np.concatenate((self._waiting, piece))
        whole = len(self._waiting) // self._window * self._window
        ready, self._waiting = self._waiting[:whole], self._waiting[whole:]
        for window in ready.reshape(-1, self._window, 2):
            yield self._choose(window)

    def finish(self) -> Iterator[NDArray[Any]]:
        """No more is to come: yields the rest."""
        if len(self._waiting):
            rest, self._waiting = self._waiting, self._waiting[:0]
            yield self._choose(rest)

    @property
    def changes(self) -> Changes:
        """Where the difference was taken, and whether one side is silent."""
        changes = Changes()
        if self._spans:
            spans = [f"{a / self._rate_hz:g} to {b / self._rate_hz:g} s" for a, b in self._spans[:3]]
            changes.add(Kind.GUESSED, _UNIT, _TURNED, example=" and ".join(spans))
        loud, quiet = max(self._left, self._right), min(self._left, self._right)
        if quiet < _SILENT * loud and loud > _QUIET_RMS**2 * self._samples:
            which = "right" if quiet == self._right else "left"
            changes.add(Kind.GUESSED, _UNIT, _ONE_SIDE, example=which)
        return changes

    def _choose(self, window: NDArray[Sample]) -> NDArray[Sample]:
        both = window.astype(np.float64)
        total, difference = (float(x) for x in np.einsum("nc,nc->c", both, both))
        product = float(both[:, 0] @ both[:, 1])
        self._left += total + difference + 2 * product
        self._right += total + difference - 2 * product
        if total + difference > _QUIET_RMS**2 * len(window):
            self._turned = total < (_SOUND if self._turned else _CANCELLED) * (total + difference)
        first, self._samples = self._samples, self._samples + len(window)
        if self._turned and self._spans and self._spans[-1][1] == first:
            self._spans[-1][1] = self._samples
        elif self._turned:
            self._spans.append([first, self._samples])
        return window[:, 1:] if self._turned else window[:, :1]


def first_alone(layout: AudioLayout) -> str | None:
    """Why only the first channel of a layout is taken; None where they are mixed."""
    names = [channel.name for channel in layout.channels]
    if any(name.startswith("AMBI") for name in names):
        return _AMBISONIC
    unnamed = set(names) == {"NONE"}
    if unnamed and len(names) in (4, 9, 16):
        return _UNNAMED
    if len(names) == 2 and "LFE" not in names:
        return None
    if not _has_weights(layout.name):
        return _UNNAMED if unnamed else _NO_WEIGHTS
    return None


def note_layout(layout: AudioLayout, changes: Changes) -> None:
    """Tell of a layout whose channels are not mixed, or only by a guess."""
    why = first_alone(layout)
    if why is None and layout.nb_channels > 2 and {channel.name for channel in layout.channels} == {"NONE"}:
        why = _AS_SO_MANY
    if why is not None:
        changes.add(Kind.GUESSED, _UNIT, why, example=f"layout {layout.name!r}")


@cache
def _has_weights(layout: str) -> bool:
    """Whether FFmpeg mixes a layout."""
    channels = av.AudioLayout(layout).nb_channels
    frame = av.AudioFrame.from_ndarray(np.zeros((1, channels), np.int16), format="s16", layout=layout)
    frame.sample_rate = 48_000
    try:
        av.AudioResampler(format="s16", layout="mono", rate=48_000).resample(frame)
    except av.error.FFmpegError:
        return False
    return True


def _joined(frames: list[AudioFrame]) -> AudioFrame:
    """Frames of one format, end to end."""
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    joined = av.AudioFrame.from_ndarray(samples, format=frames[0].format, layout=frames[0].layout)
    joined.sample_rate = frames[0].sample_rate
    return joined


def _as_stereo(frame: AudioFrame, pair: tuple[int, int]) -> AudioFrame:
    """Two of a frame's channels, or one twice: so it keeps its level, where mono to stereo takes 3 dB."""
    name = frame.format.name.removesuffix("p")
    kinds = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
    kind = np.dtype(kinds.get(name, np.int64))
    samples = np.empty((frame.samples, 2), kind)
    for column, channel in enumerate(pair):
        if frame.format.is_planar:
            samples[:, column] = np.frombuffer(frame.planes[channel], kind)[: frame.samples]
        else:
            packed = np.frombuffer(frame.planes[0], kind)[: frame.samples * frame.layout.nb_channels]
            samples[:, column] = packed[channel :: frame.layout.nb_channels]
    if kind == np.int64:
        name, samples = "dbl", samples / 2.0**63
    stereo = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format=name, layout="stereo")
    stereo.sample_rate = frame.sample_rate
    return stereo


def _arrays(resampler: av.AudioResampler, frame: AudioFrame | None) -> NDArray[np.int16]:
    pieces = [np.asarray(piece.to_ndarray(), np.int16).ravel() for piece in resampler.resample(frame)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
