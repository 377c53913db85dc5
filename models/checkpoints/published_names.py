"""Our parameter names -> the published ones: the way back of published.py, to save as published.

The published programs spell the video module in two ways: AVISM writes ``avism_module``, and what grew out
of COCO pretraining (AVISM_COCO, ACVIS) kept ``vita_module``.
"""

import re
from typing import Literal

Spelling = Literal["avism", "vita"]

# ours -> published; tried in order, the first that matches counts; {module} is the spelling
_PARTS: tuple[tuple[str, str], ...] = (
    (r"backbone\.network\.stem\.0\.", "backbone.stem.conv1."),
    (r"backbone\.network\.stem\.1\.", "backbone.stem.conv1.norm."),
    (r"backbone\.network\.stages\.(\d)\.(\d+)\.conv(\d)\.", r"backbone.res<\1+2>.\2.conv\3."),
    (r"backbone\.network\.stages\.(\d)\.(\d+)\.bn(\d)\.", r"backbone.res<\1+2>.\2.conv\3.norm."),
    (r"backbone\.network\.stages\.(\d)\.(\d+)\.downsample\.0\.", r"backbone.res<\1+2>.\2.shortcut."),
    (r"backbone\.network\.stages\.(\d)\.(\d+)\.downsample\.1\.", r"backbone.res<\1+2>.\2.shortcut.norm."),
    # Swin: patches are merged at the end of a stage there, at the start of the next one here
    (r"backbone\.network\.stages\.(\d)\.downsample\.", r"backbone.layers.<\1-1>.downsample."),
    (r"backbone\.network\.stages\.", "backbone.layers."),
    (r"backbone\.network\.norms\.(\d)\.", r"backbone.norm\1."),
    (r"backbone\.network\.patch_embed\.", "backbone.patch_embed."),
    (r"pixel_decoder\.lateral\.0\.", "sem_seg_head.pixel_decoder.adapter_1."),
    (r"pixel_decoder\.lateral\.1\.", "sem_seg_head.pixel_decoder.adapter_1.norm."),
    (r"pixel_decoder\.smooth\.0\.", "sem_seg_head.pixel_decoder.layer_1."),
    (r"pixel_decoder\.smooth\.1\.", "sem_seg_head.pixel_decoder.layer_1.norm."),
    (r"pixel_decoder\.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
    (
        r"pixel_decoder\.layers\.(\d+)\.attention\.",
        r"sem_seg_head.pixel_decoder.transformer.encoder.layers.\1.self_attn.",
    ),
    (r"pixel_decoder\.layers\.", "sem_seg_head.pixel_decoder.transformer.encoder.layers."),
    (r"pixel_decoder\.", "sem_seg_head.pixel_decoder."),
    (r"frame_decoder\.audio_fusion\.before\.", "sem_seg_head.predictor.av_pre_proj."),
    (r"frame_decoder\.audio_fusion\.after\.", "sem_seg_head.predictor.av_post_proj."),
    (
        r"frame_decoder\.audio_fusion\.look\.(\d+)\.attention\.",
        r"sem_seg_head.predictor.{look}.\1.multihead_attn.",
    ),
    (r"frame_decoder\.audio_fusion\.look\.", "sem_seg_head.predictor.{look}."),
    (r"frame_decoder\.count_token\.", "sem_seg_head.predictor.cls_token."),
    (r"frame_decoder\.count_head\.", "sem_seg_head.predictor.cnt_proj."),
    (
        r"frame_decoder\.self_attention\.(\d+)\.attention\.",
        r"sem_seg_head.predictor.transformer_self_attention_layers.\1.self_attn.",
    ),
    (
        r"frame_decoder\.cross_attention\.(\d+)\.attention\.",
        r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.multihead_attn.",
    ),
    (
        r"frame_decoder\.(self|cross)_attention\.",
        r"sem_seg_head.predictor.transformer_\1_attention_layers.",
    ),
    (r"frame_decoder\.feed_forward\.", "sem_seg_head.predictor.transformer_ffn_layers."),
    (r"frame_decoder\.", "sem_seg_head.predictor."),
    (r"video_module\.mask_features\.", "{module}_module.{module}_mask_features."),
    (r"video_module\.input_proj\.", "{module}_module.input_proj_dec."),
    (r"video_module\.audio_proj\.", "{module}_module.av_proj."),
    (r"video_module\.frame_query_position\.", "{module}_module.fq_pos."),
    (r"video_module\.frame_similarity\.", "{module}_module.sim_embed_frame."),
    (r"video_module\.video_similarity\.", "{module}_module.sim_embed_clip."),
    (r"video_module\.encoder_attention\.(\d+)\.attention\.", r"{module}_module.enc_self_attn.\1.self_attn."),
    (r"video_module\.encoder_attention\.", "{module}_module.enc_self_attn."),
    (r"video_module\.encoder_feed_forward\.", "{module}_module.enc_ffn."),
    (
        r"video_module\.audio_attention\.(\d+)\.attention\.",
        r"{module}_module.enc_av_cross_attn.\1.multihead_attn.",
    ),
    (r"video_module\.audio_attention\.", "{module}_module.enc_av_cross_attn."),
    (r"video_module\.audio_feed_forward\.", "{module}_module.enc_av_ffn."),
    (
        r"video_module\.decoder_self_attention\.(\d+)\.attention\.",
        r"{module}_module.transformer_self_attention_layers.\1.self_attn.",
    ),
    (
        r"video_module\.decoder_cross_attention\.(\d+)\.attention\.",
        r"{module}_module.transformer_cross_attention_layers.\1.multihead_attn.",
    ),
    (
        r"video_module\.decoder_(self|cross)_attention\.",
        r"{module}_module.transformer_\1_attention_layers.",
    ),
    (r"video_module\.decoder_feed_forward\.", "{module}_module.transformer_ffn_layers."),
    (r"video_module\.", "{module}_module."),
    (r"audio_encoder\.postprocess\.means", "audio_backbone.pproc.pca_means"),
    (r"audio_encoder\.postprocess\.eigen_vectors", "audio_backbone.pproc.pca_eigen_vectors"),
    (r"audio_encoder\.", "audio_backbone."),
)
_INSIDE: tuple[tuple[str, str], ...] = (
    (r"\.norm\.(weight|bias)$", r".decoder_norm.\1"),
    (r"\.query_content\.", ".query_feat."),
    (r"\.query_position\.", ".query_embed."),
    (r"\.class_head\.", ".class_embed."),
    (r"\.mask_head\.", ".mask_embed."),
)
_DECODERS = re.compile(r"(?:frame_decoder|video_module)\.(?:norm|query_\w+|class_head|mask_head)\.")


def published_name(ours: str, spelling: Spelling, *, audio_centric: bool = False) -> str:
    """The published name of one of our parameters; a parameter that only we have keeps its own.

    ``audio_centric``: of an ACVIS, which calls its attentions to the sound by another name.
    """
    look = "audio_centric_query_generator" if audio_centric else "av_sf"
    name = ours
    for pattern, replacement in _PARTS:
        match = re.match(pattern, ours)
        if match:
            start = match.expand(replacement).replace("{module}", spelling).replace("{look}", look)
            name = start + ours[match.end() :]
            break
    if _DECODERS.match(ours):
        for pattern, replacement in _INSIDE:
            name = re.sub(pattern, replacement, name)
    return re.sub(r"<(\d)([+-]\d)>", lambda match: str(int(match[1]) + int(match[2])), name)


def criterion_names(spelling: Spelling) -> tuple[str, str]:
    """The published programs save the class weights [K + 1] of their two losses with the parameters."""
    return "criterion.empty_weight", f"{spelling}_criterion.empty_weight"
