"""The keys of the published configuration files, with the published defaults."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.projects.deeplab import add_deeplab_config

# Keys that Detectron2 does not have, with their defaults: Mask2Former's, AVISM's and ACVIS's.
_KEYS: dict[str, Any] = {
    "DATASETS": {"DATASET_RATIO": []},
    "INPUT": {
        "FORMAT": "RGB",
        "DATASET_MAPPER_NAME": "mask_former_semantic",
        "COLOR_AUG_SSD": False,
        "SIZE_DIVISIBILITY": -1,
        "IMAGE_SIZE": 1024,
        "MIN_SCALE": 0.1,
        "MAX_SCALE": 2.0,
        "CROP": {"SINGLE_CATEGORY_MAX_AREA": 1.0},
        "SAMPLING_FRAME_NUM": 2,
        "SAMPLING_FRAME_RANGE": 20,
        "SAMPLING_FRAME_SHUFFLE": False,
        "AUGMENTATIONS": [],
        "PSEUDO": {
            "AUGMENTATIONS": ["rotation"],
            "MIN_SIZE_TRAIN": (480, 512, 544, 576, 608, 640, 672, 704, 736, 768),
            "MAX_SIZE_TRAIN": 768,
            "MIN_SIZE_TRAIN_SAMPLING": "choice_by_clip",
            "CROP": {"ENABLED": False, "TYPE": "absolute_range", "SIZE": (384, 600)},
        },
        "LSJ_AUG": {"ENABLED": False, "IMAGE_SIZE": 1024, "MIN_SCALE": 0.1, "MAX_SCALE": 2.0},
        "AUDIO_DIM": 128,
    },
    "SOLVER": {"WEIGHT_DECAY_EMBED": 0.0, "OPTIMIZER": "ADAMW", "BACKBONE_MULTIPLIER": 0.1},
    "MODEL": {
        "NUM_CLS": 1,
        "MASK_FORMER": {
            "DEEP_SUPERVISION": True,
            "NO_OBJECT_WEIGHT": 0.1,
            "CLASS_WEIGHT": 2.0,
            "DICE_WEIGHT": 5.0,
            "MASK_WEIGHT": 5.0,
            "NHEADS": 8,
            "DROPOUT": 0.0,
            "DIM_FEEDFORWARD": 2048,
            "ENC_LAYERS": 0,
            "DEC_LAYERS": 10,
            "PRE_NORM": False,
            "HIDDEN_DIM": 256,
            "NUM_OBJECT_QUERIES": 100,
            "TRANSFORMER_DECODER_NAME": "AVISMMultiScaleMaskedTransformerDecoder",
            "TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
            "ENFORCE_INPUT_PROJ": False,
            "SIZE_DIVISIBILITY": 32,
            "TRAIN_NUM_POINTS": 12_544,
            "OVERSAMPLE_RATIO": 3.0,
            "IMPORTANCE_SAMPLE_RATIO": 0.75,
            "TEST": {
                "SEMANTIC_ON": False,
                "INSTANCE_ON": True,
                "PANOPTIC_ON": False,
                "OBJECT_MASK_THRESHOLD": 0.8,
                "OVERLAP_THRESHOLD": 0.8,
                "SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE": False,
            },
        },
        "SEM_SEG_HEAD": {
            "MASK_DIM": 256,
            "CONVS_DIM": 256,
            "TRANSFORMER_ENC_LAYERS": 6,
            "PIXEL_DECODER_NAME": "MSDeformAttnPixelDecoder",
            "DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES": ["res3", "res4", "res5"],
            "DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS": 4,
            "DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS": 8,
        },
        "SWIN": {
            "PRETRAIN_IMG_SIZE": 384,
            "PATCH_SIZE": 4,
            "EMBED_DIM": 192,
            "DEPTHS": [2, 2, 18, 2],
            "NUM_HEADS": [6, 12, 24, 48],
            "WINDOW_SIZE": 12,
            "MLP_RATIO": 4.0,
            "QKV_BIAS": True,
            "QK_SCALE": None,
            "DROP_RATE": 0.0,
            "ATTN_DROP_RATE": 0.0,
            "DROP_PATH_RATE": 0.3,
            "APE": False,
            "PATCH_NORM": True,
            "OUT_FEATURES": ["res2", "res3", "res4", "res5"],
            "USE_CHECKPOINT": False,
        },
        "AVISM": {
            "NHEADS": 8,
            "DROPOUT": 0.0,
            "DIM_FEEDFORWARD": 2048,
            "ENC_LAYERS": 6,
            "DEC_LAYERS": 3,
            "ENC_WINDOW_SIZE": 6,
            "PRE_NORM": False,
            "HIDDEN_DIM": 256,
            "NUM_OBJECT_QUERIES": 100,
            "ENFORCE_INPUT_PROJ": True,
            "NO_OBJECT_WEIGHT": 0.1,
            "DEEP_SUPERVISION": True,
            "LAST_LAYER_NUM": 3,
            "MULTI_CLS_ON": True,
            "APPLY_CLS_THRES": 0.01,
            "SIM_USE_CLIP": True,
            "SIM_WEIGHT": 0.5,
            "FREEZE_DETECTOR": False,
            "TEST_RUN_CHUNK_SIZE": 18,
            "TEST_INTERPOLATE_CHUNK_SIZE": 5,
            # ours: features, vggish or none; empty: features for AVISM, vggish for ACVIS, as published
            "AUDIO": "",
            "AUDIO_WEIGHTS": "",  # ours: a file of published VGGish weights to start from
        },
    },
}


def add_avism_config(cfg: CfgNode) -> None:
    """Add the keys of the published files (AVISM, ACVIS, Mask2Former, DeepLab), with the published defaults.

    Call it on ``get_cfg()`` before ``merge_from_file``; after the published ``add_…_config`` it does no harm.
    """
    add_deeplab_config(cfg)
    _merge(cfg, _KEYS)


def _merge(node: CfgNode, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            if key not in node:
                node[key] = CfgNode()
            _merge(node[key], value)
        else:
            node[key] = value
