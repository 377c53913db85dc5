"""What a published configuration file says of the network and its losses, in our settings."""

from functools import reduce
from typing import Any

from detectron2.config import CfgNode

from models.networks.backbones import BACKBONE_FILES
from models.networks.losses.criterion import LossWeights

# What our network does in one way only. A file that asks for another is refused, never quietly changed.
_FIXED: dict[str, Any] = {
    "INPUT.FORMAT": "RGB",
    "INPUT.AUDIO_DIM": 128,
    "MODEL.MASK_FORMER.DEEP_SUPERVISION": True,
    "MODEL.MASK_FORMER.DROPOUT": 0.0,
    "MODEL.MASK_FORMER.ENC_LAYERS": 0,
    "MODEL.MASK_FORMER.PRE_NORM": False,
    "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ": False,
    "MODEL.MASK_FORMER.SIZE_DIVISIBILITY": 32,
    "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
    "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
    "MODEL.SEM_SEG_HEAD.NORM": "GN",
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": 4,
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.AVISM.DEEP_SUPERVISION": True,
    "MODEL.AVISM.DROPOUT": 0.0,
    "MODEL.AVISM.PRE_NORM": False,
    "MODEL.AVISM.SIM_USE_CLIP": True,
}
_FIXED_RESNET: dict[str, Any] = {
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.RESNETS.NUM_GROUPS": 1,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, False, False],
}
_FIXED_SWIN: dict[str, Any] = {
    "MODEL.SWIN.PRETRAIN_IMG_SIZE": 384,
    "MODEL.SWIN.PATCH_SIZE": 4,
    "MODEL.SWIN.DEPTHS": [2, 2, 18, 2],
    "MODEL.SWIN.WINDOW_SIZE": 12,
    "MODEL.SWIN.MLP_RATIO": 4.0,
    "MODEL.SWIN.QKV_BIAS": True,
    "MODEL.SWIN.QK_SCALE": None,
    "MODEL.SWIN.DROP_RATE": 0.0,
    "MODEL.SWIN.ATTN_DROP_RATE": 0.0,
    "MODEL.SWIN.DROP_PATH_RATE": 0.3,
    "MODEL.SWIN.APE": False,
    "MODEL.SWIN.PATCH_NORM": True,
}
_SWINS = {128: ("swin_base", [4, 8, 16, 32]), 192: ("swin_large", [6, 12, 24, 48])}
# Keys of the published files that name one thing twice.
_SAME: tuple[tuple[str, ...], ...] = (
    (
        "MODEL.MASK_FORMER.HIDDEN_DIM",
        "MODEL.AVISM.HIDDEN_DIM",
        "MODEL.SEM_SEG_HEAD.CONVS_DIM",
        "MODEL.SEM_SEG_HEAD.MASK_DIM",
    ),
    (
        "MODEL.MASK_FORMER.NHEADS",
        "MODEL.AVISM.NHEADS",
        "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS",
    ),
    ("MODEL.MASK_FORMER.DIM_FEEDFORWARD", "MODEL.AVISM.DIM_FEEDFORWARD"),
    ("MODEL.MASK_FORMER.NO_OBJECT_WEIGHT", "MODEL.AVISM.NO_OBJECT_WEIGHT"),
)


def network_settings(cfg: CfgNode) -> dict[str, Any]:
    """Settings for ``models.build("avism", …)``, those aside that the decoder's name stands for.

    Raises:
        ValueError: keys have values that our network cannot do; they are listed with what is allowed.
    """
    backbone, fixed = _backbone(cfg)
    problems = [
        f"{key} is {_value(cfg, key)!r}, allowed: {allowed!r}"
        for key, allowed in (_FIXED | fixed).items()
        if _plain(_value(cfg, key)) != _plain(allowed)
    ]
    for first, *others in _SAME:
        problems += [
            f"{key} is {_value(cfg, key)!r}, allowed: {_value(cfg, first)!r} as in {first}"
            for key in others
            if _value(cfg, key) != _value(cfg, first)
        ]
    former, avism, head = cfg.MODEL.MASK_FORMER, cfg.MODEL.AVISM, cfg.MODEL.SEM_SEG_HEAD
    at_least_one = {
        "MODEL.AVISM.ENC_WINDOW_SIZE": avism.ENC_WINDOW_SIZE,
        "MODEL.AVISM.LAST_LAYER_NUM": avism.LAST_LAYER_NUM,
        "MODEL.MASK_FORMER.DEC_LAYERS": former.DEC_LAYERS - 1,
    }
    problems += [f"{key} is too small" for key, value in at_least_one.items() if value < 1]
    if problems:
        raise ValueError("the configuration does not fit our AVISM: " + "; ".join(problems))
    return {
        "categories": head.NUM_CLASSES,
        "backbone": backbone,
        "backbone_frozen_parts": cfg.MODEL.BACKBONE.FREEZE_AT,
        "channels": former.HIDDEN_DIM,
        "heads": former.NHEADS,
        "points": head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS,
        "pixel_layers": head.TRANSFORMER_ENC_LAYERS,
        "frame_queries": former.NUM_OBJECT_QUERIES,
        "frame_layers": former.DEC_LAYERS - 1,  # the first prediction is made before any layer
        "video_queries": avism.NUM_OBJECT_QUERIES,
        "video_encoder_layers": avism.ENC_LAYERS,
        "video_decoder_layers": avism.DEC_LAYERS,
        "hidden": former.DIM_FEEDFORWARD,
        "window": avism.ENC_WINDOW_SIZE,
        "video_supervision": avism.LAST_LAYER_NUM,
        "audio": audio_kind(cfg),
        "audio_weights": avism.AUDIO_WEIGHTS or None,
        # the published ACVIS whitens and rounds what its VGGish says
        "audio_postprocess": cfg.MODEL.META_ARCHITECTURE.startswith("ACVIS"),
    }


def audio_kind(cfg: CfgNode) -> str:
    """How the model of this configuration hears: features, vggish or none."""
    kind: str = cfg.MODEL.AVISM.AUDIO
    if kind:
        return kind
    return "vggish" if cfg.MODEL.META_ARCHITECTURE.startswith("ACVIS") else "features"


def loss_weights(cfg: CfgNode) -> LossWeights:
    """The weights of the losses and the points at which masks are compared.

    ``SIM_WEIGHT`` only switches: the published program never multiplies by it (its weight is kept under
    another name than its loss), so above zero the similarity loss counts in full, here too.
    """
    former = cfg.MODEL.MASK_FORMER
    return LossWeights(
        classification=former.CLASS_WEIGHT,
        mask=former.MASK_WEIGHT,
        dice=former.DICE_WEIGHT,
        no_object=former.NO_OBJECT_WEIGHT,
        similarity=float(cfg.MODEL.AVISM.SIM_WEIGHT > 0),
        points=former.TRAIN_NUM_POINTS,
        oversample=former.OVERSAMPLE_RATIO,
        importance=former.IMPORTANCE_SAMPLE_RATIO,
    )


def _backbone(cfg: CfgNode) -> tuple[str, dict[str, Any]]:
    """Our name of the backbone, and what the file must say about it."""
    name = cfg.MODEL.BACKBONE.NAME
    if name == "build_resnet_backbone":
        return "resnet50", _FIXED_RESNET
    if name == "D2SwinTransformer":
        width = cfg.MODEL.SWIN.EMBED_DIM
        if width not in _SWINS:
            raise ValueError(f"MODEL.SWIN.EMBED_DIM is {width}, allowed: 128 (Swin-B), 192 (Swin-L)")
        ours, heads = _SWINS[width]
        return ours, _FIXED_SWIN | {"MODEL.SWIN.NUM_HEADS": heads}
    if name in BACKBONE_FILES:
        return name, {}
    allowed = ", ".join(["build_resnet_backbone", "D2SwinTransformer", *BACKBONE_FILES])
    raise ValueError(f"MODEL.BACKBONE.NAME is {name!r}, allowed: {allowed}")


def _value(cfg: CfgNode, key: str) -> Any:
    return reduce(getattr, key.split("."), cfg)


def _plain(value: Any) -> Any:
    """Tuples and lists are the same in a configuration."""
    return list(value) if isinstance(value, tuple) else value
