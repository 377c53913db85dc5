"""The first AVIS model (arXiv 2310.18709, version 1, 2023), in the order in which data flows.

Mask2Former for video with an audio branch: backbone -> TPAVI fusion with the sound at all four scales ->
pixel decoder -> instance and audio queries over all frames of a short clip -> classes and masks.

What the text leaves open, and how it is here: every scale is fused at the backbone's own width; an audio
query is the sound of one frame (clip_decoder.py); long videos are clips whose queries are linked
(models/inference/tpavi.py).

Letters: B clips, T frames, F = B * T, H W size of a frame, Q instance queries, C channels, K categories,
A audio, h w size of a map.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.audio.vggish import EMBEDDING_CHANNELS
from models.networks.audio_branch import AudioConfig, AudioNetwork
from models.networks.backbones.choice import build_backbone
from models.networks.layers.pixel_decoder import PixelDecoder, resize_to_scales
from models.networks.losses.criterion import Layers, LossWeights, class_loss, mask_losses, match_all
from models.networks.losses.points import Draws
from models.networks.losses.targets import ClipTargets, Counts
from models.networks.tpavi.clip_decoder import ClipDecoder, ClipOutput
from models.networks.tpavi.fusion import TpaviFusion


@dataclass(frozen=True, kw_only=True)
class TpaviConfig(AudioConfig):
    """Size and choices of a TPAVI model; the defaults are the published ResNet-50 model."""

    categories: int = 26
    backbone: str = "resnet50"
    backbone_pretrained: bool = False
    backbone_weights: str | None = None
    backbone_frozen_parts: int = 0  # stem and blocks that keep their pretrained weights
    channels: int = 256
    heads: int = 8
    points: int = 4
    pixel_layers: int = 6
    pixel_hidden: int = 1024
    instance_queries: int = 100
    decoder_layers: int = 9
    hidden: int = 2048
    clip_frames: int = 2  # frames that are looked at together in inference; in training, as many as come


@dataclass
class TpaviOutput:
    """Everything the losses and the inference need."""

    clip: ClipOutput
    mask_features: Tensor  # [B, T, C, H/4, W/4]


class Tpavi(AudioNetwork):
    """Frames and sound of short clips in, queries for sounding objects out."""

    def __init__(self, config: TpaviConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(
            config.backbone,
            pretrained=config.backbone_pretrained,
            weights=Path(config.backbone_weights) if config.backbone_weights else None,
        )
        self.backbone.freeze(config.backbone_frozen_parts)
        self.build_audio_encoder(config)
        hears = config.audio != "none"
        self.fusions = nn.ModuleList(
            TpaviFusion(channels=width, audio_channels=EMBEDDING_CHANNELS)
            for width in self.backbone.channels
            if hears
        )
        self.pixel_decoder = PixelDecoder(
            in_channels=self.backbone.channels,
            channels=config.channels,
            heads=config.heads,
            points=config.points,
            layers=config.pixel_layers,
            hidden=config.pixel_hidden,
        )
        self.clip_decoder = ClipDecoder(
            channels=config.channels,
            heads=config.heads,
            queries=config.instance_queries,
            layers=config.decoder_layers,
            hidden=config.hidden,
            categories=config.categories,
            audio_channels=EMBEDDING_CHANNELS if hears else 0,
        )

    def encode_clip_audio(self, sound: Tensor | None, clips: int, frames: int) -> Tensor | None:
        """Sound [B, T, …] -> embeddings [B, T, A], or None for a deaf model.

        A model that hears takes missing sound for silence: its embeddings are zero.
        """
        if self.config.audio == "none":
            return None
        audio = self.encode_audio(sound.flatten(0, 1) if sound is not None else None)
        if audio is None:
            audio = self.backbone.mean.new_zeros(clips * frames, EMBEDDING_CHANNELS)  # [F, A]
        return audio.unflatten(0, (clips, frames))  # [B, T, A]

    def extract_features(self, frames: Tensor, audio: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Frames [B, T, 3, H, W], RGB 0-255, audio [B, T, A] -> mask features, three scales [F, C, h, w]."""
        clips, length = frames.shape[:2]
        maps = self.backbone(self.backbone.prepare(frames.flatten(0, 1)))  # each [F, width, h, w]
        if audio is not None:
            # each [B, width, T, h, w]
            volumes = [plane.unflatten(0, (clips, length)).transpose(1, 2) for plane in maps]
            fused = [fuse(volume, audio)[0] for fuse, volume in zip(self.fusions, volumes, strict=True)]
            maps = [volume.transpose(1, 2).flatten(0, 1) for volume in fused]  # each [F, width, h, w]
        stride4, scales = self.pixel_decoder(maps)
        return self.pixel_decoder.mask_features(stride4), scales

    def forward(self, frames: Tensor, sound: Tensor | None) -> TpaviOutput:
        """Clips: frames [B, T, 3, H, W] and sound [B, T, …]; predictions of all layers in training."""
        shape = (frames.shape[0], frames.shape[1])
        audio = self.encode_clip_audio(sound, *shape)
        mask_features, scales = self.extract_features(frames, audio)
        with torch.no_grad():
            # for the attention masks, which get no gradient in Mask2Former either
            resized = resize_to_scales(mask_features, scales)
        supervised = self.config.decoder_layers + 1 if self.training else 1
        clip = self.clip_decoder(
            [x.unflatten(0, shape) for x in resized],
            [x.unflatten(0, shape) for x in scales],
            audio,
            supervised_layers=supervised,
        )
        return TpaviOutput(clip, mask_features.unflatten(0, shape))

    def counts(self, targets: list[ClipTargets], weights: LossWeights) -> Counts:
        """What the losses of these targets are divided by."""
        queries = self.config.instance_queries
        return Counts.of(
            targets, frame_queries=0, video_queries=queries, passes=1, no_object=weights.no_object
        )

    def losses(
        self,
        output: TpaviOutput,
        targets: list[ClipTargets],
        weights: LossWeights,
        *,
        seeds: list[int] | None = None,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Mask2Former's losses of all layers, named and weighted; their sum is what is minimised.

        Args:
            output: of ``forward``.
            targets: one per clip.
            weights: of the losses; those of other networks' heads have no effect.
            seeds: one per clip, of the random points; None: torch's own generator.
            counts: of the whole step, when these clips are only part of it (``Counts.shared``); None: of
                these clips and, under torch.distributed, of all other processes'.
        """
        draws = Draws(seeds, output.mask_features.device)
        divide_by = (counts if counts is not None else self.counts(targets, weights).shared()).or_one()
        layers = Layers(
            logits=torch.stack(output.clip.logits),
            embeds=torch.stack(output.clip.mask_embeds),
            features=output.mask_features,
            targets=targets,
            clips=list(range(len(targets))),
        )
        (matches,) = match_all([layers], draws, weights)
        mask, dice = mask_losses(layers, matches, draws, weights)
        named = class_loss(layers, matches, weights.no_object) / divide_by.video_weight
        return {
            "class": weights.classification * named,
            "mask": weights.mask * mask / divide_by.video_masks,
            "dice": weights.dice * dice / divide_by.video_masks,
        }
