"""Deformable sampling on the processor: every (query, head) is a weighted bag of table rows.

`embedding_bag` sums the rows without ever forming the samples, which are levels * points times as large as
the result. It goes frame by frame, so that what is in between stays in the cache, and the backward pass
computes the corners again rather than keeping them. Sums are formed in the same order whatever the number of
threads.

Letters: B frames, S cells of all levels, N queries, H heads, L levels, P points, D channels of a head.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Of the only product in torch that is formed at chosen places alone; the tests hold what is used of it.
warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled")  # torch 2.11


class _Axis(NamedTuple):
    """The two cells around each point along x or y, each [N, H, L * P]."""

    low: Tensor  # int32: the cell before the point, or the level's first or next to last cell
    away: Tensor  # the point from there, in cells: 0..1 inside the level
    near: Tensor  # share of the low cell
    far: Tensor  # share of the one after it


class _Levels:
    """Constants of the levels for each point of a head."""

    def __init__(self, sizes: Sequence[int], heads: int, points: int) -> None:
        self.sizes = list(zip(sizes[::2], sizes[1::2], strict=True))
        self.heads = heads
        # width and height at each point: [2, L * P]
        self.extent = torch.tensor([sizes[1::2], sizes[::2]], dtype=torch.int32).repeat_interleave(points, 1)
        self.last = (self.extent - 2).clamp(min=0)  # [2, L * P]: greatest low cell along x, y
        self.one_cell = self.extent == 1  # [2, L * P]: no cell is after the low one
        area = torch.tensor([0, *(height * width for height, width in self.sizes)], dtype=torch.int32)
        first = area.cumsum(0, dtype=torch.int32)[:-1].repeat_interleave(points)
        head = torch.arange(heads, dtype=torch.int32)
        self.first = first * heads + head[:, None]  # [H, L * P]: row of the level's first cell
        # rows from a cell to the one right of it, and to the one below it, if there is one: [L * P]
        self.right = torch.where(self.one_cell[0], 0, heads).to(torch.int32)
        self.below = torch.where(self.one_cell[1], 0, self.extent[0] * heads).to(torch.int32)

    def axis(self, positions: Tensor, which: int) -> _Axis:
        """Along x (0) or y (1) of positions [N, H, L, P, 2]."""
        place = positions[..., which].flatten(2)
        # Both cells are inside, wherever the point is: their hat functions are the shares. Clamped as
        # integers, so that no NaN becomes an index.
        low = torch.clamp(place.to(torch.int32), torch.zeros_like(self.last[which]), self.last[which])
        away = place - low
        near = (1 - away.abs()).clamp_(min=0)
        far = (1 - (away - 1).abs_()).clamp_(min=0).masked_fill_(self.one_cell[which], 0)
        return _Axis(low, away, near, far)

    def slopes(self, axis: _Axis, which: int) -> tuple[Tensor, Tensor]:
        """Derivatives of near and far by the point's place; to the right at kinks, as with `floor`."""
        far = _hat_slope(axis.away - 1).masked_fill_(self.one_cell[which], 0)
        return _hat_slope(axis.away), far

    def row(self, x: _Axis, y: _Axis) -> Tensor:
        """Table row of the upper left cell: [N, H, L * P]."""
        return (y.low * self.extent[0] + x.low) * self.heads + self.first

    def rows(self, x: _Axis, y: _Axis) -> Tensor:
        """Table rows of the four cells: [N * H, 4 * L * P]."""
        row = self.row(x, y)
        four = (row, row + self.right, row + self.below, row + (self.right + self.below))
        return torch.stack(four, 2).view(-1, 4 * row.shape[2])


def _hat_slope(away: Tensor) -> Tensor:
    rising, falling = (away >= -1) & (away < 0), (away >= 0) & (away < 1)
    return rising.to(away.dtype) - falling.to(away.dtype)


def _shares(x: _Axis, y: _Axis, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight of each of the four cells, in the order of `rows`; each [N, H, L * P]."""
    upper, lower = y.near * weights, y.far * weights
    return x.near * upper, x.far * upper, x.near * lower, x.far * lower


def compute_bags(value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]) -> Tensor:
    """As `deformable_attention.sample_levels`, with sizes flat: height, width, height, width, ...

    All tensors fp32, or all fp64.
    """
    frames, _, heads, depth = value.shape
    queries, _, _, points, _ = positions.shape[1:]
    levels = _Levels(sizes, heads, points)
    result = value.new_empty(frames, queries * heads, depth)
    for frame in range(frames):
        x, y = levels.axis(positions[frame], 0), levels.axis(positions[frame], 1)
        shares = torch.stack(_shares(x, y, weights[frame].flatten(2)), 2)
        result[frame] = F.embedding_bag(
            levels.rows(x, y),
            value[frame].flatten(0, 1),
            mode="sum",
            per_sample_weights=shares.view(queries * heads, -1),
        )
    return result.view(frames, queries, heads * depth)


sample_bags = torch.library.custom_op("avis::sample_bags", compute_bags, mutates_args=(), device_types="cpu")


@torch.library.custom_op("avis::sample_bags_backward", mutates_args=(), device_types="cpu")
def sample_bags_backward(
    gradient: Tensor, value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, positions and weights for that of the result, [B, N, H * D]."""
    frames, _, heads, depth = value.shape
    queries, _, _, points, _ = positions.shape[1:]
    levels = _Levels(sizes, heads, points)
    of_value, of_positions, of_weights = map(empty_like, (value, positions, weights))
    for frame in range(frames):
        bags = gradient[frame].reshape(queries * heads, depth)
        weight = weights[frame].flatten(2)
        x, y = levels.axis(positions[frame], 0), levels.axis(positions[frame], 1)
        of_value[frame] = _to_cells(bags, x, y, weight, levels)
        # what more of each of the four cells is worth, each [N, H, L * P]
        products = _products(bags, value[frame].flatten(0, 1), levels.rows(x, y))
        upper_left, upper_right, lower_left, lower_right = products.view(queries, heads, 4, -1).unbind(2)
        left = y.near * upper_left + y.far * lower_left
        right = y.near * upper_right + y.far * lower_right
        upper = x.near * upper_left + x.far * upper_right
        lower = x.near * lower_left + x.far * lower_right
        of_weights[frame] = (x.near * left + x.far * right).view(weights.shape[1:])
        for which, axis, (before, after) in ((0, x, (left, right)), (1, y, (upper, lower))):
            near, far = levels.slopes(axis, which)
            slope = (near * before + far * after) * weight
            of_positions[frame, ..., which] = slope.view(weights.shape[1:])
    return of_value, of_positions, of_weights


def _products(bags: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Inner product of each bag with each of its table rows: [N * H, 4 * L * P]."""
    # on tiny levels; a sparse matrix refuses more entries than a full one has
    table = F.pad(table, (0, 0, 0, max(0, rows.shape[1] - len(table))))
    bounds = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32)
    places = torch.sparse_csr_tensor(
        bounds,
        rows.view(-1),
        bags.new_zeros(rows.numel()),
        size=(len(bags), len(table)),
        check_invariants=False,  # rows of a bag are in no order, and may come twice
    )
    return torch.sparse.sampled_addmm(places, bags, table.T, beta=0.0).values()


def _to_cells(bags: Tensor, x: _Axis, y: _Axis, weight: Tensor, levels: _Levels) -> Tensor:
    """What flows from the bags [N * H, D] to the cells: [S, H, D].

    Gathered, not scattered: sorted by upper left cell, the points of a cell are a bag of queries. What
    belongs to the other three cells of a point is gathered there too, then moved right and down.
    """
    cells = sum(height * width for height, width in levels.sizes)
    row, order = levels.row(x, y).flatten().sort(stable=True)
    count = torch.bincount(row, minlength=cells * levels.heads)
    start = count.cumsum(0) - count
    query = order // weight.shape[2]

    def gathered(share: Tensor) -> Tensor:
        ordered = share.view(-1).take(order)
        total = F.embedding_bag(query, bags, start, mode="sum", per_sample_weights=ordered)
        return total.view(cells, levels.heads, -1)

    upper_left, upper_right, lower_left, lower_right = map(gathered, _shares(x, y, weight))
    upper_left[1:] += upper_right[:-1]
    lower_left[1:] += lower_right[:-1]
    end = 0
    for height, width in levels.sizes:
        first, end = end, end + height * width
        upper_left[first + width : end] += lower_left[first : end - width]
    return upper_left


def empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def give_gradients(sample: Any, backward: Any) -> None:
    """Tell torch that `backward` computes the gradients of `sample`, and what both look like without data.

    Both are operators of torch.library.
    """

    @sample.register_fake  # type: ignore[untyped-decorator]
    def _result_like(value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]) -> Tensor:
        return value.new_empty(*positions.shape[:2], value.shape[2] * value.shape[3])

    @backward.register_fake  # type: ignore[untyped-decorator]
    def _gradients_like(
        gradient: Tensor, value: Tensor, positions: Tensor, weights: Tensor, sizes: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        return empty_like(value), empty_like(positions), empty_like(weights)

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.sizes = inputs
        ctx.save_for_backward(*tensors)

    def gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *backward(gradient, *ctx.saved_tensors, ctx.sizes), None

    sample.register_autograd(gradients, setup_context=keep)


give_gradients(sample_bags, sample_bags_backward)
