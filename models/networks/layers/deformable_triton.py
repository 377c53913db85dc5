"""Deformable sampling on CUDA: one Triton kernel forward, one backward.

A program takes a block of bags, a bag being a query of a head, and goes through its points one by one, so
nothing but inputs and result is in memory. Sums are in fp32 (fp64 for fp64) whatever the type of the value.
The gradient of the value is added up with atomics, in no fixed order: like `grid_sample`'s on CUDA, its last
bits differ from run to run.

Letters: B frames, S cells of all levels, N queries, H heads, L levels, P points, D channels of a head.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# (the kernels are Triton's language, which has no types)

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from models.networks.layers.deformable_cpu import empty_like, give_gradients

ELEMENTS = 1024  # bags * channels of a program, eight for each thread of four warps


@triton.jit
def _bags(bags, queries, heads, cells, block: tl.constexpr):
    """The program's bags, which of them exist, and the table row of cell 0 of each."""
    bag = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    return bag, bag < bags, bag // (queries * heads) * cells * heads + bag % heads


@triton.jit
def _point(positions, weights, point, real, height, width):
    """Weight, upper left cell and the way from there to the point in cells."""
    weight = tl.load(weights + point, mask=real, other=0.0)
    x = tl.load(positions + 2 * point, mask=real, other=0.0)
    y = tl.load(positions + 2 * point + 1, mask=real, other=0.0)
    # far outside is as good as outside, and fits an integer
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    column, row = tl.floor(x), tl.floor(y)
    return weight, column.to(tl.int32), row.to(tl.int32), x - column, y - row


@triton.jit
def _cell(first, column, row, height, width, heads, real, depth: tl.constexpr, block_depth: tl.constexpr):
    """Places of a cell's channels in the table, and which of them exist: [bags, channels]."""
    channel = tl.arange(0, block_depth)
    inside = real & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    places = (first + (row * width + column) * heads) * depth
    return places[:, None] + channel[None, :], inside[:, None] & (channel < depth)[None, :]


@triton.jit
def _forward(
    value,  # [B, S, H, D]
    positions,  # [B, N, H, L, P, 2]
    weights,  # [B, N, H, L, P]
    result,  # [B, N, H, D]
    bags,
    queries,
    heads,
    cells,
    sizes,  # height, width, height, width, ...
    levels: tl.constexpr,
    points: tl.constexpr,
    depth: tl.constexpr,
    block: tl.constexpr,
    block_depth: tl.constexpr,
):
    bag, real, first = _bags(bags, queries, heads, cells, block)
    total = tl.zeros([block, block_depth], positions.dtype.element_ty)
    for level in tl.static_range(levels):
        height = sizes[2 * level]
        width = sizes[2 * level + 1]
        for p in range(points):
            point = (bag * levels + level) * points + p
            weight, column, row, right, down = _point(positions, weights, point, real, height, width)
            for corner in tl.static_range(4):
                over = corner % 2
                under = corner // 2
                places, inside = _cell(
                    first, column + over, row + under, height, width, heads, real, depth, block_depth
                )
                share = (right if over else 1 - right) * (down if under else 1 - down)
                cell = tl.load(value + places, mask=inside, other=0.0).to(total.dtype)
                total += (weight * share)[:, None] * cell
        first += height * width * heads
    channel = tl.arange(0, block_depth)
    tl.store(
        result + bag[:, None] * depth + channel[None, :],
        total.to(result.dtype.element_ty),
        mask=real[:, None] & (channel < depth)[None, :],
    )


@triton.jit
def _backward(
    gradient,  # [B, N, H, D]
    value,
    positions,
    weights,
    of_value,  # [B, S, H, D], zeros
    of_positions,
    of_weights,
    bags,
    queries,
    heads,
    cells,
    sizes,
    levels: tl.constexpr,
    points: tl.constexpr,
    depth: tl.constexpr,
    block: tl.constexpr,
    block_depth: tl.constexpr,
):
    bag, real, first = _bags(bags, queries, heads, cells, block)
    channel = tl.arange(0, block_depth)
    given = tl.load(
        gradient + bag[:, None] * depth + channel[None, :],
        mask=real[:, None] & (channel < depth)[None, :],
        other=0.0,
    ).to(positions.dtype.element_ty)
    for level in tl.static_range(levels):
        height = sizes[2 * level]
        width = sizes[2 * level + 1]
        for p in range(points):
            point = (bag * levels + level) * points + p
            weight, column, row, right, down = _point(positions, weights, point, real, height, width)
            of_weight = tl.zeros([block], given.dtype)
            of_x = tl.zeros([block], given.dtype)
            of_y = tl.zeros([block], given.dtype)
            for corner in tl.static_range(4):
                over = corner % 2
                under = corner // 2
                places, inside = _cell(
                    first, column + over, row + under, height, width, heads, real, depth, block_depth
                )
                along = right if over else 1 - right
                across = down if under else 1 - down
                cell = tl.load(value + places, mask=inside, other=0.0).to(given.dtype)
                product = tl.sum(cell * given, axis=1)
                of_weight += along * across * product
                of_x += across * (product if over else -product)
                of_y += along * (product if under else -product)
                share = (weight * along * across)[:, None] * given
                tl.atomic_add(of_value + places, share, mask=inside, sem="relaxed")
            tl.store(of_weights + point, of_weight, mask=real)
            tl.store(of_positions + 2 * point, weight * of_x, mask=real)
            tl.store(of_positions + 2 * point + 1, weight * of_y, mask=real)
        first += height * width * heads


def _launch(kernel: Any, tensors: list[Tensor], value: Tensor, weights: Tensor, sizes: Sequence[int]) -> None:
    _, cells, heads, depth = value.shape
    frames, queries, _, levels, points = weights.shape
    bags = frames * queries * heads
    block_depth = triton.next_power_of_2(depth)
    block = max(1, ELEMENTS // block_depth)
    if bags:
        kernel[(triton.cdiv(bags, block),)](
            *tensors,
            bags,
            queries,
            heads,
            cells,
            tuple(sizes),
            levels=levels,
            points=points,
            depth=depth,
            block=block,
            block_depth=block_depth,
        )


@torch.library.custom_op("avis::sample_triton", mutates_args=())
def sample_triton(value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """As `deformable_attention.sample_levels`, with sizes flat: height, width, height, width, ...

    value fp32, bf16 or fp16 with positions and weights fp32; or all fp64. The result is of the value's type.
    """
    value, positions, weights = value.contiguous(), positions.contiguous(), weights.contiguous()
    result = value.new_empty(*positions.shape[:2], value.shape[2] * value.shape[3])
    _launch(_forward, [value, positions, weights, result], value, weights, sizes)
    return result


@torch.library.custom_op("avis::sample_triton_backward", mutates_args=())
def sample_triton_backward(
    gradient: Tensor, value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, positions and weights for that of the result, [B, N, H * D]."""
    inputs = [x.contiguous() for x in (gradient, value, positions, weights)]
    of_value = torch.zeros(value.shape, dtype=positions.dtype, device=value.device)
    of_positions, of_weights = empty_like(positions), empty_like(weights)
    _launch(_backward, [*inputs, of_value, of_positions, of_weights], value, weights, sizes)
    return of_value.to(value.dtype), of_positions, of_weights


give_gradients(sample_triton, sample_triton_backward)
