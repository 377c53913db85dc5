"""Clip decoder: instance queries and audio queries look at all frames of a clip together.

Mask2Former's masked-attention decoder over a volume of frames (Mask2Former for video, arXiv 2112.10764),
with one more query for every second of sound.

Letters: B clips, T frames, Q instance queries, P queries and one of sound for each frame, C channels,
K categories, A audio, h w size of a scale, S = h * w cells of it.
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
class ClipOutput:
    """Predictions for whole clips, one entry per supervised layer, the last layer last."""

    queries: list[Tensor]  # [B, Q, C], normalised
    logits: list[Tensor]  # [B, Q, K + 1]
    mask_embeds: list[Tensor]  # [B, Q, C]; times the mask features of all frames = mask logits


class ClipDecoder(nn.Module):
    """Queries to objects of the clip.

    An audio query is the sound of one frame. Like an instance query it looks at the frames and goes through
    every layer, so that the instance queries, which attend to it, learn what sounds and where. It stands
    for no object: it is no prediction, and what it looks at is not masked.
    """

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
        scales: int = 3,
    ) -> None:
        super().__init__()
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
        self.audio_content = nn.Linear(audio_channels, channels) if audio_channels else None
        self.audio_position = nn.Embedding(1, channels) if audio_channels else None
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
    ) -> ClipOutput:
        """Decode B clips.

        Args:
            mask_features: at the size of each scale, [B, T, C, h, w]; a query attends to where its mask is.
            scales: of the pixel decoder, [B, T, C, h, w], coarsest first.
            audio: [B, T, A], or None (deaf).
            supervised_layers: the last how many predictions are kept.
        """
        clips, frames, channels = scales[0].shape[:3]
        device = scales[0].device
        memories = [  # each [B, T * S, C]
            x.movedim(2, -1).flatten(1, 3) + self.level_embed.weight[level] for level, x in enumerate(scales)
        ]
        positions = [  # each [1, T * S, C]
            clip_position(frames, int(x.shape[3]), int(x.shape[4]), channels, device=device)[None]
            for x in scales
        ]
        flat_features = [x.movedim(2, 1).flatten(2) for x in mask_features]  # each [B, C, T * S]
        x = self.query_content.weight[None].expand(clips, -1, -1)  # [B, Q, C]
        query_position = self.query_position.weight[None].expand(clips, -1, -1)  # [B, Q, C]
        audio_queries = 0
        if audio is not None and self.audio_content is not None and self.audio_position is not None:
            audio_queries = frames
            moment = time_position(frames, channels, device=device) + self.audio_position.weight  # [T, C]
            x = torch.cat((x, self.audio_content(audio)), dim=1)  # [B, P, C]
            query_position = torch.cat((query_position, moment.expand(clips, -1, -1)), dim=1)  # [B, P, C]

        queries, depth = self.query_content.num_embeddings, len(self.cross_attention)
        output = ClipOutput([], [], [])
        for layer in range(depth + 1):
            normalised = self.norm(x[:, :queries])  # [B, Q, C]
            mask_embed = self.mask_head(normalised)  # [B, Q, C]
            if layer > depth - supervised_layers:
                output.queries.append(normalised)
                output.logits.append(self.class_head(normalised))
                output.mask_embeds.append(mask_embed)
            if layer == depth:
                break
            level = layer % len(scales)  # scales in turn, the coarsest first
            blocked = _outside_mask(mask_embed, flat_features[level])  # [B, Q, T * S]
            x = self.cross_attention[layer](
                x,
                memories[level],
                query_position=query_position,
                memory_position=positions[level],
                blocked=F.pad(blocked, (0, 0, 0, audio_queries))[:, None],  # [B, 1, P, T * S]
            )
            x = self.self_attention[layer](x, query_position)
            x = self.feed_forward[layer](x)  # [B, P, C]
        return output


@torch.no_grad()
def _outside_mask(mask_embed: Tensor, mask_features: Tensor) -> Tensor:
    """Where a query's mask is not, [B, Q, T * S]; one that is empty in all frames attends everywhere."""
    blocked = mask_embed @ mask_features < 0  # [B, Q, T * S]
    return blocked & ~blocked.all(-1, keepdim=True)


def clip_position(frames: int, height: int, width: int, channels: int, *, device: torch.device) -> Tensor:
    """Sine position of every cell of a clip, [T * S, C]: that in the frame plus the frame's."""
    place = sine_position(height, width, channels, device=device).flatten(1).T  # [S, C]
    return (place + time_position(frames, channels, device=device)[:, None]).flatten(0, 1)


def time_position(frames: int, channels: int, *, device: torch.device) -> Tensor:
    """Sine position of every frame [T, C], over the clip's length as rows are over the height."""
    at = torch.arange(1, frames + 1, device=device, dtype=torch.float32) / (frames + 1e-6) * 2 * torch.pi
    index = torch.arange(channels, device=device, dtype=torch.float32)
    angle = at[:, None] / 10000 ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)  # [T, C]
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)  # [T, C]
