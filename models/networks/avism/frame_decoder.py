"""Frame decoder: object queries that have heard the frame's sound look for sounding objects in it.

Letters: F frames (batch and time together), Q queries, C channels, K categories, h w mask size.
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

    queries: list[Tensor]  # [F, Q, C], normalised
    logits: list[Tensor]  # [F, Q, K + 1]
    mask_embeds: list[Tensor]  # [F, Q, C]; times mask features = mask logits
    counting: Tensor | None = None  # [F, count_logits], of a model with counting token


class AudioFusion(nn.Module):
    """Audio-guided look at each scale, added to the object queries (AVISM step 3)."""

    def __init__(self, *, channels: int, heads: int, scales: int, audio_channels: int) -> None:
        super().__init__()
        self.before = nn.Linear(audio_channels, channels)
        self.look = nn.ModuleList(CrossAttentionLayer(channels=channels, heads=heads) for _ in range(scales))
        self.after = nn.Linear(channels * scales, channels)

    def forward(self, x: Tensor, audio: Tensor, memories: list[Tensor], query_position: Tensor) -> Tensor:
        """Queries x [F, Q, C], audio [F, A], memories [F, S, C] per scale -> queries that have heard.

        The published model gives the scales no position here, only the queries.
        """
        heard = self.before(audio)[:, None].expand(-1, query_position.shape[1], -1)
        seen = [
            look(heard, memory, query_position=query_position)
            for look, memory in zip(self.look, memories, strict=True)
        ]
        return x + self.after(torch.cat(seen, dim=-1))


class AudioCentricQueries(nn.Module):
    """ACVIS (arXiv 2509.22740) instead of the fusion: object queries attend to the frame's audio vector."""

    def __init__(self, *, channels: int, heads: int, layers: int, audio_channels: int) -> None:
        super().__init__()
        self.before = nn.Linear(audio_channels, channels)
        self.look = nn.ModuleList(CrossAttentionLayer(channels=channels, heads=heads) for _ in range(layers))

    def forward(self, x: Tensor, audio: Tensor, memories: list[Tensor], query_position: Tensor) -> Tensor:
        """As AudioFusion; what is seen (memories) has no part in it."""
        heard = self.before(audio)[:, None]  # [F, 1, C], the only key and value
        for look in self.look:
            x = look(x, heard, query_position=query_position)
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
        count_token: bool = False,
        count_logits: int = 2,
        scales: int = 3,
    ) -> None:
        super().__init__()
        self.audio_fusion: AudioFusion | AudioCentricQueries
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
        looks: list[Tensor],
        scales: list[Tensor],
        audio: Tensor | None,
        *,
        supervised_layers: int = 1,
    ) -> FrameOutput:
        """Decode F frames.

        Args:
            looks: mask features at the size of each scale, [F, C, hi, wi]: where a query's mask is, it looks.
            scales: of the pixel decoder, [F, C, hi, wi], coarsest first.
            audio: [F, A], or None (deaf).
            supervised_layers: the last how many predictions are kept.
        """
        frames, channels = scales[0].shape[:2]
        sizes = [(int(x.shape[2]), int(x.shape[3])) for x in scales]
        memories = [
            x.flatten(2).transpose(1, 2) + self.level_embed.weight[level] for level, x in enumerate(scales)
        ]
        positions = [
            sine_position(height, width, channels, device=scales[0].device).flatten(1).T[None]
            for height, width in sizes
        ]
        content, place = self.query_content.weight, self.query_position.weight
        tokens = 0
        if self.count_token is not None:
            tokens = 1
            content = torch.cat((self.count_token.weight, content))
            place = torch.cat((self.count_token.weight, place))
        query_position = place[None].expand(frames, -1, -1)
        x = content[None].expand(frames, -1, -1)
        if audio is not None:
            x = self.audio_fusion(x, audio, memories, query_position)

        depth = len(self.cross_attention)
        output = FrameOutput([], [], [])
        for layer in range(depth + 1):
            normalised = self.norm(x)
            objects = normalised[:, tokens:]
            mask_embed = self.mask_head(objects)
            if layer > depth - supervised_layers:
                output.queries.append(objects)
                output.logits.append(self.class_head(objects))
                output.mask_embeds.append(mask_embed)
            if layer == depth:
                break
            level = layer % len(scales)
            blocked = self._outside_mask(mask_embed, looks[level])
            x = self.cross_attention[layer](
                x,
                memories[level],
                query_position=query_position,
                memory_position=positions[level],
                blocked=F.pad(blocked, (0, 0, tokens, 0)),  # the counting token looks everywhere
            )
            x = self.self_attention[layer](x, query_position)
            x = self.feed_forward[layer](x)
        if self.count_head is not None:
            output.counting = self.count_head(normalised[:, 0])
        return output

    @staticmethod
    @torch.no_grad()
    def _outside_mask(mask_embed: Tensor, look: Tensor) -> Tensor:
        """Where the query's mask is not, at the scale's size [F, 1, Q, S]; an empty mask looks everywhere."""
        blocked = torch.einsum("fqc,fchw->fqhw", mask_embed, look).flatten(2) < 0
        blocked = blocked & ~blocked.all(-1, keepdim=True)
        return blocked[:, None]


def shrink(features: Tensor, scales: list[Tensor]) -> list[Tensor]:
    """Mask features [F, C, h, w] at the size of each scale.

    Resizing is linear, so features may be resized before they are multiplied with embeddings: the same mask
    logits as from full-size masks, at a fraction of the cost.
    """
    return [F.interpolate(features, size=x.shape[-2:], mode="bilinear", align_corners=False) for x in scales]
