"""The settings of an AVISM, read from the names and shapes of its parameters."""

import re
from typing import Any

from torch import Tensor

from models.networks.backbones.released_weights import SWIN_WIDTHS

HEADS = 8  # of all released models; neither it nor the window leaves a trace in the shapes


def read_architecture(state: dict[str, Tensor], *, heads: int = HEADS) -> dict[str, Any]:
    """Settings of ``AvismConfig`` that parameters (under our names) show; where one is missing, the default.

    Released models have one FFN width and one audio encoder; another one shows when entries are compared.
    """

    def size(name: str, axis: int = 0) -> int | None:
        value = state.get(name)
        return value.shape[axis] if value is not None and value.ndim > axis else None

    def depth(modules: str) -> int | None:
        found = {
            int(match[1]) for name in state if (match := re.match(rf"{re.escape(modules)}\.(\d+)\.", name))
        }
        return max(found) + 1 if found else None

    rows = size("frame_decoder.class_head.weight")
    levels = size("pixel_decoder.level_embed")
    sampled = size("pixel_decoder.layers.0.attention.attention_weights.weight")  # heads x levels x points
    read = {
        "backbone": _backbone(state),
        "categories": rows - 1 if rows else None,
        "channels": size("frame_decoder.query_content.weight", 1),
        "points": sampled // (heads * levels) if sampled and levels else None,
        "pixel_layers": depth("pixel_decoder.layers"),
        "pixel_hidden": size("pixel_decoder.layers.0.linear1.weight"),
        "frame_queries": size("frame_decoder.query_content.weight"),
        "frame_layers": depth("frame_decoder.cross_attention"),
        "video_queries": size("video_module.query_content.weight"),
        "video_encoder_layers": depth("video_module.encoder_attention"),
        "video_decoder_layers": depth("video_module.decoder_cross_attention"),
        "hidden": size("frame_decoder.feed_forward.0.linear1.weight"),
    }
    if "audio_encoder.features.0.weight" in state:
        read |= {"audio": "vggish", **_vggish(state)}
    if "frame_decoder.count_token.weight" in state:
        # the logits of an ordinal count; its ablation by cross entropy cannot be told from it
        read |= {"count_token": True, "count_most": size("frame_decoder.count_head.weight")}
    return {name: value for name, value in read.items() if value is not None}


def _backbone(state: dict[str, Tensor]) -> str | None:
    if "backbone.network.stem.0.weight" in state:
        return "resnet50"
    patches = state.get("backbone.network.patch_embed.proj.weight")
    return SWIN_WIDTHS.get(patches.shape[0]) if patches is not None else None


def _vggish(state: dict[str, Tensor]) -> dict[str, Any]:
    convolutions = [
        value.shape[0]
        for name, value in state.items()
        if name.startswith("audio_encoder.features.") and value.ndim == 4
    ]
    hidden = state.get("audio_encoder.embeddings.0.weight")
    return {
        "audio_channels": tuple(convolutions),
        "audio_hidden": hidden.shape[0] if hidden is not None else None,
        "audio_postprocess": "audio_encoder.postprocess.means" in state or None,
    }
