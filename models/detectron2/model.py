"""Our AVISM under the names of the published meta-architectures, speaking Detectron2's language.

Letters: B clips, T frames, N instances, H and W the size of a frame.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils import comm
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.checkpoints.parameter_names import Spelling, criterion_names, our_entries, published_name
from models.detectron2.config import loss_weights, network_settings
from models.inference.offline import find_sounding
from models.networks.backbones.backbone import STRIDE_PX
from models.networks.losses.targets import ClipTargets, Counts
from models.networks.registry import build

SCORE_THRESHOLD = 0.3  # as published
_ACVIS = {"audio_queries": "audio_centric", "count_token": True}
INSIDE = "network."
PUBLISHED_PARTS = ("sem_seg_head", "avism_module", "vita_module", "backbone", "audio_backbone")


class _Place:
    """Where the published program has a module, and any place below.

    The checkpointer walks to the module of an entry of another shape, to see whether it is a quantizer.
    """

    def __getattr__(self, name: str) -> "_Place":
        return self


class AvismArchitecture(nn.Module):
    """A meta-architecture made from a configuration; ``network`` is the model of ``models.build``.

    State dicts have the published names, both ways: checkpoints of the published programs load here, and
    what is saved here loads there.
    """

    spelling: ClassVar[Spelling] = "avism"
    # MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME and what it stands for
    decoders: ClassVar[dict[str, dict[str, Any]]] = {"AVISMMultiScaleMaskedTransformerDecoder": {}}

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        decoder = cfg.MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME
        if decoder not in self.decoders:
            raise ValueError(
                f"MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME of {cfg.MODEL.META_ARCHITECTURE} is "
                f"{decoder!r}, allowed: {', '.join(self.decoders)}"
            )
        self.network = build("avism", **network_settings(cfg) | self.decoders[decoder])
        self.weights = loss_weights(cfg)
        self.most = cfg.TEST.DETECTIONS_PER_IMAGE
        with torch.no_grad():
            self.network.backbone.mean.copy_(torch.tensor(cfg.MODEL.PIXEL_MEAN).view(3, 1, 1))
            self.network.backbone.std.copy_(torch.tensor(cfg.MODEL.PIXEL_STD).view(3, 1, 1))
        if cfg.MODEL.AVISM.FREEZE_DETECTOR:
            self.network.requires_grad_(False)
            self.network.video_module.requires_grad_(True)
        self.register_state_dict_post_hook(_to_published)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_published)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_post_hook(_report_published)  # type: ignore[no-untyped-call]

    def published_name(self, ours: str) -> str:
        """The name in checkpoints of a parameter of ``network``."""
        audio_centric = self.network.config.audio_queries == "audio_centric"
        return published_name(ours, self.spelling, audio_centric=audio_centric)

    @property
    def device(self) -> torch.device:
        return self.network.backbone.mean.device

    def __getattr__(self, name: str) -> Any:
        return _Place() if name in PUBLISHED_PARTS else super().__getattr__(name)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Losses by name in training; in evaluation what was found in the first (and only) video.

        Args:
            batched_inputs: items of ``ClipMapper``, or of a mapper of your own with the same keys.

        Returns:
            In evaluation ``image_size`` (height, width), ``pred_scores`` and ``pred_labels`` (lists) and
            ``pred_masks`` (bool, [tracks, T, height, width], on the CPU), as published.
        """
        if self.training:
            return self._losses(batched_inputs)
        return self._find(batched_inputs[0])

    def _losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        frames = self._same_size([torch.stack(list(item["image"])) for item in batched_inputs])
        height, width = (side + -side % STRIDE_PX for side in frames.shape[-2:])
        targets = [_targets(item["instances"], height, width).to(self.device) for item in batched_inputs]
        sound = None
        if self.network.config.audio != "none":
            sound = torch.stack([_sound(item) for item in batched_inputs]).to(self.device)
        output = self.network(frames, sound)
        # Detectron2's process group may be NCCL alone, which carries no counts from the CPU
        gathered = comm.all_gather(tuple(self.network.counts(targets, self.weights)))
        counts = Counts(*(sum(column) / len(gathered) for column in zip(*gathered, strict=True)))
        losses = self.network.losses(output, targets, self.weights, counts=counts)
        return {f"loss_{name}": value for name, value in losses.items()}

    def _same_size(self, clips: list[Tensor]) -> Tensor:
        """Clips [T, 3, H, W] -> [B, T, 3, H, W], smaller ones padded with what normalises to zero."""
        if len({clip.shape for clip in clips}) == 1:
            return torch.stack(clips).to(self.device)
        frames = clips[0].shape[0]
        height, width = max(x.shape[2] for x in clips), max(x.shape[3] for x in clips)
        # [B, T, 3, H, W]
        canvas = self.network.backbone.mean.expand(len(clips), frames, 3, height, width).clone()
        for row, clip in zip(canvas, clips, strict=True):
            row[..., : clip.shape[2], : clip.shape[3]] = clip
        return canvas

    def _find(self, item: dict[str, Any]) -> dict[str, Any]:
        frames = [picture.permute(1, 2, 0).cpu().numpy() for picture in item["image"]]
        sounds: list[NDArray[np.float32] | None] = [None] * len(frames)
        if self.network.config.audio != "none":
            sounds = list(_sound(item).numpy())
        height, width = frames[0].shape[:2]
        size = (item.get("height", height), item.get("width", width))
        tracks = find_sounding(
            self.network,
            lambda: zip(frames, sounds, strict=True),
            size=size,
            encode=torch.from_numpy,
            threshold=SCORE_THRESHOLD,
            most=self.most,
        )
        masks = [torch.stack(track.masks) for track in tracks]
        return {
            "image_size": size,
            "pred_scores": [track.score for track in tracks],
            "pred_labels": [track.label for track in tracks],
            "pred_masks": torch.stack(masks)
            if masks
            else torch.zeros((0, len(frames), *size), dtype=torch.bool),
        }


def _sound(item: dict[str, Any]) -> Tensor:
    """[T, 128] features or [T, 16000] samples; the published mapper gives a list of arrays."""
    return torch.from_numpy(np.stack([np.asarray(moment, np.float32) for moment in item["audio"]]))


def _targets(instances: list[Any], height: int, width: int) -> ClipTargets:
    """Instances of T frames, the same tracks in each -> targets of padded frames."""
    masks = torch.stack([frame.gt_masks.tensor for frame in instances], 1)  # [N, T, h, w]
    # the published mapper writes a class beyond the last where a track is silent
    labels = torch.stack([frame.gt_classes for frame in instances]).amin(0)
    shown = masks.flatten(1).any(1)
    padding = (0, width - masks.shape[3], 0, height - masks.shape[2])
    return ClipTargets(labels[shown], F.pad(masks[shown].bool(), padding))


def _to_published(module: nn.Module, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    assert isinstance(module, AvismArchitecture)  # noqa: S101, for the type checker
    for name in [name for name in state if name.startswith(prefix + INSIDE)]:
        ours = name.removeprefix(prefix + INSIDE)
        state[prefix + module.published_name(ours)] = state.pop(name)
    class_weights = torch.ones(module.network.config.categories + 1)
    class_weights[-1] = module.weights.no_object
    for name in criterion_names(module.spelling):
        state[prefix + name] = class_weights.clone()


def _from_published(_module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    given = {name.removeprefix(prefix): state.pop(name) for name in list(state) if name.startswith(prefix)}
    renamed, _left = our_entries(given)
    state.update({f"{prefix}{INSIDE}{name}": value for name, value in renamed.items()})


def _report_published(module: nn.Module, incompatible: Any) -> None:
    """What is missing or unexpected, under the names that the user's file has."""
    assert isinstance(module, AvismArchitecture)  # noqa: S101
    for names in (incompatible.missing_keys, incompatible.unexpected_keys):
        names[:] = [module.published_name(name.removeprefix(INSIDE)) for name in names]


@META_ARCH_REGISTRY.register()
class AVISM(AvismArchitecture):
    """As published, from ImageNet weights."""


@META_ARCH_REGISTRY.register()
class AVISM_COCO(AvismArchitecture):  # noqa: N801, the published name
    """The same network; its checkpoints descend from COCO pretraining and spell the video module ``vita``."""

    spelling = "vita"


@META_ARCH_REGISTRY.register()
class ACVIS(AvismArchitecture):
    """ACVIS (arXiv 2509.22740) with audio-centric queries, sources counted by cross entropy: an ablation."""

    spelling = "vita"
    decoders: ClassVar[dict[str, dict[str, Any]]] = {
        "ACVISMultiScaleMaskedTransformerDecoder": _ACVIS | {"count_loss": "cross_entropy"}
    }


@META_ARCH_REGISTRY.register()
class ACVIS_SAOC(AvismArchitecture):  # noqa: N801
    """ACVIS as published, with sound-aware ordinal counting of 0, 1, 2 sources; its ablation counts to 4."""

    spelling = "vita"
    decoders: ClassVar[dict[str, dict[str, Any]]] = {
        "ACVISMultiScaleMaskedTransformerDecoder_SAOC": _ACVIS,
        "ACVISMultiScaleMaskedTransformerDecoder_SAOC_Ablation": _ACVIS | {"count_most": 4},
    }
