"""H2S (ACM MM 2026, arXiv 2608.03264), in the order in which data flows: AVISM that hears separated sources.

Letters: B clips, b of them without passes, T frames, F = B * T, S sources, A audio, Q queries, C channels,
h w size of a map.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.audio.vggish import EMBEDDING_CHANNELS
from models.networks.avism.avism import Avism, AvismConfig
from models.networks.avism.frame_decoder import FrameDecoder
from models.networks.avism.video_module import VideoModule
from models.networks.h2s.clustered_attention import ClusteredAttention
from models.networks.h2s.selective_scan import SelectiveScan
from models.networks.h2s.separated_audio import AudioDecomposition, AudioIntoPixels
from models.networks.layers.pixel_decoder import PixelDecoder
from models.networks.layers.transformer import sine_position

SHARES = (0.7, 0.8, 0.9)  # of the scales, the coarsest first


@dataclass(frozen=True, kw_only=True)
class H2sConfig(AvismConfig):
    """Size and choices of an H2S; the defaults are the published ResNet-50 model.

    Raises:
        ValueError: as AvismConfig, and if frame and video queries differ in number, or sound is none.
    """

    backbone: str = "resnet50_trained_norms"
    audio_sources: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame_queries != self.video_queries:
            raise ValueError(
                f"H2S adds one token of sound to each query: frame_queries ({self.frame_queries}) and "
                f"video_queries ({self.video_queries}) must be equal"
            )
        if self.count_token or self.audio_queries != "fusion":
            raise ValueError(
                "count_token and audio_queries are ACVIS's: an H2S has parts of its own for them"
            )
        if self.audio != "features":
            raise ValueError(
                f"H2S hears features of separated sources: audio is {self.audio!r}, not features"
            )


class HearingPixelDecoder(PixelDecoder):
    """Mask2Former's, whose three coarse maps hear the frame's sources before the deformable encoder."""

    def __init__(self, *, channels: int, heads: int, **sizes: Any) -> None:
        super().__init__(channels=channels, heads=heads, **sizes)
        self.audio_into_pixels = nn.ModuleList(
            AudioIntoPixels(channels=channels, heads=heads, audio_channels=EMBEDDING_CHANNELS)
            for _ in self.input_proj
        )

    def hear(self, planes: list[Tensor], sources: Tensor) -> list[Tensor]:
        """Maps [F, C, h, w] of `project`, the coarsest first, and sources [F, S, A] -> such maps."""
        heard = []
        for plane, hear in zip(planes, self.audio_into_pixels, strict=True):
            channels, height, width = plane.shape[1:]
            position = sine_position(height, width, channels, device=plane.device)  # [C, h, w]
            x = hear(plane.flatten(2).transpose(1, 2), position.flatten(1).T, sources)  # [F, h * w, C]
            heard.append(x.transpose(1, 2).unflatten(2, (height, width)))
        return heard


class SourcePerception(nn.Module):
    """Audio-guided source perception: queries look for their part of the sound in each scale."""

    def __init__(self, *, queries: int, channels: int, heads: int, audio_channels: int) -> None:
        super().__init__()
        self.before = nn.Linear(audio_channels, channels)
        self.decompose = AudioDecomposition(queries=queries, channels=channels, heads=heads)
        self.look = nn.ModuleList(
            ClusteredAttention(channels=channels, heads=heads, share=share) for share in SHARES
        )
        self.after = nn.Linear(channels * len(SHARES), channels)

    def forward(self, x: Tensor, audio: Tensor, memories: list[Tensor], query_position: Tensor) -> Tensor:
        """As AudioFusion, with the sources [F, S, A] in place of one vector of sound."""
        query = self.decompose(self.before(audio)) + query_position  # [F, Q, C]
        attended = [look(query, memory) for look, memory in zip(self.look, memories, strict=True)]
        return x + self.after(torch.cat(attended, dim=-1))


class SourceFrameDecoder(FrameDecoder):
    """AVISM's, with source perception in place of its fusion, whose positions are those of all layers."""

    def __init__(self, *, queries: int, channels: int, heads: int, audio_channels: int, **sizes: Any) -> None:
        super().__init__(
            queries=queries, channels=channels, heads=heads, audio_channels=audio_channels, **sizes
        )
        self.audio_fusion = SourcePerception(
            queries=queries, channels=channels, heads=heads, audio_channels=audio_channels
        )
        del self.query_position

    @property
    def source_perception(self) -> SourcePerception:
        """What stands in place of AVISM's fusion."""
        return cast(SourcePerception, self.audio_fusion)

    def positions(self) -> Tensor:
        """Those of the queries of sound."""
        return self.source_perception.decompose.position.weight


class AudioScan(nn.Module):
    """A block of the audio-driven Mamba: X <- LN(X + scan(X, G)), then LN(X + feed-forward(X))."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.scan = SelectiveScan(channels=channels)
        self.norm1 = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )
        self.norm2 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        x = self.norm1(x + self.scan(x, guide))  # [B, T, Q, C]
        return self.norm2(x + self.feed_forward(x))


class ScanningVideoModule(VideoModule):
    """AVISM's, whose frame queries hear by scans over all frames in place of windowed attention."""

    def __init__(
        self, *, frame_queries: int, channels: int, heads: int, encoder_layers: int, **sizes: Any
    ) -> None:
        super().__init__(
            frame_queries=frame_queries,
            channels=channels,
            heads=heads,
            encoder_layers=encoder_layers,
            **sizes,
        )
        del self.audio_attention, self.audio_feed_forward
        self.decompose = AudioDecomposition(queries=frame_queries, channels=channels, heads=heads)
        self.scans = nn.ModuleList(AudioScan(channels=channels) for _ in range(encoder_layers))

    def hear(self, x: Tensor, audio: Tensor) -> Tensor:
        """x [B, T, Q, C], sources [b, T, S, A] -> [B, T, Q, C]."""
        tokens = self.audio_proj(audio.flatten(0, 1))  # [b * T, S, C]
        guide = self.decompose(tokens).unflatten(0, audio.shape[:2])  # [b, T, Q, C]
        for scan in self.scans:
            x = scan(x, guide)
        return x


class H2s(Avism):
    """Frames and the separated sources of their sound in, queries for sounding objects out."""

    config: H2sConfig
    pixel_decoder: HearingPixelDecoder
    frame_decoder: SourceFrameDecoder
    pixel_decoder_type = HearingPixelDecoder
    frame_decoder_type = SourceFrameDecoder
    video_module_type = ScanningVideoModule

    def encode_audio(self, sound: Tensor | None) -> Tensor | None:
        """Features of F frames' sources [F, S, 128], as they are.

        Raises:
            ValueError: they are of another shape.
        """
        if sound is None:
            return None
        wanted = (self.config.audio_sources, EMBEDDING_CHANNELS)
        if sound.shape[1:] != wanted:
            raise ValueError(
                f"the sound has shape {list(sound.shape)}; this model hears features of separated sources, "
                f"[frames, {wanted[0]}, {wanted[1]}]"
            )
        return sound

    def extract_features(self, frames: Tensor, audio: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """As Avism's, of maps that have heard the sources [F, S, A]."""
        maps = self.backbone(self.backbone.prepare(frames))  # each [F, width, h, w], res2 to res5
        planes = self.pixel_decoder.project(maps)
        if audio is not None:
            planes = self.pixel_decoder.hear(planes, audio)
        return self.pixel_decoder.decode(planes, maps[0])
