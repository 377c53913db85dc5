"""Backbones and their released weights. Their libraries take seconds to import: only the chosen one is."""

from typing import Literal

BackboneName = Literal["efficientnet_lite0", "resnet50", "swin_base", "swin_large"]

# name in params.yaml -> the file of this folder whose BACKBONES makes it
BACKBONE_FILES: dict[BackboneName, str] = {
    "efficientnet_lite0": "efficientnet_lite0",
    "resnet50": "resnet50",
    "swin_base": "swin",
    "swin_large": "swin",
}
