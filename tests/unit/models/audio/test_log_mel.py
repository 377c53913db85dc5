"""The front end of VGGish, against the published log-mel of a real recording."""

import wave
from pathlib import Path

import numpy as np
import torch

from models.audio.log_mel import EXAMPLE_FRAMES, SAMPLE_RATE_HZ, LogMel

GOLDEN = Path("tests/data/golden/logmel_16k")


def test_log_mel_is_the_published_one() -> None:
    with wave.open(str(GOLDEN / "input.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (SAMPLE_RATE_HZ, 2, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    expected = np.load(GOLDEN / "expected.npz")["log_mel"]  # one example for each whole second
    mono = (samples.astype(np.float32) / 32768).mean(1)
    seconds = mono[: len(expected) * SAMPLE_RATE_HZ].reshape(len(expected), SAMPLE_RATE_HZ)
    log_mel = LogMel()(torch.from_numpy(seconds)).numpy()
    np.testing.assert_allclose(log_mel, expected, rtol=0, atol=1e-3)


def test_silence_is_the_log_of_the_offset() -> None:
    log_mel = LogMel()(torch.zeros(2, SAMPLE_RATE_HZ))
    assert log_mel.shape == (2, EXAMPLE_FRAMES, 64)
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, float(np.log(0.01))))
