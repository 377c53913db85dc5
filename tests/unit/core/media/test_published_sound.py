"""Sound resampled as before the published front end, by every way of reading it."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.media.pictures_by_timestamp import ClipReader
from components.core.media.published_sound import soundtrack_for
from components.core.media.sound import read_sound, stream_sound
from components.core.raw.index import RawEntry, Status
from components.extract.extract_video import fingerprint
from components.extract.params import ExtractParams
from models.audio.log_mel import LogMel
from tests.support.clips import make_clip, onset_s

GOLDEN = Path("tests/data/golden")
ROUNDING = 0.1  # of 16 bits, in the log-mel of these sounds


@pytest.mark.parametrize("folder", ["logmel_44k", "logmel_48k"])  # of two channels, and of one
def test_it_is_the_published_one_but_for_rounding(folder: str) -> None:
    path = GOLDEN / folder / "input.wav"
    expected = np.load(GOLDEN / folder / "expected.npz")["log_mel"]
    found = {}
    for kind in ("ffmpeg", "resampy"):
        samples = read_sound(path, rate_hz=16_000, sound=soundtrack_for(path, kind, rate_hz=16_000))
        assert samples.shape == (16_000, 1) and samples.dtype == np.int16
        second = torch.from_numpy(samples[:, 0].astype(np.float32)[None] / 32768)
        found[kind] = np.abs(LogMel()(second).numpy() - expected).max()
    assert found["resampy"] < ROUNDING < found["ffmpeg"]


@pytest.mark.parametrize(("channels", "rate_hz"), [(1, 22_050), (2, 44_100), (6, 48_000)])
def test_every_way_of_reading_gives_the_same(tmp_path: Path, channels: int, rate_hz: int) -> None:
    """As loud and at the same time as FFmpeg's."""
    path = make_clip(
        tmp_path / "a.mkv", seconds=3, flashes_s=(0.5, 1.7, 2.9), channels=channels, rate_hz=rate_hz
    )
    whole = read_sound(path, rate_hz=16_000, sound=soundtrack_for(path, "resampy", rate_hz=16_000))
    pieces = stream_sound(path, rate_hz=16_000, sound=soundtrack_for(path, "resampy", rate_hz=16_000))
    streamed = np.concatenate(list(pieces))
    assert len(whole) - 1 <= len(streamed) <= len(whole)
    np.testing.assert_array_equal(streamed, whole[: len(streamed)])
    published, ordinary = ClipReader(path, resampling="resampy"), ClipReader(path)
    assert len(list(published)) == len(list(ordinary)) == 3
    assert published.audio.shape == (48_000,)
    count = min(len(whole), 48_000)
    np.testing.assert_array_equal(published.audio[:count], whole[:count, 0])
    assert onset_s(published.audio) == pytest.approx(0.5, abs=0.005)
    assert np.abs(published.audio.astype(int) - ordinary.audio).max() < 800  # of 32768: the edges of beeps
    assert not published.changes


def test_other_resampling_extracts_anew() -> None:
    entry = RawEntry("a", Status.OK, "", 1, "a.mp4", None, None, fingerprint="1", path="a.mp4", sha256="0")
    made = {fingerprint(entry, ExtractParams(resampling=kind)) for kind in ("ffmpeg", "resampy")}
    assert len(made) == 2 and fingerprint(entry, ExtractParams()) in made


def test_channels_that_cancel_are_heard_here_too(tmp_path: Path) -> None:
    path = tmp_path / "opposite.wav"
    left = np.round(0.4 * 32767 * np.sin(2 * np.pi * 440 * np.arange(66_150) / 44_100)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
        file.writeframes(np.stack((left, -left), axis=1).tobytes())
    sound = soundtrack_for(path, "resampy", rate_hz=16_000)
    samples = read_sound(path, rate_hz=16_000, sound=sound)[:, 0] / 32768
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.283, abs=0.002)
    assert "cancel" in sound.changes.sentences()[0]
    streaming = soundtrack_for(path, "resampy", rate_hz=16_000)
    assert len(list(stream_sound(path, rate_hz=16_000, sound=streaming))) > 1
    assert streaming.changes.sentences() == sound.changes.sentences()


def test_a_video_without_sound_is_silent_here_too(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "silent.mp4", seconds=1.2, audio_codec=None)
    reader = ClipReader(path, resampling="resampy", require_audio=False)
    assert len(list(reader)) == 1
    assert not reader.audio.any() and len(reader.audio) == 16_000
