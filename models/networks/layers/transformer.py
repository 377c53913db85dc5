"""Post-norm transformer layers shared by the frame decoder and the video module.

Letters: B batch, Q queries, S keys, C channels, H heads, h w size of a map.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention whose mask broadcasts over heads (so it is never copied per head).

    Parameters are packed as in ``torch.nn.MultiheadAttention``, so released weights load unchanged.
    """

    def __init__(self, *, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be a multiple of heads ({heads})")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Attend from query [B, Q, C], or [1, Q, C] for all, to key and value [B, S, C].

        ``blocked`` is boolean, broadcastable to [B, 1, Q, S]; True means "may not look there".
        """
        batch, (length, channels) = len(key), query.shape[1:]
        weight_q, weight_k, weight_v = self.in_proj_weight.chunk(3)
        bias_q, bias_k, bias_v = self.in_proj_bias.chunk(3)

        def split(x: Tensor) -> Tensor:  # [B, S, C] -> [B, H, S, C/H]
            return x.unflatten(-1, (self.heads, channels // self.heads)).transpose(1, 2)

        attended = F.scaled_dot_product_attention(
            split(F.linear(query, weight_q, bias_q)).expand(batch, -1, -1, -1),
            split(F.linear(key, weight_k, bias_k)),
            split(F.linear(value, weight_v, bias_v)),
            attn_mask=None if blocked is None else ~blocked,  # torch's True means "may look there"
        )  # [B, H, Q, C/H]
        merged = attended.transpose(1, 2).reshape(batch, length, channels)  # [B, Q, C]
        return self.out_proj(merged)  # [B, Q, C]


class SelfAttentionLayer(nn.Module):
    """x <- LayerNorm(x + attention(x + position, x + position, x))."""

    def __init__(self, *, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(channels=channels, heads=heads)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor | None = None, blocked: Tensor | None = None) -> Tensor:
        query = x if position is None else x + position
        return self.norm(x + self.attention(query, query, x, blocked))


class CrossAttentionLayer(nn.Module):
    """x <- LayerNorm(x + attention(x + query position, memory + memory position, memory))."""

    def __init__(self, *, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(channels=channels, heads=heads)
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        query_position: Tensor | None = None,
        memory_position: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> Tensor:
        query = x if query_position is None else x + query_position
        key = memory if memory_position is None else memory + memory_position
        return self.norm(x + self.attention(query, key, memory, blocked))


def feed_forward(x: Tensor, linear1: nn.Linear, linear2: nn.Linear) -> Tensor:
    """Linear(ReLU(Linear(x))); in inference the widest map, the one in between, is not kept twice."""
    return linear2(F.relu(linear1(x), inplace=not torch.is_grad_enabled()))


class FeedForwardLayer(nn.Module):
    """x <- LayerNorm(x + Linear(ReLU(Linear(x))))."""

    def __init__(self, *, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + feed_forward(x, self.linear1, self.linear2))


class MultiLayerPerceptron(nn.Module):
    """Linear layers with ReLU between them; the head that turns a query into a mask embedding."""

    def __init__(self, *, channels: int, out_channels: int, depth: int = 3) -> None:
        super().__init__()
        widths = [channels] * depth + [out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def sine_position(height: int, width: int, channels: int, *, device: torch.device) -> Tensor:
    """Two-dimensional sine position embedding [C, height, width] (DETR, normalised to 2 pi)."""
    half = channels // 2  # for the row, the others for the column
    # from 1 on, and 1e-6 in the divisor, as in DETR (arXiv 2005.12872) and all that grew out of it
    y = torch.arange(1, height + 1, device=device, dtype=torch.float32) / (height + 1e-6) * 2 * torch.pi
    x = torch.arange(1, width + 1, device=device, dtype=torch.float32) / (width + 1e-6) * 2 * torch.pi
    index = torch.arange(half, device=device, dtype=torch.float32)
    period = 10000 ** (2 * torch.div(index, 2, rounding_mode="floor") / half)

    def encode(at: Tensor) -> Tensor:  # [n] -> [n, half], sine and cosine in turn
        angle = at[:, None] / period
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    rows = encode(y)[:, None, :].expand(height, width, half)  # [h, w, C/2]
    columns = encode(x)[None, :, :].expand(height, width, half)  # [h, w, C/2]
    return torch.cat((rows, columns), dim=2).permute(2, 0, 1)  # [C, h, w]
