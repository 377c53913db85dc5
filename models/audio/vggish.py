"""VGGish (Hershey et al. 2017, arXiv 1609.09430): a log-mel example of a second -> a vector.

Letters: S seconds, A = 128 channels of the embedding.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.audio.log_mel import EXAMPLE_FRAMES, MEL_BANDS
from models.weight_files.checkpoint_file import named_tensors, read_checkpoint, require_same_entries

EMBEDDING_CHANNELS = 128
PUBLISHED_CHANNELS = (64, 128, 256, 256, 512, 512)
PUBLISHED_HIDDEN = 4096


class Postprocess(nn.Module):
    """What AudioSet's released embeddings went through: whitening, clipping to -2..2, 8 bits.

    AVISeg's features did not; released ACVIS weights do. Rounding as such has no gradient: here what is
    behind it passes to what is before it, so that the encoder can still be trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.eigen_vectors: Tensor
        self.means: Tensor
        self.register_buffer("eigen_vectors", torch.eye(EMBEDDING_CHANNELS))
        self.register_buffer("means", torch.zeros(EMBEDDING_CHANNELS, 1))

    def forward(self, embedding: Tensor) -> Tensor:
        """[S, 128] -> [S, 128], whole numbers 0-255."""
        with torch.autocast(embedding.device.type, enabled=False):
            white = (embedding.float() - self.means[:, 0]) @ self.eigen_vectors.T  # [S, A]
        scaled = (white.clamp(-2, 2) + 2) * (255 / 4)
        # straight through: rounded in value, not rounded for the gradient
        return scaled.round().detach() + (scaled - scaled.detach())


class VGGish(nn.Module):
    """Log-mel example [S, 96, 64] -> embedding [S, 128], after its last ReLU.

    ``channels`` and ``hidden`` of the published network: (64, 128, 256, 256, 512, 512) and 4096; a
    smaller pair gives the same network for small data. ``normalise`` adds group norm, without which a
    network of this shape hardly trains from scratch; published weights have none.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...] = PUBLISHED_CHANNELS,
        hidden: int = PUBLISHED_HIDDEN,
        normalise: bool = False,
        postprocess: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) != 6:
            raise ValueError(f"VGGish has six convolutions; channels has {len(channels)} entries")
        layers: list[nn.Module] = []
        width_in = 1
        for index, width in enumerate(channels):
            layers.append(nn.Conv2d(width_in, width, 3, padding=1))
            if normalise:
                layers.append(nn.GroupNorm(8, width))  # not in the published network
            layers.append(nn.ReLU(inplace=True))
            if index in (0, 1, 3, 5):  # as published: after these four convolutions of six
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
        self.postprocess = Postprocess() if postprocess else None

    def forward(self, log_mel: Tensor) -> Tensor:
        x = self.features(log_mel[:, None])  # [S, width, 6, 4]: 96 x 64 halved four times
        # published order of the flattened axes: time, mel, channel
        x = self.embeddings(x.permute(0, 2, 3, 1).flatten(1))  # [S, A]
        return x if self.postprocess is None else self.postprocess(x)


# published name -> ours; the first name is that of torchvggish's later versions
_POSTPROCESS = {
    "pproc.pca_eigen_vectors": "postprocess.eigen_vectors",
    "pproc.pca_matrix": "postprocess.eigen_vectors",
    "pproc.pca_means": "postprocess.means",
}


def load_vggish(network: VGGish, state: Mapping[str, Any], *, assign: bool = False) -> None:
    """Load published PyTorch VGGish weights (``features.0.weight``, ``embeddings.0.weight``, …).

    Args:
        network: of the size of the weights; without postprocessing it leaves ``pproc.…`` alone.
        state: as published by harritaylor/torchvggish.
        assign: take the tensors themselves instead of copying them.

    Raises:
        ValueError: entries are missing, extra or misshapen; they are listed.
    """
    published = {ours: name for name, ours in reversed(_POSTPROCESS.items())}  # the first name of each
    own = {published.get(name, name): value for name, value in network.state_dict().items()}
    given: dict[str, Tensor] = {}
    for name, value in named_tensors(dict(state)).items():
        if name.startswith("pproc.") and network.postprocess is None:
            continue
        ours = _POSTPROCESS.get(name, name)
        given[published.get(ours, ours)] = (
            value.reshape(-1, 1) if ours.endswith(".means") else value
        ).float()
    try:
        require_same_entries(own, given)
    except ValueError as error:
        absent = any(name.startswith("pproc.") and name not in given for name in own)
        raise ValueError(
            f"these are not PyTorch VGGish weights as torchvggish publishes them: {error}"
            + (
                " (of torchvggish's two files the one with the network has no pproc; save the state_dict() of"
                " its whole model)"
                if absent
                else ""
            )
        ) from None
    wanted = {_POSTPROCESS.get(name, name): value for name, value in given.items()}
    network.load_state_dict(wanted, assign=assign)


def load_vggish_file(network: VGGish, path: Path, *, assign: bool = False) -> None:
    """``load_vggish`` out of a ``.pth`` or ``.safetensors`` file.

    Raises:
        ValueError: there is no such file, or it holds anything else; the file is named.
    """
    try:
        state = read_checkpoint(path)
    except OSError as error:
        raise ValueError(f"there are no weights at {path}: {error.strerror}") from None
    try:
        load_vggish(network, state, assign=assign)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
