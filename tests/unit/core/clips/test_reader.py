"""Sound second by second, as it is cut from the whole."""

import wave
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.clips.reader import cut_seconds, read_seconds, read_sound, seconds_of_sound
from components.core.records.annotations import Video
from components.core.run.errors import AvisError


def write_wav(media: Path, samples: np.ndarray, rate_hz: int = 16_000) -> Video:
    (media / "audio").mkdir(parents=True, exist_ok=True)
    with wave.open(str(media / "audio" / "clip.wav"), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())
    return Video(1, "clip", [], 5, 40, 60)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-30_000, 30_000, count).astype(np.int16)


@pytest.mark.parametrize("rate_hz", [1.0, 3.0, 0.4])
@pytest.mark.parametrize("samples", [0, 1, 40_000, 80_000, 500_000])
def test_seconds_are_read_as_they_are_cut(tmp_path: Path, rate_hz: float, samples: int) -> None:
    """Shorter sound than frames is silence, longer is not heard."""
    video = write_wav(tmp_path, noise(samples))
    expected = seconds_of_sound(read_sound(tmp_path, video), 5, rate_hz)
    np.testing.assert_array_equal(list(read_seconds(tmp_path, video, range(5), rate_hz)), expected)
    chosen = [4, 0, 2]
    np.testing.assert_array_equal(list(read_seconds(tmp_path, video, chosen, rate_hz)), expected[chosen])


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5001])  # an odd number of bytes is left


def test_a_file_that_ends_early_is_silent_from_there(tmp_path: Path) -> None:
    video = write_wav(tmp_path, noise(32_000))
    cut_off(tmp_path / "audio" / "clip.wav")
    first, second = read_seconds(tmp_path, video, range(2))
    assert first.all() or np.count_nonzero(first) > 15_900
    assert not second[-2_400:].any() and second[:13_000].any()
    assert len(read_sound(tmp_path, video)) == 29_499


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (Path.unlink, "the sound cannot be read"),
        (lambda path: path.write_bytes(b""), "the sound cannot be read"),
        (lambda path: write_wav(path.parents[1], noise(9), 8_000), "not 16 kHz mono 16 bit"),
    ],
)
def test_sound_that_cannot_be_read_names_its_file(
    tmp_path: Path, break_it: Callable[[Path], object], message: str
) -> None:
    video = write_wav(tmp_path, noise(9))
    break_it(tmp_path / "audio" / "clip.wav")
    with pytest.raises(AvisError, match=rf"{message}.*clip\.wav.*Run `dvc repro extract`"):
        list(read_seconds(tmp_path, video, range(2)))


@given(
    sizes=st.lists(st.integers(0, 40_000), max_size=6),
    rate_hz=st.sampled_from([0.3, 1.0, 2.5, 12.0]),
    frames=st.integers(1, 6),
)
def test_pieces_are_cut_as_the_whole(sizes: list[int], rate_hz: float, frames: int) -> None:
    whole = noise(sum(sizes)).astype(np.float32)
    pieces = np.split(whole, np.cumsum(sizes))
    seconds = list(islice(cut_seconds(pieces, rate_hz), frames))
    np.testing.assert_array_equal(seconds, seconds_of_sound(whole, frames, rate_hz))


def test_no_more_than_a_second_and_a_piece_is_read_ahead() -> None:
    taken = []

    def pieces():  # type: ignore[no-untyped-def]
        for number in range(1_000):
            taken.append(number)
            yield np.full(1_000, number, np.float32)

    seconds = cut_seconds(pieces())
    for second in range(20):
        assert next(seconds)[0] == 16 * second
        assert len(taken) == 16 * (second + 1)
