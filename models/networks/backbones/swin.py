"""Swin as Mask2Former's published backbone runs it, made of timm's parts.

It differs from timm's feature extractor in three ways: each of the four maps has a layer norm of its own,
windows are always 12 x 12 (timm shrinks them, and drops the shift, where a map is smaller), and a map is
padded to whole windows before it is shifted, not after. That timm merges patches at the start of a stage
and the published code at the end of the one before makes no difference: maps are taken in between.

Letters: F frames, h w size of a map, C channels.
"""

from collections.abc import Callable
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.backbones.backbone import Backbone, BackboneChoice

DROP_PATH = 0.3  # of training, as published; timm's default is 0.1


class SwinStages(nn.Module):
    """Normalised frames [F, 3, H, W] -> four maps [F, C, h, w] at strides 4, 8, 16 and 32."""

    def __init__(self, name: str, *, pretrained: bool) -> None:
        super().__init__()
        network: Any = timm.create_model(
            name,
            pretrained=pretrained,
            num_classes=0,
            strict_img_size=False,
            always_partition=True,
            drop_path_rate=DROP_PATH,
        )
        self.channels: list[int] = [info["num_chs"] for info in network.feature_info]
        self.patch_embed = network.patch_embed
        self.stages = network.layers
        # ImageNet weights have none of these: they start at one and zero
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.patch_embed(x)  # [F, h, w, C]
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage.downsample(x)  # [F, h, w, C]; nothing in the first stage
            for block in stage.blocks:
                x = _run(block, x)
            maps.append(norm(x).permute(0, 3, 1, 2))  # [F, C, h, w]; the next stage gets x without the norm
        return maps


def _run(block: Any, x: Tensor) -> Tensor:
    """One of timm's blocks on [F, h, w, C], which it gets in whole windows: then it has nothing to pad."""
    height, width = x.shape[1:3]
    window_height, window_width = block.window_size
    padded = F.pad(block.norm1(x), (0, 0, 0, -width % window_width, 0, -height % window_height))
    x = x + block.drop_path1(block._attn(padded)[:, :height, :width])  # [F, h, w, C]
    return x + block.drop_path2(block.mlp(block.norm2(x)))


def _swin(name: str) -> Callable[[bool], Backbone]:
    def build(pretrained: bool) -> Backbone:
        stages = SwinStages(name, pretrained=pretrained)
        return Backbone(stages, stages.channels, parts=[stages.patch_embed, *stages.stages])

    return build


BACKBONES = {
    "swin_tiny": BackboneChoice(_swin("swin_tiny_patch4_window7_224.ms_in1k"), "ImageNet, by timm"),
    "swin_base": BackboneChoice(_swin("swin_base_patch4_window12_384.ms_in22k"), "ImageNet-22k, by timm"),
    "swin_large": BackboneChoice(_swin("swin_large_patch4_window12_384.ms_in22k"), "ImageNet-22k, by timm"),
}
