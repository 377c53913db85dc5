"""The settings of a network, read from the names and shapes of its parameters (under our names)."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.networks.backbones.released_weights import SWIN_WIDTHS

HEADS = 8  # of all released models; neither it nor the window leaves a trace in the shapes


def read_architecture(state: dict[str, Tensor], *, heads: int = HEADS) -> dict[str, Any]:
    """Settings of ``AvismConfig`` that parameters (under our names) show; where one is missing, the default.

    Released models have one FFN width and one audio encoder; another one shows when entries are compared.
    """

    size, depth = partial(_size, state), partial(_depth, state)
    rows = size("frame_decoder.class_head.weight")
    read = {
        **_shared(state, heads),
        "categories": rows - 1 if rows else None,
        "channels": size("frame_decoder.query_content.weight", 1),
        "frame_queries": size("frame_decoder.query_content.weight"),
        "frame_layers": depth("frame_decoder.cross_attention"),
        "video_queries": size("video_module.query_content.weight"),
        "video_encoder_layers": depth("video_module.encoder_attention"),
        "video_decoder_layers": depth("video_module.decoder_cross_attention"),
        "hidden": size("frame_decoder.feed_forward.0.linear1.weight"),
    }
    if is_h2s(state):  # its settings are AvismConfig's, but for its norms, which are trained
        read["backbone"] = "resnet50_trained_norms" if read["backbone"] == "resnet50" else read["backbone"]
    # of ours
    read |= {"presence_head": True} if "video_module.presence.query.weight" in state else {}
    read |= {"audio_tagging": True} if "audio_tags.weight" in state else {}
    if "frame_decoder.count_token.weight" in state:
        # the logits of an ordinal count; its ablation by cross entropy cannot be told from it
        read |= {"count_token": True, "count_most": size("frame_decoder.count_head.weight")}
    return {name: value for name, value in read.items() if value is not None}


def is_h2s(state: dict[str, Tensor]) -> bool:
    """Are these the parameters (under our names) of an H2S?"""
    return "video_module.scans.0.scan.A_logs" in state


def with_counters(own: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With zeros for the steps that norms count in training and files leave out: no weights.

    own: names of the network's entries.
    """
    counters = [name for name in own if name.endswith(".num_batches_tracked") and name not in tensors]
    return tensors | {name: torch.zeros((), dtype=torch.long) for name in counters}


def read_tpavi_architecture(state: dict[str, Tensor], *, heads: int = HEADS) -> dict[str, Any]:
    """Settings of ``TpaviConfig`` that parameters show; where one is missing, the default."""
    rows = _size(state, "clip_decoder.class_head.weight")
    read = {
        **_shared(state, heads),
        "heads": heads,
        "categories": rows - 1 if rows else None,
        "channels": _size(state, "clip_decoder.query_content.weight", 1),
        "instance_queries": _size(state, "clip_decoder.query_content.weight"),
        "decoder_layers": _depth(state, "clip_decoder.cross_attention"),
        "hidden": _size(state, "clip_decoder.feed_forward.0.linear1.weight"),
    }
    if "audio" not in read and not any(name.startswith("fusions.") for name in state):
        read["audio"] = "none"
    return {name: value for name, value in read.items() if value is not None}


def split_heads(state: dict[str, Tensor]) -> list[tuple[int, int]]:
    """The numbers of heads, and of points of each, that the shapes allow: only their product shows."""
    levels = _size(state, "pixel_decoder.level_embed")
    sampled = _size(state, "pixel_decoder.layers.0.attention.attention_weights.weight")
    channels = _size(state, "pixel_decoder.level_embed", 1)
    if not (levels and sampled and channels):
        return []
    product = sampled // levels
    return [
        (heads, product // heads)
        for heads in range(1, product + 1)
        if product % heads == 0 and channels % heads == 0
    ]


def _shared(state: dict[str, Tensor], heads: int) -> dict[str, Any]:
    """What all networks have: backbone, pixel decoder, encoder of sound."""
    levels = _size(state, "pixel_decoder.level_embed")
    # heads x levels x points
    sampled = _size(state, "pixel_decoder.layers.0.attention.attention_weights.weight")
    read: dict[str, Any] = {
        "backbone": _backbone(state),
        "points": sampled // (heads * levels) if sampled and levels else None,
        "pixel_layers": _depth(state, "pixel_decoder.layers"),
        "pixel_hidden": _size(state, "pixel_decoder.layers.0.linear1.weight"),
    }
    if "audio_encoder.features.0.weight" in state:
        read |= {"audio": "vggish", **_vggish(state)}
    return read


def _size(state: dict[str, Tensor], name: str, axis: int = 0) -> int | None:
    value = state.get(name)
    return value.shape[axis] if value is not None and value.ndim > axis else None


def _depth(state: dict[str, Tensor], modules: str) -> int | None:
    """How many modules a list has."""
    found = {int(match[1]) for name in state if (match := re.match(rf"{re.escape(modules)}\.(\d+)\.", name))}
    return max(found) + 1 if found else None


def _backbone(state: dict[str, Tensor]) -> str | None:
    if "backbone.network.stem.0.weight" in state:
        return "resnet50"
    if "backbone.network.network.conv_stem.weight" in state:
        return "efficientnet_lite0"
    patches = state.get("backbone.network.patch_embed.proj.weight")
    return SWIN_WIDTHS.get(patches.shape[0]) if patches is not None else None


def _vggish(state: dict[str, Tensor]) -> dict[str, Any]:
    numbers = sorted(  # a file may hold its entries in any order
        int(name.split(".")[2])
        for name, value in state.items()
        if name.startswith("audio_encoder.features.") and value.ndim == 4
    )
    convolutions = [state[f"audio_encoder.features.{number}.weight"].shape[0] for number in numbers]
    hidden = state.get("audio_encoder.embeddings.0.weight")
    return {
        "audio_channels": tuple(convolutions),
        "audio_hidden": hidden.shape[0] if hidden is not None else None,
        # a norm follows the first convolution; without one the next entry is a convolution
        "audio_normalise": "audio_encoder.features.1.weight" in state or None,
        "audio_postprocess": "audio_encoder.postprocess.means" in state or None,
    }
