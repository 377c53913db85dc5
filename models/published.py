"""Published AVISM checkpoints: their parameter names and ours, in one map."""

import re
from pathlib import Path

import torch
from torch import Tensor

from models.avism import Avism

# published name -> ours; tried in order, the first that matches counts
RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.stem\.conv1\.norm\.", "backbone.network.stem.1."),
    (r"backbone\.stem\.conv1\.", "backbone.network.stem.0."),
    (r"backbone\.res(\d)\.(\d+)\.shortcut\.norm\.", r"backbone.network.stages.<\1>.\2.downsample.1."),
    (r"backbone\.res(\d)\.(\d+)\.shortcut\.", r"backbone.network.stages.<\1>.\2.downsample.0."),
    (r"backbone\.res(\d)\.(\d+)\.conv(\d)\.norm\.", r"backbone.network.stages.<\1>.\2.bn\3."),
    (r"backbone\.res(\d)\.(\d+)\.conv(\d)\.", r"backbone.network.stages.<\1>.\2.conv\3."),
    (r"sem_seg_head\.pixel_decoder\.transformer\.level_embed", "pixel_decoder.level_embed"),
    (
        r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.self_attn\.",
        r"pixel_decoder.layers.\1.attention.",
    ),
    (r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.", "pixel_decoder."),
    (r"sem_seg_head\.pixel_decoder\.adapter_1\.norm\.", "pixel_decoder.lateral.1."),
    (r"sem_seg_head\.pixel_decoder\.adapter_1\.", "pixel_decoder.lateral.0."),
    (r"sem_seg_head\.pixel_decoder\.layer_1\.norm\.", "pixel_decoder.smooth.1."),
    (r"sem_seg_head\.pixel_decoder\.layer_1\.", "pixel_decoder.smooth.0."),
    (r"sem_seg_head\.pixel_decoder\.", "pixel_decoder."),
    (r"sem_seg_head\.predictor\.av_pre_proj\.", "frame_decoder.audio_fusion.before."),
    (r"sem_seg_head\.predictor\.av_post_proj\.", "frame_decoder.audio_fusion.after."),
    (
        r"sem_seg_head\.predictor\.av_sf\.(\d+)\.multihead_attn\.",
        r"frame_decoder.audio_fusion.look.\1.attention.",
    ),
    (r"sem_seg_head\.predictor\.av_sf\.(\d+)\.", r"frame_decoder.audio_fusion.look.\1."),
    (r"sem_seg_head\.predictor\.", "frame_decoder."),
    (r"(?:avism|vita)_module\.(?:avism|vita)_mask_features\.", "video_module.mask_features."),
    (r"(?:avism|vita)_module\.input_proj_dec\.", "video_module.input_proj."),
    (r"(?:avism|vita)_module\.av_proj\.", "video_module.audio_proj."),
    (r"(?:avism|vita)_module\.fq_pos\.", "video_module.frame_query_position."),
    (r"(?:avism|vita)_module\.sim_embed_frame\.", "video_module.frame_similarity."),
    (r"(?:avism|vita)_module\.sim_embed_clip\.", "video_module.video_similarity."),
    (r"(?:avism|vita)_module\.enc_self_attn\.", "video_module.encoder_attention."),
    (r"(?:avism|vita)_module\.enc_ffn\.", "video_module.encoder_feed_forward."),
    (r"(?:avism|vita)_module\.enc_av_cross_attn\.", "video_module.audio_attention."),
    (r"(?:avism|vita)_module\.enc_av_ffn\.", "video_module.audio_feed_forward."),
    (
        r"(?:avism|vita)_module\.transformer_(self|cross)_attention_layers\.",
        r"video_module.decoder_\1_attention.",
    ),
    (r"(?:avism|vita)_module\.transformer_ffn_layers\.", "video_module.decoder_feed_forward."),
    (r"(?:avism|vita)_module\.", "video_module."),
)
INSIDE: tuple[tuple[str, str], ...] = (
    (r"\.transformer_(self|cross)_attention_layers\.", r".\1_attention."),
    (r"\.transformer_ffn_layers\.", ".feed_forward."),
    (r"\.(?:self_attn|multihead_attn)\.", ".attention."),
    (r"\.decoder_norm\.", ".norm."),
    (r"\.query_feat\.", ".query_content."),
    (r"\.query_embed\.", ".query_position."),
    (r"\.class_embed\.", ".class_head."),
    (r"\.mask_embed\.", ".mask_head."),
)
CRITERION = re.compile(r"(?:avism_|vita_)?criterion\.empty_weight$|pixel_(?:mean|std)$")


def our_name(published: str) -> str | None:
    """Our name of a published parameter; None for entries that are no part of the network."""
    if CRITERION.search(published):
        return None
    name = published
    for pattern, replacement in RULES:
        changed, count = re.subn("^" + pattern, replacement, name)
        if count:
            name = changed
            break
    # res2 is stage 0
    name = re.sub(r"<(\d)>", lambda match: str(int(match.group(1)) - 2), name)
    for pattern, replacement in INSIDE:
        name = re.sub(pattern, replacement, name)
    return name


def load_published(model: Avism, checkpoint: Path | dict[str, Tensor]) -> Avism:
    """Load a released AVISM checkpoint (``.pth`` with a ``model`` key, or its state dict) into ``model``.

    Raises:
        ValueError: missing, unexpected and misshapen entries, listed.
    """
    state: dict[str, Tensor]
    if isinstance(checkpoint, Path):
        loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = loaded.get("model", loaded)
    else:
        state = checkpoint
    renamed = {
        ours: torch.as_tensor(value) for name, value in state.items() if (ours := our_name(name)) is not None
    }
    own = model.state_dict()
    problems = [f"missing: {name}" for name in own if name not in renamed]
    problems += [f"unexpected: {name}" for name in renamed if name not in own]
    problems += [
        f"{name}: shape {tuple(renamed[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in renamed and renamed[name].shape != own[name].shape
    ]
    if problems:
        raise ValueError(
            f"the checkpoint does not fit this model, {len(problems)} entries differ: "
            + "; ".join(problems[:20])
        )
    model.load_state_dict(renamed)
    return model
