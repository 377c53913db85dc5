"""The front end of VGGish, against the published log-mel of a real recording."""

import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from models.audio import EXAMPLE_FRAMES, SAMPLE_RATE_HZ, LogMel, VGGish, load_vggish

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


def test_published_vggish_weights_load_by_name_and_say_what_differs() -> None:
    network = VGGish(channels=(8, 8, 8, 8, 8, 8), hidden=4)
    state = {**VGGish(channels=(8, 8, 8, 8, 8, 8), hidden=4).state_dict(), "pproc.means": torch.zeros(128)}
    load_vggish(network, state)
    torch.testing.assert_close(network.state_dict()["features.0.weight"], state["features.0.weight"])
    state["embeddings.4.bias"] = torch.zeros(3)
    del state["features.0.bias"]
    with pytest.raises(ValueError, match=r"missing features\.0\.bias.*embeddings\.4\.bias: \(3,\)"):
        load_vggish(network, state)


def test_vggish_has_the_published_size() -> None:
    with torch.device("meta"):
        network = VGGish()
    assert sum(x.numel() for x in network.parameters()) == 72_141_184
    with pytest.raises(ValueError, match="six convolutions"):
        VGGish(channels=(8, 8))
