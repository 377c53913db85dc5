"""Multi-scale deformable attention (Deformable DETR, eq. 3) in plain PyTorch.

Letters: B batch, N queries, H heads, L levels, P points, C channels.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sample_levels(value: Tensor, sizes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples of a feature pyramid.

    Args:
        value: [B, S, H, C/H] with S the sum of height * width over levels.
        sizes: (height, width) of each level.
        locations: [B, N, H, L, P, 2] as (x, y) in 0..1 of the level.
        weights: [B, N, H, L, P], summing to one over L * P.

    Returns:
        [B, N, C].
    """
    batch, _, heads, depth = value.shape
    queries = locations.shape[1]
    grids = 2 * locations - 1
    levels = value.split([height * width for height, width in sizes], dim=1)
    sampled = []
    for index, (height, width) in enumerate(sizes):
        # [B, S, H, D] -> [B * H, D, height, width]
        plane = levels[index].permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        grid = grids[:, :, :, index].transpose(1, 2).flatten(0, 1)  # [B * H, N, P, 2]
        sampled.append(F.grid_sample(plane, grid, align_corners=False))  # [B * H, D, N, P]
    stacked = torch.cat(sampled, dim=-1)  # [B * H, D, N, L * P]
    scale = weights.flatten(-2).transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    return (stacked * scale).sum(-1).view(batch, heads * depth, queries).transpose(1, 2)


class DeformableAttention(nn.Module):
    """Each query looks at a few learned points around its own place on every level."""

    def __init__(self, *, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self._reset()

    def _reset(self) -> None:
        # heads start looking in as many directions, points at growing distance
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().max(-1, keepdim=True).values
        distance = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = direction[:, None, None, :] * distance[None, None, :, None]
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self, query: Tensor, reference: Tensor, source: Tensor, sizes: list[tuple[int, int]]
    ) -> Tensor:
        """query, source [B, N, C]; reference [N, 2] (x, y in 0..1) -> [B, N, C]."""
        batch, length, _ = query.shape
        shape = (batch, length, self.heads, self.levels, self.points)
        value = self.value_proj(source).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).view(*shape, 2)
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        extent = torch.tensor([(w, h) for h, w in sizes], device=query.device, dtype=offsets.dtype)
        locations = reference[None, :, None, None, None, :] + offsets / extent[None, None, None, :, None, :]
        # places need full precision: in bf16 they would jump by tenths of a pixel
        sampled = sample_levels(value.float(), sizes, locations.float(), weights.float())
        return self.output_proj(sampled)
