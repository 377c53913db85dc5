"""Video module: frame queries of a whole clip become video queries, one per object over time.

Letters: B clips, T frames, W frames of a window, N windows, Q frame queries, V video queries, C channels,
A audio, K categories.
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
)


@dataclass
class VideoOutput:
    """Predictions of the video module, one entry per supervised layer, the last layer last."""

    logits: list[Tensor]  # [B, V, K + 1]
    mask_embeds: list[Tensor]  # [B, V, C]
    similarity: list[Tensor]  # [B, V, C]
    frame_similarity: Tensor  # [B, T, Q, C]
    presence: list[Tensor]  # [B, V, T] logits "sounds in this frame"; empty without the presence head


class Windows:
    """Cuts T frames into windows of W, padded at the end; shifted ones start half a window earlier."""

    def __init__(self, frames: int, window: int, *, shifted: bool, device: torch.device) -> None:
        self.frames, self.window = frames, window
        self.count = -(-frames // window)
        self.shift = (window + 1) // 2 if shifted else 0
        padded = self.count * window
        order = torch.arange(padded, device=device)  # [N * W]
        place = order.roll(self.shift).view(self.count, window)  # [N, W] which frame stands where
        # [N, W, W]: nobody looks at padding
        blocked = (place >= frames)[:, None, :].expand(-1, window, -1).clone()
        if self.shift:
            # rolled frames wrap: the first window holds the clip's end and its start, which must not meet
            late = torch.arange(window, device=device) < self.shift  # [W]
            blocked[0] |= late[:, None] != late[None, :]
        # a frame that stands only beside padding still needs one place to look at: itself
        self.blocked = blocked & ~torch.eye(window, dtype=torch.bool, device=device)  # [N, W, W]

    def cut(self, x: Tensor) -> Tensor:
        """[B, T, Q, C] -> [B * N, W * Q, C]."""
        padding = self.count * self.window - self.frames
        x = F.pad(x, (0, 0, 0, 0, 0, padding)).roll(self.shift, dims=1)  # [B, N * W, Q, C]
        return x.unflatten(1, (self.count, self.window)).flatten(2, 3).flatten(0, 1)

    def join(self, x: Tensor, queries: int) -> Tensor:
        """[B * N, W * Q, C] -> [B, T, Q, C]."""
        x = x.unflatten(1, (self.window, queries)).unflatten(0, (-1, self.count))  # [B, N, W, Q, C]
        x = x.flatten(1, 2)  # [B, N * W, Q, C]
        return x.roll(-self.shift, dims=1)[:, : self.frames]

    def mask(self, batch: int, query_repeat: int, key_repeat: int) -> Tensor:
        """Boolean mask [B * N, 1, W * query_repeat, W * key_repeat]."""
        blocked = self.blocked.repeat_interleave(query_repeat, 1).repeat_interleave(key_repeat, 2)
        return blocked.repeat(batch, 1, 1)[:, None]


class VideoModule(nn.Module):
    """VITA's object encoder and decoder (arXiv 2206.04403) with AVISM's audio branch (arXiv 2310.18709)."""

    def __init__(
        self,
        *,
        channels: int,
        heads: int,
        frame_queries: int,
        video_queries: int,
        encoder_layers: int,
        decoder_layers: int,
        hidden: int,
        window: int,
        categories: int,
        audio_channels: int,
        presence_head: bool,
        hears: bool = True,
    ) -> None:
        super().__init__()
        self.window, self.hears = window, hears
        self.input_proj = nn.Linear(channels, channels)
        self.audio_proj = nn.Linear(audio_channels, channels)

        def self_attention(count: int) -> nn.ModuleList:
            return nn.ModuleList(SelfAttentionLayer(channels=channels, heads=heads) for _ in range(count))

        def cross_attention(count: int) -> nn.ModuleList:
            return nn.ModuleList(CrossAttentionLayer(channels=channels, heads=heads) for _ in range(count))

        def feed_forward(count: int) -> nn.ModuleList:
            return nn.ModuleList(FeedForwardLayer(channels=channels, hidden=hidden) for _ in range(count))

        self.encoder_attention = self_attention(encoder_layers)
        self.encoder_feed_forward = feed_forward(encoder_layers)
        self.audio_attention = cross_attention(encoder_layers)
        self.audio_feed_forward = feed_forward(encoder_layers)
        self.decoder_cross_attention = cross_attention(decoder_layers)
        self.decoder_self_attention = self_attention(decoder_layers)
        self.decoder_feed_forward = feed_forward(decoder_layers)
        self.norm = nn.LayerNorm(channels)
        self.query_content = nn.Embedding(video_queries, channels)
        self.query_position = nn.Embedding(video_queries, channels)
        self.frame_query_position = nn.Embedding(frame_queries, channels)
        self.mask_features = nn.Conv2d(channels, channels, 1)
        self.class_head = nn.Linear(channels, categories + 1)
        self.mask_head = MultiLayerPerceptron(channels=channels, out_channels=channels)
        self.frame_similarity = nn.Linear(channels, channels)
        self.video_similarity = nn.Linear(channels, channels)
        self.presence = PresenceHead(channels=channels) if presence_head else None

    def forward(
        self, frame_queries: Tensor, audio: Tensor | None, *, supervised_layers: int = 1
    ) -> VideoOutput:
        """frame_queries [B, T, Q, C]; audio [b, T, A] or None (deaf): B is b, or several passes of it."""
        x = self.input_proj(frame_queries)  # [B, T, Q, C]
        x = self._encode_frames(x)  # [B, T, Q, C]
        if audio is not None and self.hears:
            x = self.hear(x, audio)  # [B, T, Q, C]

        batch, frames = x.shape[:2]
        memory = x.flatten(1, 2)  # [B, T * Q, C]
        # a frame query has one learned position, whichever frame it is of: order in time is not told
        memory_position = self.frame_query_position.weight.repeat(frames, 1)[None]  # [1, T * Q, C]
        query_position = self.query_position.weight[None].expand(batch, -1, -1)  # [B, V, C]
        y = self.query_content.weight[None].expand(batch, -1, -1)  # [B, V, C]
        output = VideoOutput([], [], [], self.frame_similarity(x), [])
        depth = len(self.decoder_cross_attention)
        for layer in range(depth):
            y = self.decoder_cross_attention[layer](
                y, memory, query_position=query_position, memory_position=memory_position
            )
            y = self.decoder_self_attention[layer](y, query_position)
            y = self.decoder_feed_forward[layer](y)  # [B, V, C]
            if layer >= depth - supervised_layers:
                normalised = self.norm(y)  # [B, V, C]
                output.logits.append(self.class_head(normalised))
                output.mask_embeds.append(self.mask_head(normalised))
                output.similarity.append(self.video_similarity(normalised))
                if self.presence is not None:
                    output.presence.append(self.presence(normalised, x))
        return output

    def _encode_frames(self, x: Tensor) -> Tensor:
        """Self-attention inside windows of frames; [B, T, Q, C] -> the same."""
        batch, frames, queries, _ = x.shape
        for index, (attend, feed) in enumerate(
            zip(self.encoder_attention, self.encoder_feed_forward, strict=True)
        ):
            shifted = index % 2 == 1 and not self.training  # as the published program: in training none is
            windows = Windows(frames, self.window, shifted=shifted, device=x.device)
            cut = attend(windows.cut(x), blocked=windows.mask(batch, queries, queries))  # [B * N, W * Q, C]
            x = windows.join(feed(cut), queries)  # [B, T, Q, C]
        return x

    def hear(self, x: Tensor, audio: Tensor) -> Tensor:
        """The frame's audio token looks at the frame queries of its window, and is added; -> [B, T, Q, C].

        The published code carries Q identical copies of this token; one is the same.
        """
        batch, frames, queries, _ = x.shape
        token = self.audio_proj(audio).repeat(batch // len(audio), 1, 1)[:, :, None]  # [B, T, 1, C]
        for index, (attend, feed) in enumerate(
            zip(self.audio_attention, self.audio_feed_forward, strict=True)
        ):
            # as the published program: unlike above shifted in training, too
            windows = Windows(frames, self.window, shifted=index % 2 == 1, device=x.device)
            cut = attend(windows.cut(token), windows.cut(x), blocked=windows.mask(batch, 1, queries))
            token = windows.join(feed(cut), 1)  # [B, T, 1, C]
        return x + token


class PresenceHead(nn.Module):
    """Does this video query sound in this frame? An option beyond the paper.

    A video query's mask is its embedding times features that have not heard the frame, so by itself it
    cannot fall silent while its object stays in view. This head lets each video query look at the frame
    queries (which have heard the frame) of one frame at a time and say whether it sounds there.
    """

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.decide = MultiLayerPerceptron(channels=2 * channels, out_channels=1, depth=2)

    def forward(self, video: Tensor, frames: Tensor) -> Tensor:
        """video [B, V, C], frames [B, T, Q, C] -> logits [B, V, T]."""
        scale = float(video.shape[-1]) ** -0.5
        logits = torch.einsum("bvc,btqc->bvtq", self.query(video), self.key(frames)) * scale  # [B, V, T, Q]
        attended = torch.einsum("bvtq,btqc->bvtc", logits.softmax(-1), frames)  # [B, V, T, C]
        both = torch.cat((attended, video[:, :, None].expand_as(attended)), dim=-1)  # [B, V, T, 2 * C]
        return self.decide(both)[..., 0]  # [B, V, T]
