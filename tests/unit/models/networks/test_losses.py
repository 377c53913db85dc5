"""Matching against brute force; losses on perfect, empty and crowded clips."""

from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.avism.avism import AvismOutput
from models.networks.avism.frame_decoder import FrameOutput
from models.networks.avism.video_module import VideoOutput
from models.networks.losses.criterion import Layers, LossWeights, counting_loss, match_all, similarity_loss
from models.networks.losses.points import Draws, sample, sample_shared
from models.networks.losses.targets import ClipTargets
from tests.support.tiny_model import tiny_model

WEIGHTS = LossWeights(points=256, similarity=0.5)
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
        place = torch.rand(1, WEIGHTS.points, 2)
        torch.manual_seed(100 + seed)
        level = Layers(logits[None], embeds[None], features, [target], [0])
        ((((rows, columns),),),) = match_all([level], Draws(None, logits.device), WEIGHTS)
        cost = cost_of(logits[0], embeds[0], features[0], target, WEIGHTS, place)
        small, large = sorted((queries, instances))
        table = cost if queries <= instances else cost.T  # [small, large]
        cheapest = min(sum(table[i, j] for i, j in enumerate(p)) for p in permutations(range(large), small))
        assert len(rows) == small
        torch.testing.assert_close(cost[rows, columns].sum(), cheapest, atol=1e-3, rtol=1e-4)


def avism_losses(output: AvismOutput, targets: list[ClipTargets]) -> dict[str, Tensor]:
    """The losses of a model in training whose output this is."""
    model = tiny_model(
        frame_queries=output.frame.logits[0].shape[1],
        video_queries=output.video.logits[0].shape[1],
        video_supervision=output.video.logits[0].shape[0] // len(targets),
    ).train()
    losses: dict[str, Tensor] = model.losses(output, targets, WEIGHTS)
    return losses


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
    losses = avism_losses(output, [target])
    assert set(losses) == {
        *("frame_class", "frame_mask", "frame_dice", "video_class", "video_mask", "video_dice"),
        *("similarity", "presence"),
    }
    for name, value in losses.items():
        # masks are ambiguous in the pixels along their edges, where most of the points are
        assert value < (2.5 if name.endswith(("mask", "dice")) else 0.05), name
    wrong = ClipTargets(torch.tensor([1, 1]), masks.flip(2))
    for name, value in avism_losses(output, [wrong]).items():
        assert value > losses[name], name


def test_a_wrong_class_mask_or_identity_each_costs() -> None:
    target = ClipTargets(torch.tensor([2, 0]), boxes((0, 16, 0, 16), (16, 32, 8, 32)))
    torch.manual_seed(0)
    good = avism_losses(perfect_output(target, 4, 3), [target])
    output = perfect_output(target, 4, 3)
    output.video.logits[0] = output.video.logits[0].roll(1, dims=2)
    output.video.similarity[0] = output.video.similarity[0].roll(1, dims=1)
    output.video.presence[0] = -output.video.presence[0]
    bad = avism_losses(output, [target])
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
    losses = avism_losses(output, targets_of(kind, 3))
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
    losses = avism_losses(output, [ClipTargets(torch.tensor([1]), torch.rand(1, 1, 64, 64) > 0.5)])
    assert "tagging" not in losses
    assert torch.stack(list(losses.values())).sum().isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shared_points_are_bilinear_samples(dtype: torch.dtype) -> None:
    planes = torch.randn(7, 5, 9).to(dtype)
    places = torch.cat((torch.rand(50, 2), torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0], [1.0, 0.3]])))
    expected = sample(planes.float()[None], places[None])[0]
    tolerance = 1e-5 if dtype is torch.float32 else 3e-2
    torch.testing.assert_close(
        sample_shared(planes, places).float(), expected, atol=tolerance, rtol=tolerance
    )


def test_similarity_is_the_cross_entropy_of_all_pairs_of_a_clip() -> None:
    """Against a loop over pairs; two passes over two clips, of which one instance is silent at first."""
    masks = boxes((0, 8, 0, 8), (8, 16, 8, 16))
    masks[1, 0] = False
    targets = [
        ClipTargets(torch.tensor([0, 1]), masks),
        ClipTargets(torch.tensor([1]), boxes((0, 8, 0, 8))),
    ]
    frame, video = torch.randn(4, 2, 3, 6), torch.randn(4, 3, 6)

    def pair(queries: list[int], instances: list[int]) -> tuple[Tensor, Tensor]:
        return torch.tensor(queries), torch.tensor(instances)

    # [passes][F]; in the first frame of the first clip only the first instance is there
    frames = [[pair([2], [0]), pair([0, 1], [1, 0]), pair([1], [0]), pair([0], [0])]] * 2
    clips = [pair([0, 2], [1, 0]), pair([1], [0])] * 2
    total, pairs = torch.zeros(()), 0
    for entry in range(4):
        clip = entry % 2
        known = [(video[entry, q], int(n)) for q, n in zip(*clips[entry], strict=True)]
        for moment in range(2):
            there = targets[clip].present[:, moment].nonzero()[:, 0]
            found = frames[entry // 2][2 * clip + moment]
            known += [(frame[entry, moment, q], int(there[n])) for q, n in zip(*found, strict=True)]
        for a, who in known:
            for b, other in known:
                total = total + F.binary_cross_entropy_with_logits(a @ b, torch.tensor(float(who == other)))
                pairs += 1
    torch.testing.assert_close(similarity_loss(frame, video, frames, clips, targets), total)
    model = tiny_model(video_supervision=2, frame_queries=3, video_queries=3).train()
    assert model.counts(targets, WEIGHTS).pairs == pairs


def test_counting_is_ordinal() -> None:
    """Frames with 0, 1 and 3 sources: the second logit is asked only where there is a source."""
    masks = torch.zeros(3, 3, 8, 8, dtype=torch.bool)
    masks[0, 1] = masks[:, 2] = True
    target = ClipTargets(torch.tensor([0, 0, 1]), masks)
    logits = torch.randn(3, 2)
    chance = logits.sigmoid()
    expected = -((1 - chance[0, 0]) * chance[1, 0] * chance[2, 0] * (1 - chance[1, 1]) * chance[2, 1]).log()
    torch.testing.assert_close(counting_loss(logits, [target]), expected)
    assert tiny_model(count_token=True).counts([target], WEIGHTS).ordinals == 5
    further = torch.randn(3, 4)  # up to four sources: three frames, two with at least one, one with 2 and 3
    assert tiny_model(count_token=True, count_most=4).counts([target], WEIGHTS).ordinals == 7
    chance = further.sigmoid()
    expected = -(1 - chance[0, 0]).log() - chance[1:, 0].log().sum() - (1 - chance[1, 1]).log()
    expected = expected - chance[2, 1:3].log().sum() - (1 - chance[2, 3]).log()
    torch.testing.assert_close(counting_loss(further, [target]), expected)


def test_counting_by_cross_entropy() -> None:
    """Classes 0, 1, 2 or more."""
    masks = torch.zeros(3, 3, 8, 8, dtype=torch.bool)
    masks[0, 1] = masks[:, 2] = True
    target = ClipTargets(torch.tensor([0, 0, 1]), masks)
    logits = torch.randn(3, 3)
    expected = -logits.log_softmax(1)[torch.arange(3), torch.arange(3)].sum()
    torch.testing.assert_close(counting_loss(logits, [target], ordinal=False), expected)


@pytest.mark.parametrize("options", [{}, {"audio_queries": "audio_centric", "count_token": True}])
def test_parts_of_a_step_add_up_to_the_whole(options: dict[str, object]) -> None:
    """Gradients of clips on their own, divided by the counts of all, sum to those of one batch."""
    model = tiny_model(**options).train()
    pictures = torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    sound = torch.randn(2, 3, 16_000) * 0.1
    targets = targets_of("some", 3)
    targets[1] = ClipTargets(torch.tensor([1]), torch.rand(1, 3, 64, 64) > 0.7)

    def gradients(groups: list[list[int]]) -> tuple[list[Tensor], dict[str, Tensor]]:
        parts = [[targets[i] for i in group] for group in groups]
        counts = model.counts([target for part in parts for target in part], WEIGHTS)
        model.zero_grad()
        sums: dict[str, Tensor] = {}
        for group, part in zip(groups, parts, strict=True):
            output = model(pictures[group], sound[group])
            seeds = [100 + i for i in group]
            losses = model.losses(output, part, WEIGHTS, seeds=seeds, counts=counts)
            torch.stack(list(losses.values())).sum().backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.detach()
        found = [x.grad.clone() for x in model.parameters() if x.grad is not None]
        return found, sums

    whole, losses = gradients([[0, 1]])
    split, parts = gradients([[0], [1]])
    torch.testing.assert_close(parts, losses, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(split, whole, atol=2e-4, rtol=2e-3)
