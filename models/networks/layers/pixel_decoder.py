"""Pixel decoder of Mask2Former: deformable encoder over strides 8-32, one FPN step to stride 4.

Letters: F frames (batch and time together), C channels, h w size of a map, S cells of all three scales.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.layers.deformable_attention import DeformableAttention
from models.networks.layers.transformer import feed_forward, sine_position


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, post-norm."""

    def __init__(self, *, channels: int, heads: int, levels: int, points: int, hidden: int) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels=channels, heads=heads, levels=levels, points=points)
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
        x = self.norm1(x + self.attention(x + position, reference, x, sizes))  # [F, S, C]
        return self.norm2(x + feed_forward(x, self.linear1, self.linear2))  # [F, S, C]


class PixelDecoder(nn.Module):
    """Backbone features -> stride-4 features and three scales for the decoder, coarsest first.

    Mask features are a 1x1 convolution of the stride-4 features: the frame decoder's is `mask_features`
    here, the video module has one of its own.
    """

    def __init__(
        self, *, in_channels: list[int], channels: int, heads: int, points: int, layers: int, hidden: int
    ) -> None:
        super().__init__()
        groups = 32 if channels % 32 == 0 else 8  # 32 as published; 8 for models smaller than that
        coarse_first = in_channels[:0:-1]  # res5, res4, res3
        self.input_proj = nn.ModuleList(
            nn.Sequential(_xavier(nn.Conv2d(width, channels, 1)), nn.GroupNorm(groups, channels))
            for width in coarse_first
        )
        self.level_embed = nn.Parameter(torch.randn(len(coarse_first), channels))
        self.layers = nn.ModuleList(
            EncoderLayer(
                channels=channels, heads=heads, levels=len(coarse_first), points=points, hidden=hidden
            )
            for _ in range(layers)
        )
        self.lateral = nn.Sequential(
            nn.Conv2d(in_channels[0], channels, 1, bias=False), nn.GroupNorm(groups, channels)
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.GroupNorm(groups, channels)
        )
        self.mask_features = nn.Conv2d(channels, channels, 1)

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """features res2..res5, each [F, width, h, w] -> stride-4 features [F, C, h, w], three scales."""
        return self.decode(self.project(features), features[0])

    def project(self, features: list[Tensor]) -> list[Tensor]:
        """features res2..res5 -> res5, res4, res3, each [F, C, h, w]."""
        return [project(x) for project, x in zip(self.input_proj, features[:0:-1], strict=True)]

    def decode(self, planes: list[Tensor], res2: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What `project` gave, and res2 [F, width, h, w] -> as `forward`."""
        sizes = [(int(plane.shape[2]), int(plane.shape[3])) for plane in planes]
        device = planes[0].device
        tokens = torch.cat([plane.flatten(2).transpose(1, 2) for plane in planes], dim=1)  # [F, S, C]
        channels = tokens.shape[-1]
        position = torch.cat(
            [
                sine_position(height, width, channels, device=device).flatten(1).T + self.level_embed[level]
                for level, (height, width) in enumerate(sizes)
            ]
        )[None]  # [1, S, C]
        reference = torch.cat([_cell_centres(height, width, device) for height, width in sizes])  # [S, 2]
        for layer in self.layers:
            tokens = layer(tokens, position, reference, sizes)  # [F, S, C]
        scales = [  # each [F, C, h, w]
            part.transpose(1, 2).unflatten(2, size)
            for part, size in zip(tokens.split([h * w for h, w in sizes], dim=1), sizes, strict=True)
        ]
        lateral = self.lateral(res2)  # [F, C, h, w]
        fine = F.interpolate(scales[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        stride4 = F.relu(self.smooth(lateral + fine), inplace=True)  # [F, C, h, w]
        return stride4, scales


def resize_to_scales(mask_features: Tensor, scales: list[Tensor]) -> list[Tensor]:
    """Mask features [F, C, h, w] at the size of each scale.

    Resizing is linear, so features may be resized before they are multiplied with embeddings: the same mask
    logits as from full-size masks, at a fraction of the cost.
    """
    return [
        F.interpolate(mask_features, size=x.shape[-2:], mode="bilinear", align_corners=False) for x in scales
    ]


def _xavier(convolution: nn.Conv2d) -> nn.Conv2d:
    """Xavier weights, no bias at the start."""
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y) of every cell's centre in 0..1, row by row: [height * width, 2]."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows), -1).flatten(0, 1)
