"""Multi-scale deformable attention (Deformable DETR, eq. 3).

Sampling has three implementations of the same formula and gradients: bags of table rows on the processor, a
Triton kernel on CUDA, `grid_sample` on everything else and where Triton does not work.

Letters: B batch, S cells of all levels, h w size of one, N queries, H heads, L levels, P points, D channels
of a head, C all.
"""

import functools
import logging
import math
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.layers.deformable_cpu import compute_bags, sample_bags

logger = logging.getLogger(__name__)


def sample_levels(value: Tensor, sizes: list[tuple[int, int]], positions: Tensor, weights: Tensor) -> Tensor:
    """Weighted bilinear samples of a feature pyramid, zero outside, by the fastest way there is.

    Args:
        value: [B, S, H, D], of any floating type.
        sizes: (height, width) of each level; S is the sum of height * width.
        positions: [B, N, H, L, P, 2] as (x, y) in cells of the level, (0, 0) being the first cell's centre.
            fp32, as in bf16 they would jump by tenths of a cell; fp64 if the value is.
        weights: [B, N, H, L, P], of the positions' type.

    Returns:
        [B, N, C], of the positions' type, or of the value's on CUDA.

    Raises:
        ValueError: the levels do not have as many cells as the value.
    """
    if sum(height * width for height, width in sizes) != value.shape[1]:
        raise ValueError(f"value has {value.shape[1]} cells, its levels of (height, width) {sizes} do not")
    sampler = _SAMPLERS[fastest(value.device.type, value.dtype, value.shape[3])]
    return sampler(value, sizes, positions, weights)


def sample_grids(value: Tensor, sizes: list[tuple[int, int]], positions: Tensor, weights: Tensor) -> Tensor:
    """`sample_levels` through `grid_sample`, level by level; for every device and fp32 or fp64."""
    batch, _, heads, depth = value.shape
    queries = positions.shape[1]
    levels = value.to(positions.dtype).split([height * width for height, width in sizes], dim=1)
    sampled = []
    for index, (height, width) in enumerate(sizes):
        # [B * H, D, h, w]
        plane = levels[index].permute(0, 2, 3, 1).reshape(batch * heads, depth, height, width)
        x, y = positions[:, :, :, index].unbind(-1)  # [B, N, H, P], [B, N, H, P]
        grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), -1)
        grid = grid.transpose(1, 2).flatten(0, 1)  # [B * H, N, P, 2]
        sampled.append(F.grid_sample(plane, grid, align_corners=False))  # [B * H, D, N, P]
    stacked = torch.cat(sampled, dim=-1)  # [B * H, D, N, L * P]
    scale = weights.flatten(-2).transpose(1, 2).reshape(batch * heads, 1, queries, -1)  # [B * H, 1, N, L * P]
    return (stacked * scale).sum(-1).view(batch, heads * depth, queries).transpose(1, 2)  # [B, N, C]


def _sample_on_processor(
    value: Tensor, sizes: list[tuple[int, int]], positions: Tensor, weights: Tensor
) -> Tensor:
    table = value.to(positions.dtype)  # in bf16 it is no faster, and would need shares in bf16
    flat = [side for size in sizes for side in size]
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return sample_bags(table, positions, weights, flat)
    # the operator has gradients and goes through the compiler, which its first call loads, for seconds
    return compute_bags(table, positions, weights, flat)


def _sample_by_triton(
    value: Tensor, sizes: list[tuple[int, int]], positions: Tensor, weights: Tensor
) -> Tensor:
    from models.networks.layers.deformable_triton import sample_triton

    return sample_triton(value, positions, weights, [side for size in sizes for side in size])


_SAMPLERS: dict[str, Callable[[Tensor, list[tuple[int, int]], Tensor, Tensor], Tensor]] = {
    "bags": _sample_on_processor,
    "triton": _sample_by_triton,
    "grids": sample_grids,
}


def fastest(device: str, dtype: torch.dtype, depth: int) -> str:
    """Which of `bags`, `triton` and `grids` samples values of this kind: the fastest that works."""
    if device == "cpu":
        return "bags"
    if device == "cuda" and triton_works(device, dtype, depth):
        return "triton"
    return "grids"


# As torch.compiler.assume_constant_result does, which would load the compiler (2 s) for everybody.
fastest._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def triton_works(device: str, dtype: torch.dtype, depth: int) -> bool:
    """Try the kernels once on a value of this kind; what goes wrong is logged once."""
    try:
        from models.networks.layers.deformable_triton import sample_triton, sample_triton_backward

        value = torch.ones(1, 4, 1, depth, dtype=dtype, device=device)
        precise = torch.float64 if dtype == torch.float64 else torch.float32
        positions = torch.full((1, 1, 1, 1, 1, 2), 0.5, dtype=precise, device=device)
        weights = torch.ones(1, 1, 1, 1, 1, dtype=precise, device=device)
        result = sample_triton(value, positions, weights, [2, 2])
        of_value, _, _ = sample_triton_backward(result, value, positions, weights, [2, 2])
        if not (torch.equal(result, torch.ones_like(result)) and torch.equal(4 * of_value, value)):
            raise RuntimeError("the kernels compute something else than the formula")
    except Exception as error:  # a compiler, a driver, a package: whatever it is, there is another way
        _log_fallback(f"{type(error).__name__}: {error}")
        return False
    return True


@functools.cache
def _log_fallback(reason: str) -> None:
    logger.warning("Triton does not work here; deformable attention uses grid_sample instead (%s)", reason)


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
        # as published: heads start looking in as many directions, points at growing distance
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
        shape = (*query.shape[:2], self.heads, self.levels, self.points)
        value = self.value_proj(source).unflatten(-1, (self.heads, -1))  # [B, N, H, D]
        kind = query.device.type
        # meta tensors (shapes only) know no autocast
        with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
            # rounded to bf16, points cross to other cells, and a fifth of their gradient is noise
            offsets = self.sampling_offsets(query.float())  # [B, N, H * L * P * 2]
        x, y = reference.float().unbind(-1)
        centres = torch.stack([torch.stack((x * w - 0.5, y * h - 0.5), -1) for h, w in sizes], 1)  # [N, L, 2]
        # repeated for each point first: over runs of two numbers, torch adds ten times as slowly
        centres = centres.repeat_interleave(self.points, 1).flatten(1)  # [N, L * P * 2]
        positions = centres[:, None] + offsets.unflatten(-1, (self.heads, -1))  # [B, N, H, L * P * 2]
        # [B, N, H, L * P], one softmax over the points of all levels
        weights = _softmax(self.attention_weights(query).float().unflatten(-1, (self.heads, -1)))
        sampled = sample_levels(value, sizes, positions.view(*shape, 2), weights.view(shape))
        return self.output_proj(sampled)  # [B, N, C]


def _softmax(logits: Tensor) -> Tensor:
    """Over the last dimension. On the processor torch's own is five times as slow over so few numbers."""
    shares = (logits - logits.detach().amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True)
