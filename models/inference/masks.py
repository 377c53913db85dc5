"""From mask features to packed masks and the share of a score that they decide.

Letters: n queries (m of them sound in a frame), T frames (t of a chunk), C channels, h w at stride 4,
H W of a frame, I J of a mask.
"""

from collections.abc import Callable, Iterator
from itertools import compress
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.networks.backbones.backbone import STRIDE_PX

BLOCK_PIXELS = 2_000_000  # of logits that are made larger together

R = TypeVar("R")


class MaskLogits(Protocol):
    """Mask logits [n, h, w] of all queries in frame number ``frame`` with features [C, h, w]."""

    def __call__(self, features: Tensor, *, frame: int) -> Tensor: ...


class MaskMaker(Generic[R]):
    """Takes the mask features of a clip chunk by chunk; makes and packs the masks of n queries.

    As published: logits go to the padded frame's size and are cut to the frame; there foreground is measured,
    and from there they go to the size of the masks.

    Args:
        logits: of the queries.
        sounds: bool [n, T]; where it is false a query has an empty mask.
        shape: height and width of the frames that the network saw.
        size: height and width of the masks.
        encode: packs one mask, bool ``size``.
    """

    def __init__(
        self,
        logits: MaskLogits,
        sounds: NDArray[np.bool_],
        *,
        shape: tuple[int, int],
        size: tuple[int, int],
        encode: Callable[[NDArray[np.bool_]], R],
    ) -> None:
        self._logits, self._sounds, self._encode = logits, sounds, encode
        self._shape, self._size = shape, size
        self._silence = encode(np.zeros(size, bool))
        self.masks: list[list[R]] = [[] for _ in sounds]
        # of each query and frame: the sum of its foreground probabilities, and over how many pixels
        self.foreground: list[list[float]] = [[] for _ in sounds]
        self.pixels: list[list[int]] = [[] for _ in sounds]

    def is_silent(self, frames: int) -> bool:
        """Does no query sound in the next frames?"""
        begin = len(self.masks[0])
        return not self._sounds[:, begin : begin + frames].any()

    def skip(self, frames: int) -> None:
        """The next frames have only empty masks."""
        for packed, foreground, pixels in zip(self.masks, self.foreground, self.pixels, strict=True):
            packed += [self._silence] * frames
            foreground += [0.0] * frames
            pixels += [0] * frames

    def add(self, features: Tensor) -> None:
        """The next frames' features [t, C, h, w]; products are in fp32."""
        for plane in features:
            if self.is_silent(1):
                self.skip(1)
            else:
                self._add(plane)

    def mean_foreground(self, place: int, audible: NDArray[np.bool_]) -> float:
        """Mean probability over the pixels more likely object than not, of the frames [T] that count."""
        pixels = sum(compress(self.pixels[place], audible))
        return sum(compress(self.foreground[place], audible)) / pixels if pixels else 0.0

    def masks_where(self, place: int, audible: NDArray[np.bool_]) -> list[R]:
        """The masks of a query, empty ones in the frames [T] where it is not audible."""
        masks = self.masks[place]
        if audible.all():
            return masks
        return [mask if heard else self._silence for mask, heard in zip(masks, audible, strict=True)]

    def _add(self, features: Tensor) -> None:
        frame = len(self.masks[0])
        sounds = self._sounds[:, frame]  # [n]
        sounding = torch.from_numpy(sounds).to(features.device)
        with torch.autocast(features.device.type, enabled=False):
            logits = self._to_frame(self._logits(features.float(), frame=frame)[sounding])  # [m, H, W]
        chance = logits.sigmoid()
        inside = chance > 0.5  # foreground, as published
        foreground = iter((chance * inside).sum((1, 2)).double().tolist())
        pixels = iter(inside.sum((1, 2)).tolist())
        masks = self._masks(logits)
        for place, sound in enumerate(sounds):
            self.masks[place].append(self._encode(next(masks)) if sound else self._silence)
            self.foreground[place].append(next(foreground) if sound else 0.0)
            self.pixels[place].append(next(pixels) if sound else 0)

    def _masks(self, logits: Tensor) -> Iterator[NDArray[np.bool_]]:
        """Masks [I, J] of logits [m, H, W], a few at a time: fifty at 1920x1080 are 400 MB of logits."""
        for block in logits.split(max(1, BLOCK_PIXELS // (self._size[0] * self._size[1]))):
            large = F.interpolate(block[None], size=self._size, mode="bilinear", align_corners=False)[0]
            yield from (large > 0).cpu().numpy()

    def _to_frame(self, logits: Tensor) -> Tensor:
        """Logits [n, h, w] at the padded frame's size, cut to the frame."""
        height, width = self._shape
        padded = (height + -height % STRIDE_PX, width + -width % STRIDE_PX)
        logits = F.interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)[0]
        return logits[:, :height, :width]  # [n, H, W]
