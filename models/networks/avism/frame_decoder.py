"""Frame decoder: object queries that have heard the frame's sound look for sounding objects in it.

Letters: F frames (batch and time together), Q queries, P queries and the counting token if there is one,
C channels, A audio, K categories, h w size of a scale, S = h * w cells of it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.networks.layers.transformer import (
    CrossAttentionLayer,
    FeedForwardLayer,
    MultiLayerPerceptron,
    SelfAttentionLayer,
    sine_position,
)


@dataclass
class FrameOutput:
    """Predictions of the frame decoder, one entry per supervised layer, the last layer last."""

    queries: list[Tensor]  # [F, Q, C], after the norm
    logits: list[Tensor]  # [F, Q, K + 1]
    mask_embeds: list[Tensor]  # [F, Q, C]; times mask features = mask logits
    counting: Tensor | None = None  # [F, count_logits], of a model with counting token


class AudioFusion(nn.Module):
    """Audio-guided attention to each scale, added to the object queries (AVISM, arXiv 2310.18709).

    The published model gives the scales no position here, only the queries.
    """

    def __init__(self, *, channels: int, heads: int, scales: int, audio_channels: int) -> None:
        super().__init__()
        self.before = nn.Linear(audio_channels, channels)
        self.look = nn.ModuleList(CrossAttentionLayer(channels=channels, heads=heads) for _ in range(scales))
        self.after = nn.Linear(channels * scales, channels)

    def forward(self, x: Tensor, audio: Tensor, memories: list[Tensor], query_position: Tensor) -> Tensor:
        """Queries x [F, P, C], audio [F, A], memories [F, S, C] per scale -> queries that have heard."""
        audio_query = self.before(audio)[:, None]  # [F, 1, C]
        audio_query = audio_query.expand(-1, query_position.shape[1], -1)  # [F, P, C]
        attended = [
            look(audio_query, memory, query_position=query_position)
            for look, memory in zip(self.look, memories, strict=True)
        ]
        fused = self.after(torch.cat(attended, dim=-1))  # [F, P, C]
        return x + fused


class AudioCentricQueries(nn.Module):
    """ACVIS (arXiv 2509.22740) instead of the fusion: object queries attend to the frame's audio vector."""

    def __init__(self, *, channels: int, heads: int, layers: int, audio_channels: int) -> None:
        super().__init__()
        self.before = nn.Linear(audio_channels, channels)
        self.look = nn.ModuleList(CrossAttentionLayer(channels=channels, heads=heads) for _ in range(layers))

    def forward(self, x: Tensor, audio: Tensor, memories: list[Tensor], query_position: Tensor) -> Tensor:
        """As AudioFusion; what is seen (memories) has no part in it."""
        audio_key = self.before(audio)[:, None]  # [F, 1, C], the only key and value
        for look in self.look:
            x = look(x, audio_key, query_position=query_position)  # [F, P, C]
        return x


class FrameDecoder(nn.Module):
    """Masked-attention transformer decoder of Mask2Former with AVISM's audio fusion in front."""

    def __init__(
        self,
        *,
        channels: int,
        heads: int,
        queries: int,
        layers: int,
        hidden: int,
        categories: int,
        audio_channels: int,
        audio_queries: str = "fusion",
        hears: bool = True,
        count_token: bool = False,
        count_logits: int = 2,
        scales: int = 3,
    ) -> None:
        super().__init__()
        self.hears = hears  # a decoder that does not has the parts for it all the same, as a deaf model's
        self.audio_fusion: nn.Module
        if audio_queries == "audio_centric":
            self.audio_fusion = AudioCentricQueries(
                channels=channels, heads=heads, layers=scales, audio_channels=audio_channels
            )
        else:
            self.audio_fusion = AudioFusion(
                channels=channels, heads=heads, scales=scales, audio_channels=audio_channels
            )
        # ACVIS: one more query in front of the others, whose content and position are one embedding
        self.count_token = nn.Embedding(1, channels) if count_token else None
        self.count_head = nn.Linear(channels, count_logits) if count_token else None
        self.cross_attention = nn.ModuleList(
            CrossAttentionLayer(channels=channels, heads=heads) for _ in range(layers)
        )
        self.self_attention = nn.ModuleList(
            SelfAttentionLayer(channels=channels, heads=heads) for _ in range(layers)
        )
        self.feed_forward = nn.ModuleList(
            FeedForwardLayer(channels=channels, hidden=hidden) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.query_content = nn.Embedding(queries, channels)
        self.query_position = nn.Embedding(queries, channels)
        self.level_embed = nn.Embedding(scales, channels)
        self.class_head = nn.Linear(channels, categories + 1)
        self.mask_head = MultiLayerPerceptron(channels=channels, out_channels=channels)

    def forward(
        self,
        mask_features: list[Tensor],
        scales: list[Tensor],
        audio: Tensor | None,
        *,
        supervised_layers: int = 1,
    ) -> FrameOutput:
        """Decode F frames.

        Args:
            mask_features: at the size of each scale, [F, C, h, w]; a query attends to where its mask is.
            scales: of the pixel decoder, [F, C, h, w], coarsest first.
            audio: [F, A], or None (deaf).
            supervised_layers: the last how many predictions are kept.
        """
        frames, channels = scales[0].shape[:2]
        sizes = [(int(x.shape[2]), int(x.shape[3])) for x in scales]
        memories = [  # each [F, S, C]
            x.flatten(2).transpose(1, 2) + self.level_embed.weight[level] for level, x in enumerate(scales)
        ]
        positions = [  # each [1, S, C]
            sine_position(height, width, channels, device=scales[0].device).flatten(1).T[None]
            for height, width in sizes
        ]
        content, position = self.query_content.weight, self.positions()  # [Q, C] both
        count_tokens = 0
        if self.count_token is not None:
            count_tokens = 1
            content = torch.cat((self.count_token.weight, content))  # [P, C]
            position = torch.cat((self.count_token.weight, position))  # [P, C]
        query_position = position[None].expand(frames, -1, -1)  # [F, P, C]
        x = content[None].expand(frames, -1, -1)  # [F, P, C]
        if audio is not None and self.hears:
            x = self.audio_fusion(x, audio, memories, query_position)

        depth = len(self.cross_attention)
        output = FrameOutput([], [], [])
        for layer in range(depth + 1):
            normalised = self.norm(x)  # [F, P, C]
            objects = normalised[:, count_tokens:]  # [F, Q, C]
            mask_embed = self.mask_head(objects)  # [F, Q, C]
            if layer > depth - supervised_layers:
                output.queries.append(objects)
                output.logits.append(self.class_head(objects))
                output.mask_embeds.append(mask_embed)
            if layer == depth:
                break
            # the prediction before any layer and after each: L + 1 of them, as in Mask2Former
            level = layer % len(scales)  # scales in turn, the coarsest first
            blocked = self._outside_mask(mask_embed, mask_features[level])  # [F, 1, Q, S]
            x = self.cross_attention[layer](
                x,
                memories[level],
                query_position=query_position,
                memory_position=positions[level],
                blocked=F.pad(
                    blocked, (0, 0, count_tokens, 0)
                ),  # [F, 1, P, S]; the counting token is never masked
            )
            x = self.self_attention[layer](x, query_position)
            x = self.feed_forward[layer](x)  # [F, P, C]
        if self.count_head is not None:
            output.counting = self.count_head(normalised[:, 0])
        return output

    def positions(self) -> Tensor:
        """The learned position of each query, [Q, C]."""
        return self.query_position.weight

    @staticmethod
    @torch.no_grad()
    def _outside_mask(mask_embed: Tensor, mask_features: Tensor) -> Tensor:
        """Where the query's mask is not, [F, 1, Q, S]; a query whose mask is empty attends everywhere."""
        blocked = torch.einsum("fqc,fchw->fqhw", mask_embed, mask_features).flatten(2) < 0  # [F, Q, S]
        blocked = blocked & ~blocked.all(-1, keepdim=True)
        return blocked[:, None]  # [F, 1, Q, S]
