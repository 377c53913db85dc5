"""Backbones and their released weights. Their libraries take seconds to import: only the chosen one is."""

from typing import Literal

BackboneName = Literal[
    "efficientnet_lite0",
    "resnet50",
    "resnet50_trained_norms",
    "swin_tiny",
    "swin_base",
    "swin_large",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
]

# name in params.yaml -> the file of this folder whose BACKBONES makes it
BACKBONE_FILES: dict[BackboneName, str] = {
    "efficientnet_lite0": "efficientnet_lite0",
    "resnet50": "resnet50",
    "resnet50_trained_norms": "resnet50",
    "swin_tiny": "swin",
    "swin_base": "swin",
    "swin_large": "swin",
    "convnext_tiny": "convnext",
    "convnext_small": "convnext",
    "convnext_base": "convnext",
}
