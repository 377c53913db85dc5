"""AVISM (arXiv 2310.18709, CVPR 2025), in the order in which data flows.

Letters: B clips, T frames, F = B * T, H W size of a frame, Q frame queries, V video queries, C channels,
K categories, A audio, h w size of a map.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from models.audio.encoders import ENCODERS
from models.audio.vggish import EMBEDDING_CHANNELS
from models.networks.audio_branch import AudioConfig, AudioNetwork
from models.networks.avism.frame_decoder import FrameDecoder, FrameOutput
from models.networks.avism.video_module import VideoModule, VideoOutput
from models.networks.backbones.choice import build_backbone
from models.networks.layers.pixel_decoder import PixelDecoder, resize_to_scales
from models.networks.losses.criterion import (
    Layers,
    LossWeights,
    class_loss,
    counting_loss,
    mask_losses,
    match_all,
    presence_loss,
    similarity_loss,
    tagging_loss,
)
from models.networks.losses.points import Draws
from models.networks.losses.targets import ClipTargets, Counts


@dataclass(frozen=True, kw_only=True)
class AvismConfig(AudioConfig):
    """Size and choices of an AVISM; the defaults are the published ResNet-50 model."""

    categories: int = 26
    backbone: str = "resnet50"
    backbone_pretrained: bool = False
    backbone_weights: str | None = None
    backbone_frozen_parts: int = 0  # stem and blocks that keep their pretrained weights
    audio_tagging: bool = False  # a head that names sounding categories from sound alone; helps training
    channels: int = 256
    heads: int = 8
    points: int = 4
    pixel_layers: int = 6
    pixel_hidden: int = 1024
    frame_queries: int = 100
    frame_layers: int = 9
    video_queries: int = 100
    video_encoder_layers: int = 6
    video_decoder_layers: int = 3
    hidden: int = 2048
    window: int = 6
    presence_head: bool = False
    audio_queries: Literal["fusion", "audio_centric"] = "fusion"  # audio_centric: ACVIS
    audio_in_frames: bool = True  # the frame decoder's queries hear
    audio_in_windows: bool = True  # the video module's windows have a token of sound
    count_token: bool = False  # ACVIS: counts the sources of each frame
    count_most: int = 2  # … up to here: more sources count as that many
    count_loss: Literal["ordinal", "cross_entropy"] = "ordinal"
    video_supervision: int = 3  # frame-decoder layers that go through the video module in training


@dataclass
class AvismOutput:
    """Everything the losses and the inference need."""

    frame: FrameOutput  # of F frames, clip after clip
    video: VideoOutput
    frame_mask_features: Tensor  # [F, C, H/4, W/4]
    video_mask_features: Tensor  # [B, T, C, H/4, W/4]
    audio_tags: Tensor | None = None  # [F, K] logits


class Avism(AudioNetwork):
    """Frames and sound of clips in, queries for sounding objects out."""

    # H2S has others
    pixel_decoder_type: type[PixelDecoder] = PixelDecoder
    frame_decoder_type: type[FrameDecoder] = FrameDecoder
    video_module_type: type[VideoModule] = VideoModule

    def __init__(self, config: AvismConfig) -> None:
        super().__init__()
        if config.audio_queries not in ("fusion", "audio_centric"):
            raise ValueError(f"audio_queries is {config.audio_queries!r}; allowed: fusion, audio_centric")
        if config.count_loss not in ("ordinal", "cross_entropy"):
            raise ValueError(f"count_loss is {config.count_loss!r}; allowed: ordinal, cross_entropy")
        self.config = config
        weights = Path(config.backbone_weights) if config.backbone_weights else None
        self.backbone = build_backbone(
            config.backbone, pretrained=config.backbone_pretrained, weights=weights
        )
        self.backbone.freeze(config.backbone_frozen_parts)
        self.build_audio_encoder(config)
        self.audio_tags = (
            nn.Linear(EMBEDDING_CHANNELS, config.categories)
            if config.audio in ENCODERS and config.audio_tagging
            else None
        )
        self.pixel_decoder = self.pixel_decoder_type(
            in_channels=self.backbone.channels,
            channels=config.channels,
            heads=config.heads,
            points=config.points,
            layers=config.pixel_layers,
            hidden=config.pixel_hidden,
        )
        self.frame_decoder = self.frame_decoder_type(
            channels=config.channels,
            heads=config.heads,
            queries=config.frame_queries,
            layers=config.frame_layers,
            hidden=config.hidden,
            categories=config.categories,
            audio_channels=EMBEDDING_CHANNELS,
            audio_queries=config.audio_queries,
            hears=config.audio_in_frames,
            count_token=config.count_token,
            count_logits=config.count_most + (config.count_loss == "cross_entropy"),
        )
        self.video_module = self.video_module_type(
            channels=config.channels,
            heads=config.heads,
            frame_queries=config.frame_queries,
            video_queries=config.video_queries,
            encoder_layers=config.video_encoder_layers,
            decoder_layers=config.video_decoder_layers,
            hidden=config.hidden,
            window=config.window,
            categories=config.categories,
            audio_channels=EMBEDDING_CHANNELS,
            presence_head=config.presence_head,
            hears=config.audio_in_windows,
        )

    def extract_features(self, frames: Tensor, audio: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Frames [F, 3, H, W], RGB 0-255 -> stride-4 features [F, C, h, w], three scales, coarsest first.

        They do not depend on the sound [F, A]; those of H2S do.
        """
        maps = self.backbone(self.backbone.prepare(frames))  # each [F, width, h, w], res2 to res5
        return self.pixel_decoder(maps)

    def video_mask_features(self, frames: Tensor, audio: Tensor | None) -> Tensor:
        """Frames [F, 3, H, W] -> what a video query's embedding is multiplied with, [F, C, h, w]."""
        return self.video_module.mask_features(self.extract_features(frames, audio)[0])

    def decode_frames(self, frames: Tensor, audio: Tensor | None) -> tuple[FrameOutput, Tensor]:
        """Inference at frame level: [F, 3, H, W] and [F, A] -> the last predictions, video mask features.

        The frame decoder's own mask features are only made at the sizes at which its queries attend.
        """
        stride4, scales = self.extract_features(frames, audio)
        resized = [self.pixel_decoder.mask_features(x) for x in resize_to_scales(stride4, scales)]
        return self.frame_decoder(resized, scales, audio), self.video_module.mask_features(stride4)

    def forward(self, frames: Tensor, sound: Tensor | None) -> AvismOutput:
        """Whole clips: frames [B, T, 3, H, W] and sound [B, T, …]; all predictions for the losses."""
        clips, length = frames.shape[:2]
        audio = self.encode_audio(sound.flatten(0, 1) if sound is not None else None)
        stride4, scales = self.extract_features(frames.flatten(0, 1), audio)
        mask_features = self.pixel_decoder.mask_features(stride4)  # [F, C, h, w]
        video_features = self.video_module.mask_features(stride4)  # [F, C, h, w]
        supervised = self.config.frame_layers + 1 if self.training else 1
        with torch.no_grad():
            # for the attention masks, which get no gradient in Mask2Former either
            resized = resize_to_scales(mask_features, scales)
        frame = self.frame_decoder(resized, scales, audio, supervised_layers=supervised)
        # In training the last few frame layers each have a pass through the video module (B grows).
        passed = frame.queries[-self.config.video_supervision :] if self.training else frame.queries
        queries = torch.cat([x.unflatten(0, (clips, length)) for x in passed])  # [passes * B, T, Q, C]
        # [B, T, A], or [B, T, S, A] of H2S's sources
        clip_audio = None if audio is None else audio.unflatten(0, (clips, length))
        depth = self.config.video_decoder_layers if self.training else 1
        video = self.video_module(queries, clip_audio, supervised_layers=depth)
        tags = self.audio_tags(audio) if self.audio_tags is not None and audio is not None else None
        return AvismOutput(
            frame, video, mask_features, video_features.unflatten(0, (clips, length)), audio_tags=tags
        )

    def counts(self, targets: list[ClipTargets], weights: LossWeights) -> Counts:
        """What the losses of these targets are divided by (in this mode: training has more passes)."""
        return Counts.of(
            targets,
            frame_queries=self.config.frame_queries,
            video_queries=self.config.video_queries,
            passes=self.config.video_supervision if self.training else 1,
            no_object=weights.no_object,
            count_most=self.config.count_most,
        )

    def losses(
        self,
        output: AvismOutput,
        targets: list[ClipTargets],
        weights: LossWeights,
        *,
        seeds: list[int] | None = None,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Named, weighted losses; their sum is what is minimised.

        Args:
            output: of ``forward``.
            targets: one per clip.
            weights: of the losses.
            seeds: one per clip, of the random points; None: torch's own generator.
            counts: of the whole step, when these clips are only part of it (``Counts.shared``); None: of
                these clips and, under torch.distributed, of all other processes'.
        """
        draws = Draws(seeds, output.frame_mask_features.device)
        divide_by = (counts if counts is not None else self.counts(targets, weights).shared()).or_one()
        # as published: the losses of the frame decoder and of the video module, each over all of its layers
        frame_targets = [target.in_frame(moment) for target in targets for moment in range(target.frames)]
        frames = Layers(
            logits=torch.stack(output.frame.logits),
            embeds=torch.stack(output.frame.mask_embeds),
            features=output.frame_mask_features[:, None],  # a frame is a clip of one frame
            targets=frame_targets,
            clips=[clip for clip, target in enumerate(targets) for _ in range(target.frames)],
        )
        videos = Layers(
            logits=torch.stack(output.video.logits),
            embeds=torch.stack(output.video.mask_embeds),
            features=output.video_mask_features,
            targets=targets,
            clips=list(range(len(targets))),
        )
        found, followed = match_all([frames, videos], draws, weights)
        frame_mask, frame_dice = mask_losses(frames, found, draws, weights)
        video_mask, video_dice = mask_losses(videos, followed, draws, weights)
        frame_masks, video_masks = divide_by.frame_masks, divide_by.video_masks
        passes = len(videos.logits[0]) // len(targets)
        alike = similarity_loss(
            output.video.frame_similarity, output.video.similarity[-1], found[-passes:], followed[-1], targets
        )
        losses = {
            "frame_class": weights.classification
            * class_loss(frames, found, weights.no_object)
            / divide_by.frame_weight,
            "frame_mask": weights.mask * frame_mask / frame_masks,
            "frame_dice": weights.dice * frame_dice / frame_masks,
            "video_class": weights.classification
            * class_loss(videos, followed, weights.no_object)
            / divide_by.video_weight,
            "video_mask": weights.mask * video_mask / video_masks,
            "video_dice": weights.dice * video_dice / video_masks,
            "similarity": weights.similarity * alike / divide_by.pairs,
        }
        if output.video.presence:
            sounding = [
                presence_loss(presence, pairs, targets)
                for presence, pairs in zip(output.video.presence, followed, strict=True)
            ]
            losses["presence"] = weights.presence * torch.stack(sounding).sum() / divide_by.presences
        if output.audio_tags is not None:
            tagged = tagging_loss(output.audio_tags, frame_targets)
            losses["tagging"] = weights.tagging * tagged / divide_by.frames
        if output.frame.counting is not None:
            ordinal = self.config.count_loss == "ordinal"
            counted = counting_loss(output.frame.counting, targets, ordinal=ordinal)
            terms = divide_by.ordinals if ordinal else divide_by.frames
            losses["counting"] = weights.counting * counted / terms
        return losses
