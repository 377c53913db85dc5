"""VGGish: log-mel front end and the convolutional network that turns a second of sound into a vector.

Letters: S seconds (one example each), A audio channels (128).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import spectrogram

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
FFT_SAMPLES = 512
MEL_BANDS = 64
EXAMPLE_FRAMES = 96  # 0.96 s
EMBEDDING_CHANNELS = 128


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
        return torch.log(spectrum @ self.bands + 0.01)


def _mel_bands() -> Tensor:
    """Triangles [257, 64] over the spectrum; their sides are straight in HTK mel, elsewhere usually in Hz."""

    def mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(frequency_hz / 700)

    lowest, highest = mel(np.array([125.0, 7500.0])).tolist()
    edges = np.linspace(lowest, highest, MEL_BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    at = mel(np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1))[:, None]
    bands = np.minimum((at - low) / (centre - low), (high - at) / (high - centre)).clip(min=0)
    return torch.from_numpy(bands.astype(np.float32))


class VGGish(nn.Module):
    """Log-mel example [S, 96, 64] -> embedding [S, 128].

    ``channels`` and ``hidden`` of the published network: (64, 128, 256, 256, 512, 512) and 4096; a
    smaller pair gives the same network for small data. ``normalise`` adds group norm, without which a
    network of this shape hardly trains from scratch; published weights have none.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512),
        hidden: int = 4096,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != 6:
            raise ValueError(f"VGGish has six convolutions; channels has {len(channels)} entries")
        layers: list[nn.Module] = []
        width_in = 1
        for index, width in enumerate(channels):
            layers.append(nn.Conv2d(width_in, width, 3, padding=1))
            if normalise:
                layers.append(nn.GroupNorm(8, width))
            layers.append(nn.ReLU(inplace=True))
            if index in (0, 1, 3, 5):
                layers.append(nn.MaxPool2d(2))
            width_in = width
        self.features = nn.Sequential(*layers)
        flat = width_in * (EXAMPLE_FRAMES // 16) * (MEL_BANDS // 16)
        self.embeddings = nn.Sequential(
            nn.Linear(flat, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, EMBEDDING_CHANNELS),
            nn.ReLU(inplace=True),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        x = self.features(log_mel[:, None])
        # published order of the flattened axes: time, mel, channel
        return self.embeddings(x.permute(0, 2, 3, 1).flatten(1))


def load_vggish(network: VGGish, state: dict[str, Any]) -> None:
    """Load published PyTorch VGGish weights (``features.0.weight``, ``embeddings.0.weight``, …).

    Raises:
        ValueError: entries are missing, extra or misshapen; they are listed.
    """
    own = network.state_dict()
    wanted = {name: value for name, value in state.items() if not name.startswith("pproc.")}
    problems = [f"missing {name}" for name in own if name not in wanted]
    problems += [f"unexpected {name}" for name in wanted if name not in own]
    problems += [
        f"{name}: {tuple(wanted[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in wanted and wanted[name].shape != value.shape
    ]
    if problems:
        raise ValueError("not a VGGish checkpoint of this size: " + "; ".join(problems[:5]))
    network.load_state_dict(wanted)
