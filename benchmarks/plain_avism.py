"""AVISM computed in the plain way, as a yardstick: the same weights and the same outputs, no shortcut.

Deformable attention by `grid_sample` and stacked samples, attention with its weight matrices and a mask per
head, one copy of the audio token per query, class and mask predictions of every layer at full size, in
inference too, and losses from full masks, layer by layer. That is how the published code goes about it,
restated here from the specification.

Letters: B clips, T frames, F = B * T, L layers, Q queries, C channels, H heads, h w map size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

import models.networks.layers.deformable_attention as deformable
from models.networks.avism.avism import Avism
from models.networks.avism.video_module import Windows
from models.networks.layers.transformer import Attention, sine_position
from models.networks.losses.criterion import LossWeights
from models.networks.losses.targets import ClipTargets


def sample_levels(value: Tensor, sizes: list[tuple[int, int]], positions: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention's weighted samples: one grid_sample a level, all samples stacked."""
    batch, _, heads, depth = value.shape
    queries = positions.shape[1]
    sampled = []
    for index, plane in enumerate(value.float().split([h * w for h, w in sizes], dim=1)):
        height, width = sizes[index]
        plane = plane.flatten(2).transpose(1, 2).reshape(batch * heads, depth, height, width)
        side = positions.new_tensor([width, height])
        grid = ((2 * positions[:, :, :, index] + 1) / side - 1).transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(plane, grid, align_corners=False))
    scale = weights.float().transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    stacked = torch.stack(sampled, dim=-2).flatten(-2)
    return (stacked * scale).sum(-1).view(batch, heads * depth, queries).transpose(1, 2).contiguous()


@contextmanager
def plain_deformable_attention() -> Iterator[None]:
    """Every deformable attention goes through `sample_levels` above."""
    kept = deformable.sample_levels
    deformable.sample_levels = sample_levels
    try:
        yield
    finally:
        deformable.sample_levels = kept


def attend(attention: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention with the weights written out; mask [B * H, Q, S], True: may not look there."""
    batch, length, channels = query.shape
    heads = attention.heads
    q, k, v = (
        F.linear(x, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)
        for x, weight, bias in zip(
            (query, key, value),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    scores = q @ k.transpose(1, 2) * (channels // heads) ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    weights = scores.softmax(-1)  # [B * H, Q, S]
    merged = (weights @ v).unflatten(0, (batch, heads)).transpose(1, 2).reshape(batch, length, channels)
    weights.unflatten(0, (batch, heads)).mean(1)  # the averaged weights, which nobody reads
    return attention.out_proj(merged)


def cross(
    layer: Any, x: Tensor, memory: Tensor, x_position: Tensor, position: Tensor | None, mask: Tensor | None
) -> Tensor:
    key = memory if position is None else memory + position
    return layer.norm(x + attend(layer.attention, x + x_position, key, memory, mask))


def decode_frames(model: Avism, frames: Tensor, audio: Tensor) -> dict[str, Any]:
    """Backbone to frame queries; predictions of all layers, with full masks."""
    stride4, scales = model.extract_features(frames)
    mask_features = model.pixel_decoder.mask_features(stride4)
    video_features = model.video_module.mask_features(stride4)
    decoder, heads, count = model.frame_decoder, model.config.heads, frames.shape[0]
    sizes = [tuple(x.shape[-2:]) for x in scales]
    memories = [x.flatten(2).transpose(1, 2) + decoder.level_embed.weight[i] for i, x in enumerate(scales)]
    positions = [
        sine_position(*size, model.config.channels, device=frames.device).flatten(1).T.repeat(count, 1, 1)
        for size in sizes
    ]
    place = decoder.query_position.weight.repeat(count, 1, 1)
    x = decoder.query_content.weight.repeat(count, 1, 1)
    heard = decoder.audio_fusion.before(audio)[:, None].repeat(1, x.shape[1], 1)
    seen = [
        cross(look, heard, memory, place, None, None)
        for look, memory in zip(decoder.audio_fusion.look, memories, strict=True)
    ]
    x = x + decoder.audio_fusion.after(torch.cat(seen, dim=-1))

    queries, logits, masks = [], [], []
    for layer in range(len(decoder.cross_attention) + 1):
        normalised = decoder.norm(x)
        queries.append(normalised)
        logits.append(decoder.class_head(normalised))
        mask = torch.einsum("fqc,fchw->fqhw", decoder.mask_head(normalised), mask_features)
        masks.append(mask)
        if layer == len(decoder.cross_attention):
            break
        level = layer % len(scales)
        small = F.interpolate(mask, size=sizes[level], mode="bilinear", align_corners=False)
        blocked = (small.sigmoid().flatten(2)[:, None].repeat(1, heads, 1, 1).flatten(0, 1) < 0.5).detach()
        blocked = blocked & ~blocked.all(-1, keepdim=True)
        x = cross(decoder.cross_attention[layer], x, memories[level], place, positions[level], blocked)
        own = decoder.self_attention[layer]
        x = own.norm(x + attend(own.attention, x + place, x + place, x, None))
        x = decoder.feed_forward[layer](x)
    return {"queries": queries, "logits": logits, "masks": masks, "video_features": video_features}


def video_module(model: Avism, queries: Tensor, audio: Tensor) -> dict[str, Any]:
    """Frame queries [B, T, Q, C] and audio [B, T, A] -> video predictions of all layers."""
    module, heads = model.video_module, model.config.heads
    batch, length, count, _ = queries.shape
    x = module.input_proj(queries)
    token = module.audio_proj(audio)[:, :, None].repeat(1, 1, count, 1)  # a copy per query

    def blocked(windows: Windows) -> Tensor:
        return windows.mask(batch, count, count).repeat(1, heads, 1, 1).flatten(0, 1)

    for index, own in enumerate(module.encoder_attention):
        windows = Windows(
            length, module.window, shifted=index % 2 == 1 and not model.training, device=x.device
        )
        cut = windows.cut(x)
        cut = own.norm(cut + attend(own.attention, cut, cut, cut, blocked(windows)))
        x = windows.join(module.encoder_feed_forward[index](cut), count)
    for index, look in enumerate(module.audio_attention):
        windows = Windows(length, module.window, shifted=index % 2 == 1, device=x.device)
        cut, memory = windows.cut(token), windows.cut(x)
        cut = look.norm(cut + attend(look.attention, cut, memory, memory, blocked(windows)))
        token = windows.join(module.audio_feed_forward[index](cut), count)
    x = x + token
    memory = x.flatten(1, 2)
    position = module.frame_query_position.weight.repeat(length, 1)[None].repeat(batch, 1, 1)
    place = module.query_position.weight.repeat(batch, 1, 1)
    y = module.query_content.weight.repeat(batch, 1, 1)
    found: dict[str, Any] = {"frame_similarity": module.frame_similarity(x), "logits": [], "embeds": []}
    for layer, look in enumerate(module.decoder_cross_attention):
        y = cross(look, y, memory, place, position, None)
        own = module.decoder_self_attention[layer]
        y = own.norm(y + attend(own.attention, y + place, y + place, y, None))
        y = module.decoder_feed_forward[layer](y)
        normalised = module.norm(y)
        found["logits"].append(module.class_head(normalised))
        found["embeds"].append(module.mask_head(normalised))
        found["similarity"] = module.video_similarity(normalised)
    return found


def infer(model: Avism, frames: Tensor, audio: Tensor, *, most: int = 100) -> tuple[Tensor, Tensor]:
    """Clip [T, 3, H, W] -> class scores [most] and masks [most, T, H, W] of the best (query, class) pairs."""
    with plain_deformable_attention():
        seen = decode_frames(model, frames, audio)
    found = video_module(model, seen["queries"][-1][None], audio[None])
    chance = found["logits"][-1][0].softmax(-1)[:, :-1]
    scores, pairs = chance.flatten().topk(most)
    embeds = found["embeds"][-1][0][pairs // chance.shape[1]]
    height, width = frames.shape[-2:]
    padded = (height + -height % 32, width + -width % 32)
    masks = []
    for start in range(0, len(frames), 5):
        part = seen["video_features"][start : start + 5]
        logits = torch.einsum("qc,tchw->qthw", embeds, part)
        logits = F.interpolate(logits, size=padded, mode="bilinear", align_corners=False)
        logits = logits[..., :height, :width]
        soft = logits.sigmoid()
        ((soft > 0.5) * soft).flatten(1).sum(1)  # for the mean foreground probability
        masks.append(F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False) > 0)
    return scores, torch.cat(masks, 1)


def train_step(
    model: Avism, frames: Tensor, audio: Tensor, targets: list[ClipTargets], weights: LossWeights
) -> Tensor:
    """Clips [B, T, 3, H, W] -> the sum of all losses."""
    clips, length = frames.shape[:2]
    with plain_deformable_attention():
        seen = decode_frames(model, frames.flatten(0, 1), audio.flatten(0, 1))
    passes = model.config.video_supervision
    queries = torch.cat([x.unflatten(0, (clips, length)) for x in seen["queries"][-passes:]])
    found = video_module(model, queries, audio.repeat(passes, 1, 1))
    features = seen["video_features"].unflatten(0, (clips, length)).repeat(passes, 1, 1, 1, 1)
    frame_targets = [target.in_frame(t) for target in targets for t in range(length)]
    total = torch.zeros((), device=frames.device)
    frame_pairs = []
    for logits, masks in zip(seen["logits"], seen["masks"], strict=True):
        pairs, loss = _layer(logits, masks[:, :, None], frame_targets, weights)
        frame_pairs.append(pairs)
        total = total + loss
    for logits, embeds in zip(found["logits"], found["embeds"], strict=True):
        masks = torch.einsum("bqc,btchw->bqthw", embeds, features)
        pairs, loss = _layer(logits, masks, targets * passes, weights)
        total = total + loss
    from models.networks.losses.criterion import similarity_loss

    alike = similarity_loss(
        found["frame_similarity"], found["similarity"], frame_pairs[-passes:], pairs, targets
    )
    return total + weights.similarity * alike / model.counts(targets, weights).pairs


def _layer(
    logits: Tensor, masks: Tensor, targets: list[ClipTargets], weights: LossWeights
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Matching and losses of one layer: logits [B, Q, K + 1], masks [B, Q, T, h, w]."""
    pairs = [_match(logits[i].detach(), masks[i].detach(), t, weights) for i, t in enumerate(targets)]
    wanted = torch.full(logits.shape[:2], logits.shape[-1] - 1, device=logits.device)
    for i, (queries, instances) in enumerate(pairs):
        wanted[i, queries] = targets[i].labels[instances]
    per_class = torch.ones(logits.shape[-1], device=logits.device)
    per_class[-1] = weights.no_object
    loss = weights.classification * F.cross_entropy(logits.float().transpose(1, 2), wanted, per_class)
    chosen = torch.cat([masks[i, queries] for i, (queries, _) in enumerate(pairs)])  # [M, T, h, w]
    truth = torch.cat([targets[i].masks[instances].float() for i, (_, instances) in enumerate(pairs)])
    if len(chosen) == 0:
        return pairs, loss + masks.sum() * 0
    count, length = chosen.shape[:2]
    chosen, truth = chosen.float().flatten(0, 1)[:, None], truth.flatten(0, 1)[:, None]
    with torch.no_grad():
        tried = torch.rand(len(chosen), int(weights.points * weights.oversample), 2, device=chosen.device)
        doubt = -_at(chosen, tried)[:, 0].abs()
        important = int(weights.importance * weights.points)
        best = doubt.topk(important, dim=1).indices
        tried = tried.gather(1, best[..., None].expand(-1, -1, 2))
        rest = torch.rand(len(chosen), weights.points - important, 2, device=chosen.device)
        places = torch.cat((tried, rest), 1)
        there = _at(truth, places)[:, 0].reshape(count, length * weights.points)
    here = _at(chosen, places)[:, 0].reshape(count, length * weights.points)
    instances_in_all = sum(len(t.labels) for t in targets)
    entropy = F.binary_cross_entropy_with_logits(here, there, reduction="none").mean(1).sum()
    chance = here.sigmoid()
    dice = (1 - (2 * (chance * there).sum(1) + 1) / (chance.sum(1) + there.sum(1) + 1)).sum()
    return pairs, loss + (weights.mask * entropy + weights.dice * dice) / instances_in_all


def _at(planes: Tensor, places: Tensor) -> Tensor:
    return F.grid_sample(planes, 2 * places[:, :, None] - 1, align_corners=False)[..., 0]


@torch.no_grad()
def _match(logits: Tensor, masks: Tensor, target: ClipTargets, weights: LossWeights) -> tuple[Tensor, Tensor]:
    """Hungarian matching from full masks [Q, T, h, w]."""
    places = torch.rand(1, weights.points, 2, device=masks.device)
    predicted = _at(masks.float(), places.repeat(len(masks), 1, 1)).flatten(1)
    truth = _at(target.masks.float(), places.repeat(len(target.masks), 1, 1)).flatten(1)
    positive = F.binary_cross_entropy_with_logits(predicted, torch.ones_like(predicted), reduction="none")
    negative = F.binary_cross_entropy_with_logits(predicted, torch.zeros_like(predicted), reduction="none")
    entropy = (positive @ truth.T + negative @ (1 - truth).T) / predicted.shape[1]
    chance = predicted.sigmoid()
    dice = 1 - (2 * chance @ truth.T + 1) / (chance.sum(1)[:, None] + truth.sum(1)[None] + 1)
    probability = logits.float().softmax(-1)[:, target.labels]
    cost = weights.mask * entropy + weights.dice * dice - weights.classification * probability
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(rows), torch.as_tensor(columns)
