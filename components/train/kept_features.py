"""Features of validation clips, computed once: while what makes them learns nothing they stay as they are."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

from torch import Tensor

from models.networks.avism.avism import Avism
from models.networks.h2s.h2s import H2s
from models.networks.registry import Network

_MOST_BYTES = 2**30  # beyond that features are computed each time
Features = tuple[Tensor, list[Tensor]]


class KeptFeatures:
    """What an AVISM on the processor makes of frames before it hears, by the frames.

    Kept only while backbone and pixel decoder are frozen, and as long as none of their tensors changes: the
    same bytes as if they were computed anew.
    """

    def __init__(self) -> None:
        self._kept: dict[bytes, Features] = {}
        self._bytes = 0
        self._versions: tuple[int, ...] = ()

    @contextmanager
    def used_by(self, model: Network) -> Iterator[None]:
        """Within, the model looks here first."""
        if not isinstance(model, Avism) or isinstance(model, H2s) or _learns(model):
            yield
            return
        versions = tuple(tensor._version for tensor in _tensors(model))
        if versions != self._versions:
            self._kept, self._bytes, self._versions = {}, 0, versions
        extract = model.extract_features

        def kept(frames: Tensor, audio: Tensor | None = None) -> Features:
            if frames.device.type != "cpu":
                return extract(frames, audio)
            values = frames.contiguous().numpy()
            key = hashlib.sha256(f"{values.shape} {values.dtype}".encode() + values.tobytes()).digest()
            if key in self._kept:
                return self._kept[key]
            found = extract(frames, audio)
            self._bytes += sum(tensor.nbytes for tensor in (found[0], *found[1]))
            if self._bytes <= _MOST_BYTES:
                self._kept[key] = found
            return found

        vars(model)["extract_features"] = kept
        try:
            yield
        finally:
            del vars(model)["extract_features"]


def _tensors(model: Avism) -> Iterator[Tensor]:
    parts = (model.backbone, model.pixel_decoder)
    return chain.from_iterable((*part.parameters(), *part.buffers()) for part in parts)


def _learns(model: Avism) -> bool:
    return any(tensor.requires_grad for tensor in _tensors(model))
