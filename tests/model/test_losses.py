"""Matching against brute force; losses on perfect, empty and crowded clips."""

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.avism import AvismOutput
from models.frame_decoder import FrameOutput
from models.losses import ClipTargets, LossWeights, avism_losses, match
from models.video_module import VideoOutput
from tests.tiny_model import tiny_model

WEIGHTS = LossWeights(points=256)
SIDE = 32


def boxes(*places: tuple[int, int, int, int], frames: int = 2) -> Tensor:
    """Masks [N, T, SIDE, SIDE] of boxes (top, bottom, left, right), the same in all frames."""
    masks = torch.zeros(len(places), frames, SIDE, SIDE, dtype=torch.bool)
    for n, (top, bottom, left, right) in enumerate(places):
        masks[n, :, top:bottom, left:right] = True
    return masks


def cost_of(
    logits: Tensor, embeds: Tensor, features: Tensor, target: ClipTargets, weights: LossWeights, place: Tensor
) -> Tensor:
    """Cost [Q, N] from whole masks, sampled afterwards."""
    masks = torch.einsum("qc,tchw->qthw", embeds, features)
    grid = 2 * place.expand(masks.shape[0], -1, -1)[:, :, None] - 1
    predicted = F.grid_sample(masks, grid, align_corners=False)[..., 0].flatten(1)
    truth = F.grid_sample(
        target.masks.float(), grid[:1].expand(len(target.labels), -1, -1, -1), align_corners=False
    )[..., 0].flatten(1)
    cost = torch.zeros(len(predicted), len(truth))
    for q, p in enumerate(predicted):
        for n, t in enumerate(truth):
            chance = p.sigmoid()
            dice = 1 - (2 * (chance * t).sum() + 1) / (chance.sum() + t.sum() + 1)
            cost[q, n] = (
                -weights.classification * logits[q].softmax(-1)[target.labels[n]]
                + weights.mask * F.binary_cross_entropy_with_logits(p, t)
                + weights.dice * dice
            )
    return cost


@pytest.mark.parametrize(("queries", "instances"), [(3, 1), (4, 3), (2, 3)])
def test_matching_is_the_cheapest_of_all(queries: int, instances: int) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        logits, embeds = torch.randn(1, queries, 5), torch.randn(1, queries, 6)
        features = torch.randn(1, 2, 6, 8, 8)
        target = ClipTargets(torch.randint(0, 4, (instances,)), torch.rand(instances, 2, SIDE, SIDE) > 0.6)
        torch.manual_seed(100 + seed)
        place = torch.rand(1, WEIGHTS.points // 2, 2)
        torch.manual_seed(100 + seed)
        ((rows, columns),) = match(logits, embeds, features, [target], WEIGHTS)
        cost = cost_of(logits[0], embeds[0], features[0], target, WEIGHTS, place)
        small, large = sorted((queries, instances))
        table = cost if queries <= instances else cost.T  # [small, large]
        cheapest = min(sum(table[i, j] for i, j in enumerate(p)) for p in permutations(range(large), small))
        assert len(rows) == small
        torch.testing.assert_close(cost[rows, columns].sum(), cheapest, atol=1e-3, rtol=1e-4)


def perfect_output(target: ClipTargets, queries: int, categories: int) -> AvismOutput:
    """What a model would give that knows the answer; query n is instance n, the others see nothing."""
    count, frames = target.masks.shape[:2]
    signs = torch.where(target.masks, 20.0, -20.0).transpose(0, 1)  # [T, N, H, W]
    features = torch.cat((signs, torch.ones(frames, queries - count, SIDE, SIDE)), 1)  # one channel a query
    embeds = torch.eye(queries)
    embeds[count:] = 0
    embeds[count:, count:] = -20
    logits = torch.full((queries, categories + 1), -10.0)
    logits[count:, -1] = 10
    logits[range(count), target.labels] = 10
    shown = target.masks.flatten(2).any(2)  # [N, T]
    per_frame = logits.expand(frames, -1, -1).clone()
    for n in range(count):
        per_frame[~shown[n], n] = torch.eye(categories + 1)[-1] * 20 - 10
    # queries of one identity point the same way
    alike = torch.eye(queries) * 20
    frame_alike = alike.expand(1, frames, -1, -1).clone()
    frame_alike[0, :, :count] *= torch.where(shown, 1.0, 0.0).T[..., None]
    frame_alike -= 5
    presence = torch.full((1, queries, frames), -10.0)
    presence[0, :count][shown] = 10
    return AvismOutput(
        FrameOutput([torch.zeros(frames, queries, queries)], [per_frame], [embeds.expand(frames, -1, -1)]),
        VideoOutput([logits[None]], [embeds[None]], [alike[None]], frame_alike, [presence]),
        features,
        features[None],
    )


@pytest.mark.parametrize("silent", [0, 1])
def test_a_perfect_answer_costs_almost_nothing(silent: int) -> None:
    masks = boxes((0, 16, 0, 16), (16, 32, 8, 32))
    masks[silent, 1] = False  # one of the two falls silent
    target = ClipTargets(torch.tensor([2, 0]), masks)
    output = perfect_output(target, queries=4, categories=3)
    torch.manual_seed(0)
    losses = avism_losses(output, [target], WEIGHTS)
    assert set(losses) == {
        *("frame_class", "frame_mask", "frame_dice", "video_class", "video_mask", "video_dice"),
        *("similarity", "presence"),
    }
    for name, value in losses.items():
        # masks are ambiguous in the pixels along their edges, where most of the points are
        assert value < (2.5 if name.endswith(("mask", "dice")) else 0.05), name
    wrong = ClipTargets(torch.tensor([1, 1]), masks.flip(2))
    for name, value in avism_losses(output, [wrong], WEIGHTS).items():
        assert value > losses[name], name


def test_a_wrong_class_mask_or_identity_each_costs() -> None:
    target = ClipTargets(torch.tensor([2, 0]), boxes((0, 16, 0, 16), (16, 32, 8, 32)))
    torch.manual_seed(0)
    good = avism_losses(perfect_output(target, 4, 3), [target], WEIGHTS)
    output = perfect_output(target, 4, 3)
    output.video.logits[0] = output.video.logits[0].roll(1, dims=2)
    output.video.similarity[0] = output.video.similarity[0].roll(1, dims=1)
    output.video.presence[0] = -output.video.presence[0]
    bad = avism_losses(output, [target], WEIGHTS)
    for name in ("video_class", "similarity", "presence"):
        assert bad[name] > good[name] + 1, name
    torch.testing.assert_close(bad["frame_class"], good["frame_class"])


def targets_of(kind: str, frames: int) -> list[ClipTargets]:
    none = ClipTargets(torch.zeros(0, dtype=torch.long), torch.zeros(0, frames, 64, 64, dtype=torch.bool))
    count = {"some": 2, "crowd": 7}.get(kind, 0)
    masks = torch.rand(count, frames, 64, 64) > 0.5
    if count:
        masks[0, 0] = False  # silent in the first frame
    some = ClipTargets(torch.arange(count) % 2, masks)
    return [none, none] if kind == "none" else [some, none]


@pytest.mark.parametrize("kind", ["some", "none", "crowd"])
def test_gradient_reaches_every_parameter(kind: str) -> None:
    """With instances, without any, and with more than there are queries."""
    model = tiny_model().train()
    attention = model.pixel_decoder.layers[0].attention
    for part in (attention.sampling_offsets, attention.attention_weights):
        torch.nn.init.normal_(part.weight, std=0.1)  # zero at the start, when no position has a say yet
    pictures = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    output = model(pictures, torch.randn(2, 3, 16_000) * 0.1)
    losses = avism_losses(output, targets_of(kind, 3), WEIGHTS)
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    total.backward()
    missing = [name for name, x in model.named_parameters() if x.requires_grad and x.grad is None]
    assert missing == []
    gradients = {name: x.grad for name, x in model.named_parameters() if x.grad is not None}
    assert all(x.isfinite().all() for x in gradients.values())
    if kind == "some":
        dead = [name for name, x in gradients.items() if not x.any()]
        assert dead == []


def test_one_frame_is_enough() -> None:
    model = tiny_model().train()
    pictures = torch.randint(0, 256, (1, 1, 3, 64, 64), dtype=torch.uint8)
    output = model(pictures, None)  # a step in which the model hears nothing
    losses = avism_losses(output, [ClipTargets(torch.tensor([1]), torch.rand(1, 1, 64, 64) > 0.5)], WEIGHTS)
    assert "tagging" not in losses
    assert torch.stack(list(losses.values())).sum().isfinite()
