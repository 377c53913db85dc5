"""Attention of queries to those clusters of keys only that concern their own cluster.

Letters: F frames, H heads, G = F * H groups that are clustered apart, Q queries, N keys, C channels, D = C/H,
M clusters.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLUSTERS = 8
ROUNDS = 50  # of k-means, as published; it stops before, where another one would change nothing
_SEED = 0


class Starts(NamedTuple):
    """Tokens that k-means begins with, of queries and of keys: [G, M] indices each."""

    queries: Tensor
    keys: Tensor


class ClusteredAttention(nn.Module):
    """The attention of H2S's source perception at one scale: no residual, no norm.

    share: a query's cluster looks at its likeliest clusters of keys as long as their probabilities do not
    sum to more than this, and always at the likeliest one. starts: what k-means begins with, where that shall
    be what another program drew; None: drawn here, in every call alike.
    """

    def __init__(self, *, channels: int, heads: int, share: float) -> None:
        super().__init__()
        self.heads, self.share = heads, share
        self.starts: Starts | None = None
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Queries [F, Q, C] and keys, which are values, too, [F, N, C] -> [F, Q, C].

        How many places a query has is common to all frames of a call: a frame's output hangs on the others.

        Raises:
            ValueError: fewer keys or queries than clusters.
        """

        def split(x: Tensor) -> Tensor:  # [F, S, C] -> [F, H, S, D]
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.q_proj(queries)), split(self.k_proj(keys)), split(self.v_proj(keys))
        weights = place_weights(q.detach().flatten(0, 1), k.detach().flatten(0, 1), self.share, self.starts)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=weights.log().to(q.dtype).unflatten(0, q.shape[:2])
        )  # [F, H, Q, D]
        return self.out_proj(attended.transpose(1, 2).flatten(2))


@torch.no_grad()
def place_weights(queries: Tensor, keys: Tensor, share: float, starts: Starts | None = None) -> Tensor:
    """How often each query [G, Q, D] has each key [G, N, D] among its places: [G, Q, N], fp32.

    The published program gives every query as many places as the one with the most selected keys has, and
    fills those that are left over with copies of one key. Counting copies is the same as making them.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = queries.float(), keys.float()
        if starts is None:
            starts = Starts(first_tokens(queries), first_tokens(keys, draws=1))
        of_query, query_centres = k_means(queries, starts.queries)
        of_key, key_centres = k_means(keys, starts.keys)
        selected, sizes = select(query_centres, key_centres, of_key, share)  # [G, M, M], [G, M]
        held = (selected * sizes[:, None]).sum(-1).gather(1, of_query)  # [G, Q] keys selected
        per_cluster = selected.gather(2, of_key[:, None].expand(-1, CLUSTERS, -1))  # [G, M, N]
        weights = per_cluster.gather(1, of_query[..., None].expand(-1, -1, keys.shape[1]))  # [G, Q, N]
        lowest = (sizes > 0).to(torch.uint8).argmax(1)  # [G] the first cluster that is not empty
        filler = (of_key == lowest[:, None]).to(torch.uint8).argmax(1)  # [G] its first key
        spare = held.max() - held  # [G, Q]
        return weights.scatter_add(2, filler[:, None, None].expand(-1, weights.shape[1], 1), spare[..., None])


def select(query_centres: Tensor, key_centres: Tensor, of_key: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Which clusters of keys those of queries look at, 0. or 1. [G, M, M], and the keys of each, [G, M]."""
    sizes = torch.zeros_like(key_centres[..., 0]).scatter_add_(1, of_key, torch.ones_like(of_key).float())
    likeness = (query_centres @ key_centres.transpose(1, 2) * query_centres.shape[-1] ** -0.5).exp()
    weights = likeness * sizes[:, None]
    weights = weights / (weights.sum(-1, keepdim=True) + 1e-8)  # as published
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    kept = ordered.cumsum(-1) <= share  # the cluster that crosses the share is not kept
    kept[..., 0] = True
    return torch.zeros_like(weights).scatter_(2, order, kept.float()), sizes


def k_means(tokens: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Lloyd's k-means of tokens [G, N, D] from the tokens [G, M] on: labels [G, N], centres [G, M, D].

    The labels are the centres' that are returned. The centre of a cluster that lost all tokens is zero.
    """
    width = tokens.shape[-1]
    centres = tokens.gather(1, start[..., None].expand(-1, -1, width))  # [G, M, D]
    labels = _nearest(tokens, centres)
    for _ in range(ROUNDS):
        members = F.one_hot(labels, start.shape[1]).to(tokens.dtype)  # [G, N, M]
        sums = members.transpose(1, 2) @ tokens  # [G, M, D]
        centres = sums / members.sum(1)[..., None].clamp(min=1)
        before, labels = labels, _nearest(tokens, centres)
        if torch.equal(before, labels):
            break
    return labels, centres


def first_tokens(tokens: Tensor, draws: int = 0) -> Tensor:
    """The tokens [G, M] of [G, N, D] that k-means++ begins with (Arthur and Vassilvitskii, 2007).

    The same uniform numbers are used for every group and in every call: a result hangs on the frame alone,
    not on what was computed before it. The published program draws anew each time.

    Raises:
        ValueError: there are fewer tokens than clusters.
    """
    count = tokens.shape[1]
    if count < CLUSTERS:
        raise ValueError(
            f"H2S sorts queries, and cells of the coarsest map, into {CLUSTERS} clusters: {count} are too few"
        )
    uniform = torch.rand(2, CLUSTERS, generator=torch.Generator().manual_seed(_SEED))[draws].tolist()
    chosen = torch.full((len(tokens), 1), int(uniform[0] * count), device=tokens.device)
    distance = torch.full(tokens.shape[:2], torch.inf, device=tokens.device)
    for draw in uniform[1:]:
        last = tokens.gather(1, chosen[:, -1:, None].expand(-1, -1, tokens.shape[-1]))  # [G, 1, D]
        distance = torch.minimum(distance, (tokens - last).square().sum(-1))  # [G, N] to the nearest so far
        total = distance.cumsum(1)
        # where all tokens are alike nothing is likelier than another
        index = torch.searchsorted(total, (draw * total[:, -1:]).contiguous(), right=True)
        chosen = torch.cat((chosen, index.clamp(max=count - 1)), dim=1)
    return chosen


def _nearest(tokens: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each token, [G, N]; |token|² is the same for all of them, and left out."""
    distance = centres.square().sum(-1)[:, None] - 2 * tokens @ centres.transpose(1, 2)  # [G, N, M]
    return distance.argmin(-1)
