"""ConvNeXt (Liu et al., CVPR 2022), by timm."""

from collections.abc import Callable

import timm
from torch import nn

from models.networks.backbones.backbone import Backbone, BackboneChoice


def _convnext(name: str) -> Callable[[bool], Backbone]:
    def build(pretrained: bool) -> Backbone:
        network = timm.create_model(name, pretrained=pretrained, features_only=True)
        stem = nn.Sequential(network["stem_0"], network["stem_1"])
        stages = [network[f"stages_{number}"] for number in range(4)]
        return Backbone(network, network.feature_info.channels(), parts=[stem, *stages])

    return build


BACKBONES = {
    f"convnext_{size}": BackboneChoice(
        _convnext(f"convnext_{size}.fb_in22k_ft_in1k"), "ImageNet-22k, by timm", reads_files=False
    )
    for size in ("tiny", "small", "base")
}
