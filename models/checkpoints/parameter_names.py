"""Parameter names of the published programs (AVISM, ACVIS, VITA, Mask2Former) and ours, both ways.

One table serves loading and saving. Where the programs themselves spell one thing in several ways, names are
brought to AVISM's spelling before the table is read.
"""

import re
from typing import Literal

from torch import Tensor

from models.networks.backbones.released_weights import (
    BACKBONE_NAMES,
    backbone_name,
    backbone_weights,
    which_backbone,
)
from models.weight_files.name_table import Row, translate

# AVISM writes avism_module; what grew out of COCO pretraining (AVISM_COCO, ACVIS) kept VITA's vita_module.
Spelling = Literal["avism", "vita"]

_PIXEL = "sem_seg_head.pixel_decoder."
_ENCODER_LAYER = _PIXEL + "transformer.encoder.layers."
_FRAME, _VIDEO = "sem_seg_head.predictor.", "avism_module."


def _attention(theirs: str, ours: str, inner: str) -> tuple[Row, Row]:
    """The rows of a list of attentions: the attention in each of its layers, and what is beside it."""
    return (theirs + "{layer}." + inner, ours + "{layer}.attention."), (theirs, ours)


def _decomposition(theirs: str, ours: str) -> tuple[Row, ...]:
    """The rows of H2S's queries of sound."""
    attention = theirs + "audio_decomp_attention."
    return (
        (theirs + "audio_decomp_queries.", ours + "queries."),
        (theirs + "audio_decomp_pos.", ours + "position."),
        (attention + "multihead_attn.", ours + "look.attention."),
        (attention, ours + "look."),
    )


# published, ours; what is written first counts, so a part stands before the whole that it is in
NAMES: tuple[Row, ...] = (
    *((f"backbone.{theirs}", f"backbone.{ours}") for theirs, ours in BACKBONE_NAMES),
    # pixel decoder
    (_PIXEL + "adapter_1.norm.", "pixel_decoder.lateral.1."),
    (_PIXEL + "adapter_1.", "pixel_decoder.lateral.0."),
    (_PIXEL + "layer_1.norm.", "pixel_decoder.smooth.1."),
    (_PIXEL + "layer_1.", "pixel_decoder.smooth.0."),
    (_PIXEL + "transformer.level_embed", "pixel_decoder.level_embed"),
    *_attention(_ENCODER_LAYER, "pixel_decoder.layers.", "self_attn."),
    (_PIXEL + "bi_attn.", "pixel_decoder.audio_into_pixels."),
    (_PIXEL, "pixel_decoder."),
    # frame decoder
    (_FRAME + "av_pre_proj.", "frame_decoder.audio_fusion.before."),
    *_attention(_FRAME + "av_sf.", "frame_decoder.audio_fusion.look.", "multihead_attn."),
    (_FRAME + "av_post_proj.", "frame_decoder.audio_fusion.after."),
    *_decomposition(_FRAME, "frame_decoder.audio_fusion.decompose."),
    (_FRAME + "cls_token.", "frame_decoder.count_token."),
    (_FRAME + "cnt_proj.", "frame_decoder.count_head."),
    *_attention(
        _FRAME + "transformer_cross_attention_layers.", "frame_decoder.cross_attention.", "multihead_attn."
    ),
    *_attention(_FRAME + "transformer_self_attention_layers.", "frame_decoder.self_attention.", "self_attn."),
    (_FRAME + "transformer_ffn_layers.", "frame_decoder.feed_forward."),
    (_FRAME + "decoder_norm.", "frame_decoder.norm."),
    (_FRAME + "query_feat.", "frame_decoder.query_content."),
    (_FRAME + "query_embed.", "frame_decoder.query_position."),
    (_FRAME + "class_embed.", "frame_decoder.class_head."),
    (_FRAME + "mask_embed.", "frame_decoder.mask_head."),
    (_FRAME, "frame_decoder."),
    # video module
    (_VIDEO + "avism_mask_features.", "video_module.mask_features."),
    (_VIDEO + "input_proj_dec.", "video_module.input_proj."),
    (_VIDEO + "av_proj.", "video_module.audio_proj."),
    *_attention(_VIDEO + "enc_self_attn.", "video_module.encoder_attention.", "self_attn."),
    (_VIDEO + "enc_ffn.", "video_module.encoder_feed_forward."),
    *_attention(_VIDEO + "enc_av_cross_attn.", "video_module.audio_attention.", "multihead_attn."),
    (_VIDEO + "enc_av_ffn.", "video_module.audio_feed_forward."),
    *_decomposition(_VIDEO, "video_module.decompose."),
    (_VIDEO + "encode_av_fusion.{layer}.mamba.", "video_module.scans.{layer}.scan."),
    (_VIDEO + "encode_av_fusion.{layer}.mlp.fc1.", "video_module.scans.{layer}.feed_forward.0."),
    (_VIDEO + "encode_av_fusion.{layer}.mlp.fc2.", "video_module.scans.{layer}.feed_forward.2."),
    (_VIDEO + "encode_av_fusion.", "video_module.scans."),
    *_attention(
        _VIDEO + "transformer_cross_attention_layers.",
        "video_module.decoder_cross_attention.",
        "multihead_attn.",
    ),
    *_attention(
        _VIDEO + "transformer_self_attention_layers.", "video_module.decoder_self_attention.", "self_attn."
    ),
    (_VIDEO + "transformer_ffn_layers.", "video_module.decoder_feed_forward."),
    (_VIDEO + "decoder_norm.", "video_module.norm."),
    (_VIDEO + "query_feat.", "video_module.query_content."),
    (_VIDEO + "query_embed.", "video_module.query_position."),
    (_VIDEO + "fq_pos.", "video_module.frame_query_position."),
    (_VIDEO + "class_embed.", "video_module.class_head."),
    (_VIDEO + "mask_embed.", "video_module.mask_head."),
    (_VIDEO + "sim_embed_frame.", "video_module.frame_similarity."),
    (_VIDEO + "sim_embed_clip.", "video_module.video_similarity."),
    (_VIDEO, "video_module."),
    # sound
    ("audio_backbone.pproc.pca_means", "audio_encoder.postprocess.means"),
    ("audio_backbone.pproc.pca_eigen_vectors", "audio_encoder.postprocess.eigen_vectors"),
    ("audio_backbone.", "audio_encoder."),
)
# other spellings, and that of the table
_SPELLINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^vita_module\."), "avism_module."),
    (re.compile(r"^avism_module\.vita_mask_features\."), "avism_module.avism_mask_features."),
    # early Mask2Former files have the pixel decoder's parts in the head itself, and one more word for a query
    (re.compile(r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)"), _PIXEL),
    (re.compile(r"^(sem_seg_head\.predictor|avism_module)\.static_query\."), r"\1.query_feat."),
    # ACVIS, whose attentions to the sound stand where AVISM's fusion is
    (re.compile(r"^sem_seg_head\.predictor\.audio_centric_query_generator\."), _FRAME + "av_sf."),
    # older versions of torchvggish
    (re.compile(r"^audio_backbone\.pproc\.pca_matrix"), "audio_backbone.pproc.pca_eigen_vectors"),
)
_NO_PARAMETER = re.compile(r"(?:avism_|vita_)?criterion\.empty_weight$|pixel_(?:mean|std)$")
_ACVIS = "sem_seg_head.predictor.audio_centric_query_generator.0.norm.weight"


def our_name(published: str) -> str | None:
    """Our name of a published parameter, or its own if none is known; None: no part of the network."""
    if _NO_PARAMETER.search(published):
        return None
    if published.startswith("backbone.") and backbone_name(published.removeprefix("backbone.")) is None:
        return None
    name = published
    for pattern, spelling in _SPELLINGS:
        name = pattern.sub(spelling, name)
    return translate(name, NAMES) or name


def published_name(ours: str, spelling: Spelling, *, audio_centric: bool = False) -> str:
    """The published name of one of our parameters; a parameter that only we have keeps its own.

    ``audio_centric``: of an ACVIS, which calls its attentions to the sound by another name.
    """
    name = translate(ours, NAMES, back=True) or ours
    if audio_centric:
        name = name.replace(_FRAME + "av_sf.", _FRAME + "audio_centric_query_generator.")
    return name.replace("avism_", f"{spelling}_") if name.startswith(_VIDEO) else name


def criterion_names(spelling: Spelling) -> tuple[str, str]:
    """The published programs save the class weights [K + 1] of their two losses with the parameters."""
    return "criterion.empty_weight", f"{spelling}_criterion.empty_weight"


def is_acvis(published: dict[str, Tensor]) -> bool:
    """Do the published names have ACVIS's audio-centric queries?"""
    return _ACVIS in published


def our_entries(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Published entries under our names, and the names of those that are no part of our network.

    A file of a backbone alone is renamed, too (backbones/released_weights.py). An entry of no known name
    keeps its own.
    """
    if which_backbone(state) is not None:
        weights, left = backbone_weights(state)
        return {f"backbone.{name}": value for name, value in weights.items()}, left
    renamed, left = {}, []
    for name, value in state.items():
        ours = our_name(name)
        # ACVIS keeps AVISM's last layer of the fusion and never uses it
        if ours is None or (is_acvis(state) and ours.startswith("frame_decoder.audio_fusion.after.")):
            left.append(name)
        else:
            renamed[ours] = value
    return renamed, left
