"""Released checkpoints of AVISM, ACVIS, VITA and Mask2Former: their parameter names, and a ready model."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoints.published_architecture import HEADS, read_architecture
from models.networks.avism.avism import Avism
from models.networks.backbones.backbone import FROM_FILE, load_backbone
from models.networks.backbones.released_weights import backbone_name, backbone_weights, which_backbone
from models.networks.registry import build
from models.weight_files.checkpoint_file import ALLOWED, named_tensors, read_checkpoint, require_same_entries

# published name -> ours; tried in order, the first that matches counts
RULES: tuple[tuple[str, str], ...] = (
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
    (r"sem_seg_head\.predictor\.audio_centric_query_generator\.", "frame_decoder.audio_fusion.look."),
    (r"sem_seg_head\.predictor\.cls_token\.", "frame_decoder.count_token."),
    (r"sem_seg_head\.predictor\.cnt_proj\.", "frame_decoder.count_head."),
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
    (r"audio_backbone\.pproc\.pca_means", "audio_encoder.postprocess.means"),
    (r"audio_backbone\.pproc\.pca_(?:eigen_vectors|matrix)", "audio_encoder.postprocess.eigen_vectors"),
    (r"audio_backbone\.", "audio_encoder."),
)
INSIDE: tuple[tuple[str, str], ...] = (
    (r"\.transformer_(self|cross)_attention_layers\.", r".\1_attention."),
    (r"\.transformer_ffn_layers\.", ".feed_forward."),
    (r"\.(?:self_attn|multihead_attn)\.", ".attention."),
    (r"\.decoder_norm\.", ".norm."),
    (r"\.(?:query_feat|static_query)\.", ".query_content."),
    (r"\.query_embed\.", ".query_position."),
    (r"\.class_embed\.", ".class_head."),
    (r"\.mask_embed\.", ".mask_head."),
)
OURS = ("frame_decoder.", "video_module.", "pixel_decoder.", "backbone.network.")
OUR_TPAVI = ("clip_decoder.", "fusions.")
CRITERION = re.compile(r"(?:avism_|vita_)?criterion\.empty_weight$|pixel_(?:mean|std)$")


def our_name(published: str) -> str | None:
    """Our name of a published parameter; None for entries that are no part of the network."""
    if CRITERION.search(published):
        return None
    if published.startswith("backbone."):
        name = backbone_name(published.removeprefix("backbone."))
        return None if name is None else f"backbone.{name}"
    # early Mask2Former files have the pixel decoder's parts in the head itself
    published = re.sub(
        r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)", "sem_seg_head.pixel_decoder.", published
    )
    name = published
    for pattern, replacement in RULES:
        changed, count = re.subn("^" + pattern, replacement, name)
        if count:
            name = changed
            break
    for pattern, replacement in INSIDE:
        name = re.sub(pattern, replacement, name)
    return name


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
        if ours is None or (_is_acvis(state) and ours.startswith("frame_decoder.audio_fusion.after.")):
            left.append(name)  # of the latter ACVIS keeps AVISM's parameters and never uses them
        else:
            renamed[ours] = value
    return renamed, left


def _is_acvis(state: dict[str, Tensor]) -> bool:
    return "sem_seg_head.predictor.audio_centric_query_generator.0.norm.weight" in state


def load_published(checkpoint: Path | str | Mapping[str, Tensor | NDArray[Any]], **config: Any) -> Avism:
    """A model, ready for inference, from a released checkpoint.

    Args:
        checkpoint: a ``.pth``, ``.pkl`` or ``.safetensors`` file of AVISM or ACVIS, or the state dict out of
            one (arrays are fine, and a ``model`` key around it). A file of a backbone alone gives a model
            whose other parameters are untrained, with a warning.
        config: what shapes cannot tell and is not as published (``heads``, ``window``), and settings of
            ``AvismConfig`` in general, which then override what the shapes say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint of this model; missing, unexpected and misshapen entries are listed.
    """
    where = str(checkpoint) if isinstance(checkpoint, (str, Path)) else "the checkpoint"
    if isinstance(checkpoint, (str, Path)):
        state = read_checkpoint(checkpoint)
    elif isinstance(checkpoint, Mapping):
        state = named_tensors(dict(checkpoint))
    else:
        raise ValueError(
            f"the checkpoint is of type {type(checkpoint).__name__}; allowed: the path of {ALLOWED}, or a "
            "state dict"
        )
    _refuse_ours(state, where)
    backbone = which_backbone(state)
    if backbone is not None:
        model = build("avism", **{"backbone": backbone} | config)
        try:
            load_backbone(model.backbone, state)
        except ValueError as error:
            raise ValueError(f"{where} does not hold a {model.config.backbone}: {error}") from error
        fresh = sum(not name.startswith("backbone.") for name in model.state_dict())
        warnings.warn(
            f"{where} holds a backbone ({backbone}) only: the other {fresh} parameters of the model are "
            "untrained",
            stacklevel=3,
        )
        return model.eval()
    renamed, _left = our_entries(state)
    settings = read_architecture(renamed, heads=config.get("heads", HEADS))
    settings |= ({"audio_queries": "audio_centric"} if _is_acvis(state) else {}) | config
    with torch.device("meta"):  # names and shapes cost nothing there
        own = build("avism", **settings).state_dict()
    if not set(own) & set(renamed):
        raise ValueError(
            f"{where} is of another model: its entries are called {', '.join(list(state)[:3])}, …; allowed "
            f"are checkpoints of AVISM and ACVIS, and of the backbones {', '.join(FROM_FILE)}"
        )
    try:
        require_same_entries(own, renamed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}{_ancestor(renamed)}") from error
    model = build("avism", **settings)
    model.load_state_dict(renamed)
    return model.eval()


def _refuse_ours(state: Mapping[str, Tensor], where: str) -> None:
    """A model of ours has settings that no shape shows; they stand beside its weights."""
    if any(name.startswith(OUR_TPAVI) for name in state):
        what = "is a TPAVI of ours"
    elif any(name.startswith(OURS) for name in state):
        what = "is already in our names"
    else:
        return
    raise ValueError(
        f"{where} {what}: use models.checkpoints.saved.load_model on the folder of the saved model (weights "
        "by `avis weights` are for train.start_from)"
    )


def _ancestor(renamed: dict[str, Tensor]) -> str:
    """What to do with a checkpoint of the models that AVISM grew out of."""
    if "frame_decoder.query_content.weight" not in renamed or any("audio_" in name for name in renamed):
        return ""
    kind = "VITA" if any(name.startswith("video_module.") for name in renamed) else "Mask2Former"
    return (
        f". It is a {kind}, which hears nothing: to train an AVISM from it, convert it with `avis weights` "
        "and name the result in train.start_from"
    )
