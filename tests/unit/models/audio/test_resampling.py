"""Resampling as resampy 0.4.3 does it: its numbers are in the golden folders of 44.1 and 48 kHz."""

from pathlib import Path

import numpy as np
import pytest

from models.audio.resampling import Resampler, resample
from models.golden import compare_log_mel

GOLDEN = Path("tests/data/golden")


@pytest.mark.parametrize("folder", ["logmel_44k", "logmel_48k"])
def test_log_mel_of_other_rates_is_the_published_one(folder: str) -> None:
    (row,) = compare_log_mel(GOLDEN / folder)
    assert row.difference <= 1e-3 < row.magnitude


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 32_000, 44_056, 44_100, 48_000, 96_000])
def test_sound_in_pieces_is_resampled_as_the_whole(rate_hz: int) -> None:
    """And a tone keeps its height, its level and its time."""
    hz, seconds = 440.0, 1.003
    sound = np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    whole = resample(sound, rate_hz, 16_000)
    assert len(whole) == len(sound) * 16_000 // rate_hz
    expected = np.sin(2 * np.pi * hz * np.arange(len(whole)) / 16_000)
    assert np.abs(whole - expected)[500:-500].max() < 4e-4  # the table's steps
    resampler = Resampler(rate_hz, 16_000)
    cuts = np.split(sound, [1, 2, 900, 900, 3_000, 7_777])
    pieces = [*(resampler.add(piece) for piece in cuts), resampler.finish()]
    np.testing.assert_allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-12)


def test_little_and_no_sound() -> None:
    assert len(resample(np.zeros(0), 44_100, 16_000)) == 0
    assert len(resample(np.ones(2), 44_100, 16_000)) == 0
    assert len(resample(np.ones(3), 44_100, 16_000)) == 1
