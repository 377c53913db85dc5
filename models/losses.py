"""AVISM's training losses: Hungarian matching, class, mask, dice, similarity, presence, tagging.

Letters: B clips, T frames, F = B * T, Q queries, N instances, P points, C channels, h w mask size.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from models.avism import AvismOutput


@dataclass
class ClipTargets:
    """What there is to find in one clip."""

    labels: Tensor  # [N] category index 0..K-1
    masks: Tensor  # [N, T, H, W] bool, the padded training frame; empty where the object is silent


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights as published; ``presence`` and ``tagging`` count only for models with those heads."""

    classification: float = 2.0
    mask: float = 5.0
    dice: float = 5.0
    no_object: float = 0.1
    similarity: float = 0.5
    presence: float = 2.0
    tagging: float = 2.0
    points: int = 12_544
    oversample: float = 3.0
    importance: float = 0.75


Match = tuple[Tensor, Tensor]  # query indices, instance indices


def avism_losses(output: AvismOutput, targets: list[ClipTargets], weights: LossWeights) -> dict[str, Tensor]:
    """Named, weighted losses of a training step; their sum is what is minimised."""
    frame_targets = [_in_frame(target, frame) for target in targets for frame in range(target.masks.shape[1])]
    losses: dict[str, Tensor] = {}

    def add(name: str, value: Tensor) -> None:
        losses[name] = losses[name] + value if name in losses else value

    frame_matches: list[list[Match]] = []
    features = output.frame_mask_features[:, None]  # a frame is a clip of one frame: [F, 1, C, h, w]
    for logits, embeds in zip(output.frame.logits, output.frame.mask_embeds, strict=True):
        matches = match(logits, embeds, features, frame_targets, weights)
        frame_matches.append(matches)
        add("frame_class", _class_loss(logits, matches, frame_targets, weights))
        mask, dice = _mask_losses(embeds, features, matches, frame_targets, weights)
        add("frame_mask", mask)
        add("frame_dice", dice)

    clips = len(targets)
    passes = output.video.logits[0].shape[0] // clips
    used = frame_matches[-passes:]
    features = output.video_mask_features
    similar = output.video.frame_similarity.split(clips)
    for layer in range(len(output.video.logits)):
        parts = zip(
            output.video.logits[layer].split(clips),
            output.video.mask_embeds[layer].split(clips),
            output.video.similarity[layer].split(clips),
            strict=True,
        )
        presence = output.video.presence[layer].split(clips) if output.video.presence else None
        for index, (logits, embeds, video_similarity) in enumerate(parts):
            matches = match(logits, embeds, features, targets, weights)
            add("video_class", _class_loss(logits, matches, targets, weights))
            mask, dice = _mask_losses(embeds, features, matches, targets, weights)
            add("video_mask", mask)
            add("video_dice", dice)
            add(
                "similarity",
                weights.similarity
                * _similarity_loss(similar[index], video_similarity, used[index], matches, targets),
            )
            if presence is not None:
                add("presence", weights.presence * _presence_loss(presence[index], matches, targets))
    if output.audio_tags is not None:
        add("tagging", weights.tagging * _tagging_loss(output.audio_tags, frame_targets))
    return losses


def _in_frame(target: ClipTargets, frame: int) -> ClipTargets:
    """The instances that sound and are seen in one frame, as a clip of one frame."""
    masks = target.masks[:, frame : frame + 1]
    there = masks.flatten(1).any(1)
    return ClipTargets(target.labels[there], masks[there])


@torch.no_grad()
def match(
    logits: Tensor, embeds: Tensor, features: Tensor, targets: list[ClipTargets], weights: LossWeights
) -> list[Match]:
    """Hungarian matching of queries to instances, clip by clip.

    Args:
        logits: [B, Q, K + 1].
        embeds: [B, Q, C] mask embeddings.
        features: [B, T, C, h, w].
        targets: one per clip.

    Mask costs are taken at random points shared by all queries of a clip; the features are sampled
    there and then multiplied, so no full mask is made for unmatched queries.
    """
    matches = []
    frames = features.shape[1]
    points = max(1, weights.points // frames)
    for clip, target in enumerate(targets):
        count = target.labels.shape[0]
        if count == 0:
            empty = torch.zeros(0, dtype=torch.long)
            matches.append((empty, empty))
            continue
        place = torch.rand(1, points, 2, device=logits.device).expand(frames, -1, -1)
        sampled = _sample(features[clip].float(), place)  # [T, C, P]
        predicted = torch.einsum("qc,tcp->qtp", embeds[clip].float(), sampled).flatten(1)  # [Q, T * P]
        truth = _sample(target.masks.float().transpose(0, 1), place).transpose(0, 1).flatten(1)  # [N, T * P]
        probability = logits[clip].float().softmax(-1)[:, target.labels]  # [Q, N]
        length = predicted.shape[1]
        cross_entropy = (F.softplus(-predicted) @ truth.T + F.softplus(predicted) @ (1 - truth).T) / length
        chance = predicted.sigmoid()
        dice = 1 - (2 * chance @ truth.T + 1) / (chance.sum(1)[:, None] + truth.sum(1)[None] + 1)
        cost = -weights.classification * probability + weights.mask * cross_entropy + weights.dice * dice
        # a model that has become NaN is found by its loss, not by a matching that refuses to match
        rows, columns = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
        matches.append((torch.as_tensor(rows), torch.as_tensor(columns)))
    return matches


def _sample(planes: Tensor, place: Tensor) -> Tensor:
    """Bilinear values of planes [N, C, h, w] at places [N, P, 2] (x, y in 0..1) -> [N, C, P]."""
    return F.grid_sample(planes, 2 * place[:, :, None] - 1, align_corners=False)[..., 0]


def _class_loss(
    logits: Tensor, matches: list[Match], targets: list[ClipTargets], weights: LossWeights
) -> Tensor:
    """Cross entropy in which "no object", the last class, counts for ``no_object``."""
    none = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], none, dtype=torch.long, device=logits.device)
    for clip, (queries, instances) in enumerate(matches):
        wanted[clip, queries] = targets[clip].labels[instances]
    per_class = torch.ones(none + 1, device=logits.device)
    per_class[none] = weights.no_object
    return weights.classification * F.cross_entropy(logits.float().transpose(1, 2), wanted, per_class)


def _mask_losses(
    embeds: Tensor, features: Tensor, matches: list[Match], targets: list[ClipTargets], weights: LossWeights
) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and dice of matched masks, at points where the mask is uncertain."""
    predicted, truth = [], []
    for clip, (queries, instances) in enumerate(matches):
        if len(queries):
            predicted.append(torch.einsum("nc,tchw->nthw", embeds[clip, queries], features[clip]))
            truth.append(targets[clip].masks[instances])
    if not predicted:  # keep every parameter in the graph
        nothing = embeds.sum() * 0 + features.sum() * 0
        return nothing, nothing
    logits = torch.cat(predicted).float()  # [N, T, h, w]
    wanted = torch.cat(truth).float()  # [N, T, H, W]
    count, frames = logits.shape[:2]
    logits = logits.flatten(0, 1)[:, None]
    wanted = wanted.flatten(0, 1)[:, None]
    with torch.no_grad():
        place = _uncertain_points(logits, max(4, weights.points // frames), weights)
        there = _sample(wanted, place).view(count, -1)  # [N, T * P]
    here = _sample(logits, place).view(count, -1)
    mask = F.binary_cross_entropy_with_logits(here, there, reduction="none").mean(1).sum() / count
    chance = here.sigmoid()
    dice = (1 - (2 * (chance * there).sum(1) + 1) / (chance.sum(1) + there.sum(1) + 1)).sum() / count
    return weights.mask * mask, weights.dice * dice


def _uncertain_points(logits: Tensor, points: int, weights: LossWeights) -> Tensor:
    """PointRend sampling: of ``oversample`` times as many points keep the least certain share."""
    planes = logits.shape[0]
    candidates = torch.rand(planes, int(points * weights.oversample), 2, device=logits.device)
    certainty = _sample(logits, candidates)[:, 0].abs()
    important = int(points * weights.importance)
    chosen = certainty.topk(important, dim=1, largest=False).indices
    uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
    rest = torch.rand(planes, points - important, 2, device=logits.device)
    return torch.cat((uncertain, rest), dim=1)


def _similarity_loss(
    frame: Tensor, video: Tensor, frame_matches: list[Match], matches: list[Match], targets: list[ClipTargets]
) -> Tensor:
    """Frame and video queries of one identity are alike, others are not.

    frame [B, T, Q, C], video [B, V, C]; balanced binary cross entropy over the matched video queries.
    """
    terms = []
    length = frame.shape[1]
    for clip, (queries, instances) in enumerate(matches):
        if not len(queries):
            continue
        logits = torch.einsum("tqc,nc->tqn", frame[clip], video[clip, queries]).float()
        logits = logits * frame.shape[-1] ** -0.5
        wanted = torch.zeros_like(logits)
        present = targets[clip].masks.flatten(2).any(2)  # [N, T]
        for moment in range(length):
            there = present[:, moment].nonzero()[:, 0].cpu()  # which instance a frame's i-th target is
            frame_queries, frame_instances = frame_matches[clip * length + moment]
            for query, which in zip(frame_queries, there[frame_instances], strict=True):
                wanted[moment, query, (instances == which).to(wanted.device)] = 1.0
        each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        alike = wanted.sum().clamp(min=1)
        unlike = (1 - wanted).sum().clamp(min=1)
        terms.append((each * wanted).sum() / alike + (each * (1 - wanted)).sum() / unlike)
    return torch.stack(terms).mean() if terms else frame.sum() * 0 + video.sum() * 0


def _presence_loss(presence: Tensor, matches: list[Match], targets: list[ClipTargets]) -> Tensor:
    """Does the matched query's object sound (and show) in each frame? presence [B, V, T] logits."""
    predicted, wanted = [], []
    for clip, (queries, instances) in enumerate(matches):
        predicted.append(presence[clip, queries])
        wanted.append(targets[clip].masks[instances].flatten(2).any(2).float())
    logits = torch.cat(predicted).float()
    if logits.numel() == 0:
        return presence.sum() * 0
    return F.binary_cross_entropy_with_logits(logits, torch.cat(wanted))


def _tagging_loss(logits: Tensor, frame_targets: list[ClipTargets]) -> Tensor:
    """Which categories sound, from the sound alone; logits [F, K]."""
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    for frame, target in enumerate(frame_targets):
        wanted[frame, target.labels] = 1.0
    return F.binary_cross_entropy_with_logits(logits.float(), wanted)
