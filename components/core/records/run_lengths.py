"""The pixels that compressed run-length counts cover, for many masks at once, without decoding them.

Format (COCO API, maskApi.c): each run in base 32, low digits first, character = digit + 48; bit 32 says that
more digits follow, bit 16 of the last digit is the sign; from the fourth run on, a run is stored as its
difference to the run two before.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MALFORMED = -1
_LONGEST_RUN = 7  # characters: 35 bits
_AT_ONCE = 1 << 18  # characters, more or less: each takes some 100 bytes on the way


def covered_pixels(counts: Sequence[bytes]) -> NDArray[np.int64]:
    """Return the sum of the run lengths of each mask, [len(counts)]; MALFORMED where they are none."""
    blocks = np.cumsum([len(text) for text in counts], dtype=np.int64) // _AT_ONCE
    firsts = [0, *np.flatnonzero(np.diff(blocks)) + 1, len(counts)]
    return np.concatenate([_covered(counts[first:end]) for first, end in pairwise(firsts)])


def _covered(counts: Sequence[bytes]) -> NDArray[np.int64]:
    lengths = np.array([len(text) for text in counts], dtype=np.int64)
    covered = np.zeros(len(counts), dtype=np.int64)
    if not lengths.sum():
        return covered
    digits = np.frombuffer(b"".join(counts), dtype=np.uint8).astype(np.int64) - 48
    text_of = np.repeat(np.arange(len(counts)), lengths)
    bad = np.zeros(len(counts), dtype=bool)
    bad[text_of[(digits < 0) | (digits > 63)]] = True

    text_ends = np.cumsum(lengths)[lengths > 0] - 1
    bad[text_of[text_ends][digits[text_ends] & 32 > 0]] = True  # a run is cut off
    last = digits & 32 == 0
    last[text_ends] = True
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1  # digits of each run
    run_text = text_of[starts]
    bad[run_text[sizes > _LONGEST_RUN]] = True
    place = np.minimum(np.arange(len(digits)) - np.repeat(starts, sizes), _LONGEST_RUN)
    runs = np.add.reduceat((digits & 31) << (5 * place), starts)
    negative = digits[ends] & 16 > 0
    runs[negative] -= np.int64(1) << (5 * np.minimum(sizes[negative], _LONGEST_RUN))

    first_run = np.searchsorted(run_text, np.arange(len(counts)))
    number = np.arange(len(runs)) - first_run[run_text]  # of the run in its mask
    np.add.at(covered, run_text[number == 0], runs[number == 0])
    bad[run_text[(number == 0) & (runs < 0)]] = True
    for parity in (0, 1):  # each run is added to the one two before: two chains of running sums
        chain = np.flatnonzero((number > 0) & (number % 2 == parity))
        if not len(chain):
            continue
        sums = np.cumsum(runs[chain])
        chain_text = run_text[chain]
        # where the mask's own chain begins
        begins = np.searchsorted(chain_text, np.arange(len(counts)))[chain_text]
        sums -= sums[begins] - runs[chain][begins]
        bad[chain_text[sums < 0]] = True
        np.add.at(covered, chain_text, sums)
    covered[bad] = MALFORMED
    return covered
