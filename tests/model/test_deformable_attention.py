"""Deformable attention against the formula of Deformable DETR (eq. 3), written as loops."""

import math

import torch
from torch import Tensor

from models.deformable_attention import DeformableAttention, sample_levels

SIZES = [(2, 3), (4, 5)]
CELLS = sum(height * width for height, width in SIZES)


def bilinear(plane: Tensor, x: float, y: float) -> Tensor:
    """Value of plane [h, w, D] at (x, y) in cells, centres at half numbers, zero outside."""
    height, width, depth = plane.shape
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    total = torch.zeros(depth, dtype=plane.dtype)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
                total += share * plane[row, column]
    return total


def by_loops(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads, levels, points = weights.shape
    result = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    for b in range(batch):
        for head in range(heads):
            start = 0
            for level in range(levels):
                height, width = SIZES[level]
                plane = value[b, start : start + height * width, head].view(height, width, -1)
                start += height * width
                for q in range(queries):
                    for p in range(points):
                        x, y = locations[b, q, head, level, p].tolist()
                        sample = bilinear(plane, x * width, y * height)
                        result[b, q, head] += weights[b, q, head, level, p] * sample
    return result.flatten(2)


def random_input() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    value = torch.randn(2, CELLS, 2, 3, dtype=torch.double)
    locations = torch.rand(2, 4, 2, len(SIZES), 3, 2, dtype=torch.double) * 1.4 - 0.2  # some outside
    weights = torch.randn(2, 4, 2, len(SIZES) * 3, dtype=torch.double).softmax(-1).unflatten(-1, (-1, 3))
    return value, locations, weights


def test_samples_follow_the_formula() -> None:
    value, locations, weights = random_input()
    torch.testing.assert_close(
        sample_levels(value, SIZES, locations, weights), by_loops(value, locations, weights)
    )


def test_gradients_are_those_of_the_formula() -> None:
    value, locations, weights = random_input()
    inputs = [x[:1].requires_grad_() for x in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, at, w: sample_levels(v, SIZES, at, w), inputs)


def test_module_looks_around_each_querys_place() -> None:
    torch.manual_seed(1)
    module = DeformableAttention(channels=8, heads=2, levels=len(SIZES), points=3)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    query, source = torch.randn(2, CELLS, 8), torch.randn(2, CELLS, 8)
    reference = torch.rand(CELLS, 2)
    value = module.value_proj(source).unflatten(-1, (2, 4))
    offsets = module.sampling_offsets(query).view(2, CELLS, 2, len(SIZES), 3, 2)
    weights = module.attention_weights(query).view(2, CELLS, 2, -1).softmax(-1).unflatten(-1, (-1, 3))
    cells = torch.tensor([(width, height) for height, width in SIZES])
    locations = reference[:, None, None, None] + offsets / cells[:, None]  # offsets count cells
    expected = module.output_proj(by_loops(value, locations, weights))
    torch.testing.assert_close(module(query, reference, source, SIZES), expected, atol=1e-5, rtol=1e-4)
