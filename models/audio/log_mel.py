"""The front end of VGGish: a second of sound as a log-mel example.

Letters: S seconds, each on its own.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import spectrogram

# All as VGGish was trained (Hershey et al. 2017, arXiv 1609.09430, section 3.2).
SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FFT_SAMPLES = 512  # the next power of two after the window
MEL_BANDS = 64
EXAMPLE_FRAMES = 96  # 0.96 s


class LogMel(nn.Module):
    """Waveform -> log-mel examples, as VGGish was trained on (Hershey et al. 2017).

    Magnitude spectrum of 25 ms periodic Hann windows every 10 ms, 64 mel bands over 125-7500 Hz,
    log(x + 0.01).
    """

    def __init__(self) -> None:
        super().__init__()
        self.bands: Tensor
        self.window: Tensor
        self.register_buffer("bands", _mel_bands(), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES, periodic=True), persistent=False)

    def forward(self, seconds: Tensor) -> Tensor:
        """[S, 16000] samples in -1..1, one second a row -> [S, 96, 64]."""
        # a window shorter than the transform stands in its middle, so the sound gets that margin, too
        margin = (FFT_SAMPLES - WINDOW_SAMPLES) // 2
        spectrum = spectrogram(
            F.pad(seconds.float(), (margin, margin)),
            pad=0,
            window=self.window,
            n_fft=FFT_SAMPLES,
            hop_length=HOP_SAMPLES,
            win_length=WINDOW_SAMPLES,
            power=1.0,
            normalized=False,
            center=False,
        )[..., :EXAMPLE_FRAMES].transpose(-1, -2)  # [S, 96, 257]
        return torch.log(spectrum @ self.bands + 0.01)  # [S, 96, 64]


def _mel_bands() -> Tensor:
    """Triangles [257, 64] over the spectrum; their sides are straight in HTK mel, elsewhere usually in Hz."""

    def mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:  # HTK's
        return 1127 * np.log1p(frequency_hz / 700)

    lowest, highest = mel(np.array([125.0, 7500.0])).tolist()
    edges = np.linspace(lowest, highest, MEL_BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    at = mel(np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1))[:, None]
    bands = np.minimum((at - low) / (centre - low), (high - at) / (high - centre)).clip(min=0)  # [257, 64]
    return torch.from_numpy(bands.astype(np.float32))
