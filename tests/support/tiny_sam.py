"""A SAM 2 video model with random weights, small enough for tests, in the form of published ones."""

from pathlib import Path

SIZE = 128  # pixels to which pictures are scaled
_CHANNELS = 128


def write_sam(folder: Path) -> Path:
    """Save the model; the same bytes each time."""
    import torch
    from transformers import (
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    backbone = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[SIZE, SIZE],
        blocks_per_stage=[1, 1, 1, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        global_attention_blocks=[9],
        window_positional_embedding_background_size=[2, 2],
        window_size_per_stage=[4, 2, 4, 2],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[SIZE // 4] * 2, [SIZE // 8] * 2, [SIZE // 16] * 2],
        fpn_hidden_size=_CHANNELS,
    )
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": _CHANNELS, "image_size": SIZE, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": _CHANNELS,
            "num_attention_heads": 2,
            "mlp_dim": 64,
            "iou_head_hidden_dim": 32,
        },
        image_size=SIZE,
        memory_attention_hidden_size=_CHANNELS,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[SIZE // 16] * 2,
        memory_attention_num_attention_heads=1,
        memory_encoder_hidden_size=_CHANNELS,
        memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=_CHANNELS,
        memory_fuser_embed_dim=_CHANNELS,
        memory_fuser_intermediate_dim=64,
        memory_fuser_num_layers=1,
    )
    Sam2VideoModel(config).save_pretrained(folder)
    sizes = {"size": {"height": SIZE, "width": SIZE}, "mask_size": {"height": SIZE // 4, "width": SIZE // 4}}
    Sam2VideoProcessor(Sam2ImageProcessor(**sizes), Sam2VideoVideoProcessor(**sizes)).save_pretrained(folder)
    return folder
