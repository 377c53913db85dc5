"""Where the separated sources of a frame's sound enter: as one token a query, and into the pixels.

Letters: F frames, S sources, A audio, Q queries, C channels, H heads, N pixels of a map.
"""

import torch
from torch import Tensor, nn

from models.networks.layers.transformer import CrossAttentionLayer


class AudioDecomposition(nn.Module):
    """Learned queries take from a frame's sources what concerns them: [F, S, C] -> [F, Q, C].

    The order of the sources has no effect.
    """

    def __init__(self, *, queries: int, channels: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Embedding(queries, channels)
        self.position = nn.Embedding(queries, channels)
        self.look = CrossAttentionLayer(channels=channels, heads=heads)

    def forward(self, sources: Tensor) -> Tensor:
        return self.look(  # the queries are those of every frame, and projected once
            self.queries.weight[None], sources, query_position=self.position.weight[None]
        )


class AudioIntoPixels(nn.Module):
    """Every pixel attends to the frame's sources: x <- x + attention(x + position, sources).

    The published module is made for both directions. What it would write into the sources is used by
    nobody; its parameters are kept, so that released weights load, and get no gradients.
    """

    def __init__(self, *, channels: int, heads: int, audio_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qk = nn.Linear(channels, channels, bias=False)
        self.context_to_qk = nn.Linear(audio_channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)  # of the other direction
        self.context_to_v = nn.Linear(audio_channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.context_to_out = nn.Linear(channels, audio_channels)  # of the other direction

    def forward(self, x: Tensor, position: Tensor, sources: Tensor) -> Tensor:
        """Pixels x [F, N, C], their position [N, C], sources [F, S, A] -> [F, N, C].

        Few sources: their keys go through the pixels' projection in place of the pixels, and their values
        through the output's, which are H * S vectors a frame instead of N.
        """
        heads, channels = self.heads, x.shape[-1]
        width = channels // heads
        key = self.context_to_qk(sources).unflatten(-1, (heads, width))  # [F, S, H, C/H]
        value = self.context_to_v(sources).unflatten(-1, (heads, width))  # [F, S, H, C/H]
        to_query = self.to_qk.weight.unflatten(0, (heads, width))  # [H, C/H, C]
        to_out = self.to_out.weight.unflatten(1, (heads, width))  # [C, H, C/H]
        keys = torch.einsum("fshd,hdc->fhsc", key, to_query).flatten(1, 2)  # [F, H * S, C]
        values = torch.einsum("fshd,chd->fhsc", value, to_out).flatten(1, 2)  # [F, H * S, C]
        logits = (x + position) @ keys.transpose(1, 2) * width**-0.5  # [F, N, H * S]
        weights = logits.unflatten(-1, (heads, -1)).softmax(-1).flatten(-2)  # [F, N, H * S]
        return x + weights @ values + self.to_out.bias  # [F, N, C]
