"""Fingerprints of pictures and sound, and which clips share them: re-uploads, re-encodings, shifted cuts.

T: frames of a clip, N: steps of a clip's sound.

Pictures: 64 bits of each frame, the signs of its low frequencies against their median (the "perceptual hash"
of the DCT). Sound: 24 bits of each 0.1 s, whether the difference of neighbouring bands rises or falls
(Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002). Both change little with gain,
brightness, size and coding, and half of the bits differ between clips that have nothing in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PICTURE_BITS, SOUND_BITS = 64, 24
SOUND_STEP_S = 0.1
_WINDOW_S = 0.4
_LOWEST_HZ, _HIGHEST_HZ = 250.0, 4000.0
_LEAST_CONTRAST = 6.0  # gray levels: what is flatter has no picture to compare
_QUIETEST_DBFS = -55.0
_LONGEST_BUCKET = 32  # neighbours that an entry is compared with; more share a key in static, empty content
_LEAST_VOTES = 2


@dataclass(frozen=True, slots=True)
class Prints:
    """A clip's fingerprint: bits [n] as whole numbers, and which of them mean something, [n]."""

    bits: NDArray[np.uint64]
    valid: NDArray[np.bool_]


def picture_prints(pictures: Sequence[NDArray[np.uint8] | None]) -> Prints:
    """The 64 bits of each gray picture [h, w], [T]; not valid where it is missing or nearly of one colour."""
    bits = np.zeros(len(pictures), dtype=np.uint64)
    valid = np.zeros(len(pictures), dtype=bool)
    weights = np.uint64(1) << np.arange(PICTURE_BITS, dtype=np.uint64)
    for k, picture in enumerate(pictures):
        if picture is None:
            continue
        small = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        if float(small.std()) < _LEAST_CONTRAST:
            continue
        low = cv2.dct(small)[:9, :9].ravel()[1:65]  # without the mean
        bits[k] = weights[low > np.median(low)].sum()
        valid[k] = True
    return Prints(bits, valid)


def sound_prints(sound: NDArray[np.int16], rate_hz: int) -> Prints:
    """The 24 bits of each 0.1 s of mono sound, [N]; not valid where it is silent."""
    step, window = round(SOUND_STEP_S * rate_hz), round(_WINDOW_S * rate_hz)
    count = (len(sound) - window) // step
    if count < 2:
        return Prints(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=bool))
    samples = sound.astype(np.float32) / 32768
    framed = np.lib.stride_tricks.sliding_window_view(samples, window)[: count * step : step]
    power = np.abs(np.fft.rfft(framed * np.hanning(window).astype(np.float32), axis=1)) ** 2
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, SOUND_BITS + 2)
    edges = np.round(edges_hz * window / rate_hz).astype(int)
    bands = np.log(np.add.reduceat(power, edges, axis=1)[:, : SOUND_BITS + 1] + 1e-9)
    slope = np.diff(bands, axis=1)
    rising = np.diff(slope, axis=0) > 0
    weights = np.uint64(1) << np.arange(SOUND_BITS, dtype=np.uint64)
    level_dbfs = 10 * np.log10(np.mean(framed**2, axis=1) + 1e-12)
    valid = (level_dbfs[1:] > _QUIETEST_DBFS) & (level_dbfs[:-1] > _QUIETEST_DBFS)
    return Prints((rising * weights).sum(axis=1, dtype=np.uint64), valid)


@dataclass(frozen=True, slots=True)
class Match:
    """Two clips, by their position, that show or play the same: step k of `one` is step k + shift of `other`.

    distance: share of bits that differ.
    """

    one: int
    other: int
    shift: int
    distance: float


def matches(
    prints: Sequence[Prints], bits: int, keys: int, farthest: float, least: int, share: float
) -> list[Match]:
    """All pairs of clips whose fingerprints agree.

    Time grows with the number of steps, not with its square: only pairs that have a part of the bits of some
    step in common, and of another step at the same shift, are compared as a whole.

    Args:
        prints: of each clip.
        bits: of a step.
        keys: into how many parts the bits are cut to look for equal ones.
        farthest: most share of bits that may differ.
        least: fewest valid steps that both have at their shift.
        share: of the valid steps of the poorer one, how many must be among them.
    """
    found: dict[tuple[int, int], Match] = {}
    for one, other, shift in _candidates(prints, bits, keys):
        for near in (shift - 1, shift, shift + 1):
            match = _compare(prints, one, other, near, bits, least, share)
            if match is None or match.distance > farthest:
                continue
            if (one, other) not in found or match.distance < found[one, other].distance:
                found[one, other] = match
    return [found[pair] for pair in sorted(found)]


def _compare(
    prints: Sequence[Prints], one: int, other: int, shift: int, bits: int, least: int, share: float
) -> Match | None:
    mine, theirs = prints[one], prints[other]
    first, last = max(0, -shift), min(len(mine.bits), len(theirs.bits) - shift)
    if last - first < least:
        return None
    both = mine.valid[first:last] & theirs.valid[first + shift : last + shift]
    count = int(np.count_nonzero(both))
    enough = max(least, share * min(np.count_nonzero(mine.valid), np.count_nonzero(theirs.valid)))
    if count < enough:
        return None
    different = mine.bits[first:last] ^ theirs.bits[first + shift : last + shift]
    distance = float(np.bitwise_count(different[both]).sum()) / (count * bits)
    return Match(one, other, shift, distance)


def _candidates(prints: Sequence[Prints], bits: int, keys: int) -> list[tuple[int, int, int]]:
    """(one, other, shift) of pairs that have keys in common, one < other."""
    lengths = [len(entry.bits) for entry in prints]
    if not sum(lengths):
        return []
    clip = np.repeat(np.arange(len(prints)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    words = np.concatenate([entry.bits for entry in prints])
    valid = np.concatenate([entry.valid for entry in prints])
    valid[1:] &= (words[1:] != words[:-1]) | (clip[1:] != clip[:-1])  # a still picture counts once
    clip, step, words = clip[valid], step[valid], words[valid]
    longest = max(lengths)
    pairs = []
    width = bits // keys
    for part in range(keys):
        key = (words >> np.uint64(part * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(key, kind="stable")
        key, who, when = key[order], clip[order], step[order]
        for apart in range(1, min(_LONGEST_BUCKET, len(key) - 1) + 1):
            same = np.flatnonzero((key[apart:] == key[:-apart]) & (who[apart:] != who[:-apart]))
            # sorted stably: the former belongs to the clip with the lower number
            one, other = who[same], who[same + apart]
            shift = when[same + apart] - when[same] + longest
            pairs.append((one * len(prints) + other) * (2 * longest) + shift)
    codes, votes = np.unique(np.concatenate(pairs), return_counts=True) if pairs else ([], [])
    codes = np.asarray(codes, dtype=np.int64)[np.asarray(votes) >= _LEAST_VOTES]
    pair, shift = codes // (2 * longest), codes % (2 * longest) - longest
    return list(
        zip((pair // len(prints)).tolist(), (pair % len(prints)).tolist(), shift.tolist(), strict=True)
    )
