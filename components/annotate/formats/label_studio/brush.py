"""Label Studio's coding of brush masks: runs of bytes in a stream of bits, highest bit first.

The layout is that of the package @thi.ng/rle-pack, which Label Studio uses, as its documentation has it: 32
bits number of words; 5 bits word size - 1; four times 4 bits size - 1 of a count. Then chunks: 1 bit, is it
a run; 2 bits, which of the four sizes its count has; the count - 1; one word of a run, else count words. The
words are the picture's bytes, red, green, blue, alpha, row by row; alpha is the mask.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.core.run.errors import AvisError

_COUNT_BITS = (3, 4, 8, 16)
_LONGEST = 2**16
_HEAD_BITS = 32 + 5 + 16
_OPAQUE = 255


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] as the bytes of `value.rle`."""
    flat = mask.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.append(changes, flat.size)
    lengths = np.diff(ends, prepend=0) * 4  # in words
    values = np.where(flat[np.append(0, changes)], _OPAQUE, 0)
    parts = -(-lengths // _LONGEST)
    values = np.repeat(values, parts)
    counts = np.full(parts.sum(), _LONGEST, dtype=np.int64)
    counts[np.cumsum(parts) - 1] = lengths - (parts - 1) * _LONGEST
    kinds = np.searchsorted([2**bits for bits in _COUNT_BITS], counts)
    bits = np.array(_COUNT_BITS)[kinds]
    codes = (((0b100 | kinds) << bits | (counts - 1)) << 8) | values
    head = (flat.size * 4) << 21 | 7 << 16
    for place, size in enumerate(_COUNT_BITS):
        head |= (size - 1) << (12 - 4 * place)
    stream = np.concatenate([_bits(np.array([head]), np.array([_HEAD_BITS])), _bits(codes, bits + 11)])
    packed: list[int] = np.packbits(stream).tolist()
    return packed


def _bits(codes: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.uint8]:
    """The lowest `lengths` bits of each code, highest first, one after the other."""
    ends = np.cumsum(lengths)
    stream = np.zeros(int(ends[-1]), dtype=np.uint8)
    for place in range(int(lengths.max())):  # counted from the lowest bit
        has = lengths > place
        stream[ends[has] - 1 - place] = (codes[has] >> place) & 1
    return stream


def decode_brush(code: object, height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of `value.rle`: pixels whose alpha is above half of the largest.

    Raises:
        AvisError: it is no list of bytes, ends too early, or is not for this size.
    """
    if not isinstance(code, list) or not all(type(value) is int and 0 <= value < 256 for value in code):
        raise AvisError("A brush mask's rle is no list of bytes")
    stream = bytes(code) + b"\0" * 8  # so that eight bytes can be read anywhere
    end = len(code) * 8
    words = height * width * 4
    if end < _HEAD_BITS or _take(stream, 0, 32) != words or _take(stream, 32, 5) != 7:
        raise AvisError(f"A brush mask's rle is not for {width}x{height} pixels of four bytes")
    sizes = [_take(stream, 37 + 4 * place, 4) + 1 for place in range(4)]
    picture = np.zeros(words, dtype=np.uint8)
    at, filled = _HEAD_BITS, 0
    while filled < words:
        bits = sizes[_take(stream, at + 1, 2)]
        count = _take(stream, at + 3, bits) + 1
        is_run = _take(stream, at, 1)
        at += 3 + bits
        if at + (8 if is_run else 8 * count) > end or filled + count > words:
            raise AvisError("A brush mask's rle is cut off or too long")
        if is_run:
            picture[filled : filled + count] = _take(stream, at, 8)
            at += 8
        else:
            raw = np.frombuffer(stream, np.uint8, offset=at // 8, count=count + 1)
            picture[filled : filled + count] = np.packbits(np.unpackbits(raw)[at % 8 : at % 8 + 8 * count])
            at += 8 * count
        filled += count
    alpha = picture[3::4].reshape(height, width)
    return alpha > int(alpha.max()) // 2


def _take(stream: bytes, at: int, bits: int) -> int:
    """`bits` bits, at most 32, from bit `at` on; zeros after the end."""
    eight = int.from_bytes(stream[at // 8 : at // 8 + 8].ljust(8, b"\0"), "big")
    return eight >> (64 - at % 8 - bits) & ((1 << bits) - 1)
