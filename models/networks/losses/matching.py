"""Hungarian matching of queries to instances, for all supervised layers at once.

Letters: L layers, Q queries, N instances, T frames, P points, C channels, K categories, h w map size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.losses.points import sample_shared
from models.networks.losses.targets import ClipTargets

Match = tuple[Tensor, Tensor]  # query indices, instance indices; on the CPU


@dataclass(frozen=True, kw_only=True)
class CostWeights:
    """Of the class probability, the mask cross entropy and the dice in the cost of a pair."""

    classification: float
    mask: float
    dice: float


@torch.no_grad()
def pair_costs(
    logits: Tensor,
    embeds: Tensor,
    features: Tensor,
    target: ClipTargets,
    places: Tensor,
    weights: CostWeights,
) -> Tensor:
    """What it costs to give instance n to query q: [L, Q, N].

    Args:
        logits: [L, Q, K + 1].
        embeds: [L, Q, C] mask embeddings.
        features: [T, C, h, w]; a mask is the product of embedding and features.
        target: of this clip.
        places: [P, 2], the same in every frame, layer and mask.

    The features are sampled and then multiplied, once for all layers; no full mask is made. Cross entropy
    is softplus(x) - x t, so one softplus serves all instances.
    """
    layers, queries = embeds.shape[:2]
    rows = embeds.flatten(0, 1)  # [L * Q, C]
    instances = target.labels.shape[0]
    entropy = torch.zeros(layers * queries, instances, device=rows.device)
    overlap, area = torch.zeros_like(entropy), torch.zeros(layers * queries, 1, device=rows.device)
    true_area = torch.zeros(1, instances, device=rows.device)
    for frame in range(features.shape[0]):
        sampled = sample_shared(features[frame], places)  # [C, P]
        predicted = (rows.to(sampled.dtype) @ sampled).float()  # [L * Q, P]
        truth = sample_shared(target.masks[:, frame].float(), places)  # [N, P]
        entropy += F.softplus(predicted).sum(1, keepdim=True) - predicted @ truth.T
        chance = predicted.sigmoid_()
        overlap += chance @ truth.T
        area += chance.sum(1, keepdim=True)
        true_area += truth.sum(1)
    entropy /= features.shape[0] * places.shape[0]
    dice = 1 - (2 * overlap + 1) / (area + true_area + 1)  # [L * Q, N]
    probability = logits.float().softmax(-1)[..., target.labels]  # [L, Q, N]
    cost = weights.mask * entropy + weights.dice * dice  # [L * Q, N]
    # minus the probability, not its logarithm, as in DETR: of the same size as the other terms
    return cost.unflatten(0, (layers, queries)) - weights.classification * probability  # [L, Q, N]


def assign(costs: list[Tensor]) -> list[list[Match]]:
    """The cheapest pairs of each cost table [L, Q, N] -> per table and layer, min(Q, N) pairs.

    All tables travel to the CPU together: one wait for the GPU instead of one for each.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and prediction needs none

    if not costs:
        return []
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    matches = []
    for part, cost in zip(flat.split([cost.numel() for cost in costs]), costs, strict=True):
        # a model that has become NaN is found by its loss, not by a matching that refuses to match
        tables = part.view(cost.shape).nan_to_num(nan=0.0).numpy()
        pairs = [linear_sum_assignment(table) for table in tables]
        matches.append([(torch.as_tensor(rows), torch.as_tensor(columns)) for rows, columns in pairs])
    return matches
