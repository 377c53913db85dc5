"""The front end of VGGish, against the published log-mel of a real recording."""

from pathlib import Path

import numpy as np
import torch

from models.audio.log_mel import EXAMPLE_FRAMES, SAMPLE_RATE_HZ, LogMel
from models.golden import compare_log_mel

GOLDEN = Path("tests/data/golden/logmel_16k")


def test_log_mel_is_the_published_one() -> None:
    (row,) = compare_log_mel(GOLDEN)
    assert row.difference <= 1e-3 < row.magnitude


def test_silence_is_the_log_of_the_offset() -> None:
    log_mel = LogMel()(torch.zeros(2, SAMPLE_RATE_HZ))
    assert log_mel.shape == (2, EXAMPLE_FRAMES, 64)
    torch.testing.assert_close(log_mel, torch.full_like(log_mel, float(np.log(0.01))))
