"""AVISM's training losses: Hungarian matching, class, mask, dice, similarity; and those of its options.

As in the published code (sections 3 and 4 of arXiv 2310.18709; Mask2Former; VITA), with two shortcuts:
masks are made only for matched queries, and features are sampled before they are multiplied.

Letters: B clips, T frames, F = B * T, L layers, Q queries, N instances, M matched masks, P points,
C channels, h w map size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.losses.matching import CostWeights, Match, assign, pair_costs
from models.networks.losses.points import Draws, sample, uncertain_places
from models.networks.losses.targets import ClipTargets


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights as published; ``presence``, ``tagging``, ``counting``: for models with those heads only."""

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    similarity: float = 1.0  # the published files say 0.5, but the published code never multiplies by it
    presence: float = 2.0
    tagging: float = 2.0
    counting: float = 1.0
    points: int = 12_544  # of each mask and frame
    oversample: float = 3.0
    importance: float = 0.75


@dataclass
class Layers:
    """Predictions of all supervised layers of one level (frames, or clips), last layer last."""

    logits: Tensor  # [L, B, Q, K + 1]
    embeds: Tensor  # [L, B, Q, C]
    features: Tensor  # [B', T, C, h, w]; batch entry b has the features b % B'
    targets: list[ClipTargets]  # B'
    clips: list[int]  # B': which clip's random draws are used

    def target(self, entry: int) -> ClipTargets:
        return self.targets[entry % len(self.targets)]


def match_all(levels: Sequence[Layers], draws: Draws, weights: LossWeights) -> list[list[list[Match]]]:
    """Match every layer of every level in one go -> matches[level][layer][batch entry]."""
    costs, entries_of = [], []
    cost_weights = CostWeights(classification=weights.classification, mask=weights.mask, dice=weights.dice)
    for number, level in enumerate(levels):
        count = len(level.targets)
        for place, target in enumerate(level.targets):
            if target.labels.shape[0] == 0:
                continue
            entries = range(place, level.logits.shape[1], count)  # passes over the same clip
            same_clip = slice(place, None, count)
            places = draws.places(level.clips[place], weights.points)  # [P, 2]
            cost = pair_costs(
                level.logits[:, same_clip].flatten(0, 1),
                level.embeds[:, same_clip].flatten(0, 1),
                level.features[place],
                target,
                places,
                cost_weights,
            )  # [L * passes, Q, N]
            costs.append(cost)
            entries_of.append((number, entries))
    nothing = torch.zeros(0, dtype=torch.long)
    matches: list[list[list[Match]]] = [
        [[(nothing, nothing)] * level.logits.shape[1] for _ in level.logits] for level in levels
    ]
    for (number, entries), found in zip(entries_of, assign(costs), strict=True):
        for index, pair in enumerate(found):
            layer, step = divmod(index, len(entries))
            matches[number][layer][entries[step]] = pair
    return matches


def class_loss(level: Layers, matches: list[list[Match]], no_object: float) -> Tensor:
    """Cross entropy summed over all queries and layers; "no object", the last class, counts less."""
    none = level.logits.shape[-1] - 1
    wanted = torch.full(level.logits.shape[:3], none, dtype=torch.long)  # [L, B, Q]
    index: list[tuple[int, int, Tensor]] = []
    labels = []
    for layer, row in enumerate(matches):
        for entry, (queries, instances) in enumerate(row):
            if len(queries):
                index.append((layer, entry, queries))
                labels.append(level.target(entry).labels[instances.to(level.logits.device)])
    wanted = wanted.to(level.logits.device, non_blocking=True)
    if labels:
        layer_index = torch.cat([torch.full_like(queries, layer) for layer, _, queries in index])
        entry_index = torch.cat([torch.full_like(queries, entry) for _, entry, queries in index])
        query_index = torch.cat([queries for _, _, queries in index])
        where = torch.stack((layer_index, entry_index, query_index)).to(wanted.device, non_blocking=True)
        wanted[tuple(where)] = torch.cat(labels)
    per_class = torch.ones(none + 1, device=level.logits.device)  # [K + 1]
    per_class[none] = no_object
    flat = level.logits.float().flatten(0, 2)  # [L * B * Q, K + 1]
    return F.cross_entropy(flat, wanted.flatten(), per_class, reduction="sum")


def mask_losses(
    level: Layers, matches: list[list[Match]], draws: Draws, weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and dice of matched masks, summed over masks and layers.

    Both are taken at points where the mask is uncertain, ``weights.points`` in every frame.
    """
    points, important = weights.points, int(weights.points * weights.importance)
    candidates = int(weights.points * weights.oversample)
    entropy, dice = [], []
    for place, target in enumerate(level.targets):
        embeds, wanted = [], []
        for layer, row in enumerate(matches):
            for entry in range(place, len(row), len(level.targets)):
                queries, instances = row[entry]
                if len(queries):
                    device = level.embeds.device
                    embeds.append(level.embeds[layer, entry, queries.to(device, non_blocking=True)])
                    wanted.append(instances)
        if not embeds:
            continue
        matched = torch.cat(embeds)  # [M, C]
        truth = target.masks[torch.cat(wanted).to(matched.device, non_blocking=True)]  # [M, T, H, W]
        frames, clip = target.frames, level.clips[place]
        # [M, T, h, w]
        logits = torch.einsum("mc,tchw->mthw", matched, level.features[place].to(matched.dtype)).float()
        logits = logits.flatten(0, 1)[:, None]  # [M * T, 1, h, w]
        with torch.no_grad():  # where to compare is chosen, not learned (PointRend)
            count = logits.shape[0]
            places = uncertain_places(
                logits,
                draws.places(clip, count, candidates),
                draws.places(clip, count, points - important),
                important,
            )
            there = sample(truth.flatten(0, 1)[:, None].float(), places).view(-1, frames * points)
        here = sample(logits, places).view(-1, frames * points)  # [M, T * P]
        entropy.append(F.binary_cross_entropy_with_logits(here, there, reduction="none").mean(1).sum())
        chance = here.sigmoid()
        overlap = 2 * (chance * there).sum(1) + 1  # [M]; + 1 here and below as in Mask2Former: 0 / 0 is a hit
        dice.append((1 - overlap / (chance.sum(1) + there.sum(1) + 1)).sum())
    if not entropy:  # keep every parameter in the graph
        nothing = level.embeds.sum() * 0 + level.features.sum() * 0
        return nothing, nothing
    return torch.stack(entropy).sum(), torch.stack(dice).sum()


def similarity_loss(
    frame: Tensor,
    video: Tensor,
    frame_matches: list[list[Match]],
    matches: list[Match],
    targets: list[ClipTargets],
) -> Tensor:
    """Matched frame and video queries of one identity are alike, all others of the clip are not.

    Binary cross entropy of the products of all pairs of a clip and pass, summed over pairs (VITA, eq. 6).

    Args:
        frame: [passes * B, T, Q, C].
        video: [passes * B, V, C], of the last video layer.
        frame_matches: [passes][F], of the frame-decoder layers that went through the video module.
        matches: [passes * B].
        targets: B clips.
    """
    total = video.sum() * 0 + frame.sum() * 0
    for entry, (video_queries, video_instances) in enumerate(matches):
        clip, pass_ = entry % len(targets), entry // len(targets)
        target = targets[clip]
        first = sum(other.frames for other in targets[:clip])
        alike = [video[entry, video_queries.to(video.device)]]
        identities = [video_instances]
        for moment in range(target.frames):
            queries, instances = frame_matches[pass_][first + moment]
            there = target.present[:, moment].nonzero()[:, 0]  # which instance a frame's i-th target is
            alike.append(frame[entry, moment, queries.to(frame.device)])
            identities.append(there[instances])
        vectors = torch.cat(alike).float()  # [n, C]
        identity = torch.cat(identities).to(vectors.device, non_blocking=True)
        logits = vectors @ vectors.T  # [n, n]
        same = (identity[:, None] == identity).float()
        total = total + F.binary_cross_entropy_with_logits(logits, same, reduction="sum")
    return total


def presence_loss(presence: Tensor, matches: list[Match], targets: list[ClipTargets]) -> Tensor:
    """Does the matched query's object sound (and show) in each frame? presence [B', V, T] logits; summed."""
    total = presence.sum() * 0
    for entry, (queries, instances) in enumerate(matches):
        predicted = presence[entry, queries.to(presence.device)].float()
        wanted = targets[entry % len(targets)].present[instances].float().to(presence.device)
        total = total + F.binary_cross_entropy_with_logits(predicted, wanted, reduction="sum")
    return total


def tagging_loss(logits: Tensor, frame_targets: list[ClipTargets]) -> Tensor:
    """Which categories sound, from the sound alone; logits [F, K]; mean over K, summed over frames."""
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    for frame, target in enumerate(frame_targets):
        wanted[frame, target.labels] = 1.0
    return F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none").mean(1).sum()


def counting_loss(logits: Tensor, targets: list[ClipTargets], *, ordinal: bool = True) -> Tensor:
    """How many sources has each frame? Summed over terms.

    Ordinal, sound-aware (ACVIS, arXiv 2509.22740): logits [F, most], of which number i says "more than i
    sources"; binary cross entropy over the frames with at least i. Otherwise its ablation: cross entropy over
    the classes 0 to most, logits [F, most + 1].
    """
    sources = torch.cat([target.present.sum(0) for target in targets]).to(logits.device)  # [F]
    if not ordinal:
        classes = sources.clamp(max=logits.shape[1] - 1)
        return F.cross_entropy(logits.float(), classes, reduction="sum")
    total = logits.sum() * 0
    for index in range(logits.shape[1]):
        counted = (sources >= index).float()
        each = F.binary_cross_entropy_with_logits(
            logits[:, index].float(), (sources > index).float(), reduction="none"
        )
        total = total + (each * counted).sum()
    return total
