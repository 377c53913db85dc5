"""Run lengths of many masks at once, against each mask decoded."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from components.core.records import masks, run_lengths
from components.core.records.run_lengths import MALFORMED, covered_pixels

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@given(st.lists(MASKS, max_size=6))
def test_every_mask_covers_its_picture(pictures):
    counts = [masks.encode(picture)["counts"].encode() for picture in pictures]
    assert covered_pixels(counts).tolist() == [picture.size for picture in pictures]


def test_malformed_counts_are_told_and_spare_their_neighbours():
    good = masks.encode(np.eye(20, dtype=bool))["counts"].encode()
    cut_off = good[:-1] + b"P"  # the last digit promises another
    negative = b"O"  # a run of -1
    too_long = b"oooooooo0"
    counts = [good, cut_off, b"", negative, good, too_long, b"\xff", good[:-1]]
    covered = covered_pixels(counts).tolist()
    assert covered[:7] == [400, MALFORMED, 0, MALFORMED, 400, MALFORMED, MALFORMED]
    assert covered[7] != 400


@pytest.mark.parametrize("at_once", [1, 7, 20])
def test_in_blocks_it_is_the_same_and_a_long_track_takes_the_memory_of_a_short_one(at_once, monkeypatch):
    good = masks.encode(np.eye(20, dtype=bool))["counts"].encode()
    counts = [b"", good, b"O", b"", good, good[:-1], good, b""]
    expected = covered_pixels(counts).tolist()
    monkeypatch.setattr(run_lengths, "_AT_ONCE", at_once)
    assert covered_pixels(counts).tolist() == expected
    monkeypatch.undo()

    def peak(count: int) -> int:
        tracemalloc.start()
        covered_pixels([good] * count)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(100_000) < 3 * peak(20_000)


def test_big_masks():
    picture = np.zeros((2000, 3000), dtype=bool)
    picture[500:1500, 1000:2000] = True
    assert covered_pixels([masks.encode(picture)["counts"].encode()]).tolist() == [6_000_000]
    assert covered_pixels([]).tolist() == []


def test_compress_all_names_the_frames():
    good = masks.encode(np.ones((4, 5), dtype=bool))
    other = masks.encode(np.ones((5, 4), dtype=bool))
    short = {"size": [4, 5], "counts": "01"}
    frames = [good, None, other, [], short, [[0, 0, 5, 0, 5, 4, 0, 4]], {"size": [4, 5], "counts": [20]}]
    codes, problems = masks.compress_all(frames, 4, 5)
    assert [code is None for code in codes] == [False, True, True, True, True, False, False]
    assert sorted(problems) == [2, 4]
    assert "[5, 4]" in problems[2]
    assert "does not decode" in problems[4]
