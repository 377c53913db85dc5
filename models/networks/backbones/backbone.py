"""What a backbone is to a network: images in, features at strides 4, 8, 16, 32 out.

Letters: F frames, H W their size, h w size of a map, C its channels.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.backbones.released_weights import backbone_weights
from models.weight_files.checkpoint_file import require_same_entries

STRIDE_PX = 32  # of the coarsest map
# RGB, as in Detectron2's and Mask2Former's configurations; torchvision's times 255
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Backbone(nn.Module):
    """Image normalisation and padding, and a network that returns four feature maps."""

    def __init__(
        self,
        network: nn.Module,
        channels: list[int],
        *,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        parts: list[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.parts = tuple(parts or ())  # from the input on, for freeze()
        self.channels = channels
        self.mean: Tensor
        self.std: Tensor
        # not saved: published checkpoints have them as pixel_mean and pixel_std, or not at all
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def freeze(self, count: int) -> None:
        """Keep the first ``count`` parts (stem, then blocks or stages) as they are.

        The early parts see the largest maps: without their backward pass a step is much cheaper.
        """
        if count > len(self.parts):
            raise ValueError(f"this backbone has {len(self.parts)} parts to freeze, not {count}")
        for part in self.parts[:count]:
            part.requires_grad_(False)

    def normalise(self, frames: Tensor) -> Tensor:
        """RGB 0-255 of any type -> normalised float, channels last in memory.

        Convolutions are faster so, and a map is a list of tokens without being copied.
        """
        frames = frames.contiguous(memory_format=torch.channels_last)
        return (frames.to(self.mean.dtype) - self.mean) / self.std

    def prepare(self, frames: Tensor) -> Tensor:
        """Frames [F, 3, H, W], RGB 0-255 -> normalised, padded on the right and below to whole strides."""
        x = self.normalise(frames)  # [F, 3, H, W]
        height, width = x.shape[-2:]
        # after normalisation, so that padding is the mean colour, as the published model was trained
        return F.pad(x, (0, -width % STRIDE_PX, 0, -height % STRIDE_PX))

    def forward(self, normalised: Tensor) -> list[Tensor]:
        """``prepare``d frames -> four maps [F, C, h, w] at strides 4, 8, 16, 32."""
        maps: list[Tensor] = self.network(normalised)
        return maps


@dataclass(frozen=True)
class BackboneChoice:
    """How to make a backbone: ``build(pretrained)``, and where the pretrained weights come from.

    reads_files: weights may also come from a file of ``released_weights``.
    """

    build: Callable[[bool], Backbone]
    weights: str
    reads_files: bool = True


def load_backbone(backbone: Backbone, state: dict[str, Tensor]) -> None:
    """Load ImageNet weights as published (``released_weights``); Swin's output norms and counters stay fresh.

    Raises:
        ValueError: missing, unexpected and misshapen entries, listed.
    """
    renamed, _classifier = backbone_weights(state)
    own = backbone.state_dict()
    kept = re.compile(r"network\.norms\.|.*\.num_batches_tracked$")
    given = {name: x for name, x in own.items() if kept.match(name)} | renamed
    require_same_entries(own, given)
    backbone.load_state_dict(given)
