"""Audio features: what a frozen encoder hears in each second of sound."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from models.audio.log_mel import LogMel
from models.audio.vggish import VGGish, load_vggish_file

BLOCK_S = 32  # seconds that go through the network together: bounds the memory, and is as fast as more
WHERE = "params.yaml, extract.audio_weights"


def embed_seconds(seconds: Iterable[NDArray[np.float32]], *, weights: Path) -> Iterator[NDArray[np.float32]]:
    """Seconds of sound, 16 kHz [16000] each -> their embeddings [128], in the same order.

    Args:
        seconds: as `clips.reader` cuts them; taken a block at a time, so they may be many or never end.
        weights: a file of published PyTorch VGGish weights; it is read once per process.

    Raises (while iterating):
        AvisError: the file is missing or holds something else; the entries that differ are listed.
    """
    front, network = _encoder(weights, _stamp(weights))
    source = iter(seconds)
    while block := list(islice(source, BLOCK_S)):
        with torch.inference_mode():
            embeddings = network(front(torch.from_numpy(np.stack(block)))).numpy()
        yield from embeddings


def encoder_fingerprint(weights: Path) -> str:
    """Changes when features must be made anew: of the encoder's kind and its weights.

    Raises:
        AvisError: as `embed_seconds`.
    """
    _encoder(weights, _stamp(weights))
    return hashlib.sha256(f"vggish {sha256_file(weights)}".encode()).hexdigest()[:16]


def _stamp(weights: Path) -> int:
    return weights.stat().st_mtime_ns if weights.is_file() else 0


@cache  # until the file changes
def _encoder(weights: Path, stamp: int) -> tuple[nn.Module, nn.Module]:
    try:
        with torch.device("meta"):
            network = VGGish()
        load_vggish_file(network, weights, assign=True)  # the file's pages: processes share them
    except ValueError as error:
        raise AvisError(str(error), where=WHERE) from None
    return LogMel(), network.requires_grad_(False).eval()
