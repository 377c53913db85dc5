"""A Qwen2.5-Omni of transformers with random weights, small enough for tests, as it is published."""

import string
from pathlib import Path
from typing import Any

_MARKS = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}  # fmt: skip
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif part.type == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_omni(folder: Path, *, ears: bool = True) -> Path:
    """Save a model that takes pictures, and sound if it has ears."""
    for part in build_omni(ears=ears):
        part.save_pretrained(folder)
    return folder


def build_omni(*, ears: bool = True) -> tuple[Any, Any]:
    """The model and its processor; the same weights each time."""
    import torch
    import transformers as t
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    torch.manual_seed(0)
    signs = sorted({*pre_tokenizers.ByteLevel.alphabet(), *string.printable})
    vocabulary = {sign: place for place, sign in enumerate(signs)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = t.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        extra_special_tokens=_MARKS,
    )
    number = {name: words.convert_tokens_to_ids(mark) for name, mark in _MARKS.items()}
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16,
             "num_mel_bins": 8, "output_dim": 16, "n_window": 10}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
              "fullatt_block_indexes": [0]}  # fmt: skip
    text = {"vocab_size": len(words), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                "mrope_section": [2, 1, 1]}}  # fmt: skip
    if ears:
        config = t.Qwen2_5OmniConfig(
            thinker_config={
                "audio_config": audio, "vision_config": vision, "text_config": text,
                "image_token_index": number["image_token"], "audio_token_index": number["audio_token"],
                "video_token_index": number["video_token"],
                "audio_start_token_id": number["audio_bos_token"],
                "audio_end_token_id": number["audio_eos_token"],
                "vision_start_token_id": number["vision_bos_token"],
                "vision_end_token_id": number["vision_eos_token"],
            },
            enable_audio_output=False,
        )  # fmt: skip
        model = t.Qwen2_5OmniForConditionalGeneration(config)
        processor = t.Qwen2_5OmniProcessor(
            t.Qwen2VLImageProcessor(), t.Qwen2VLVideoProcessor(),
            t.WhisperFeatureExtractor(feature_size=8, hop_length=160), words, chat_template=_TEMPLATE,
        )  # fmt: skip
    else:
        config = t.Qwen2_5_VLConfig(
            vision_config=vision, text_config=text, image_token_id=number["image_token"],
            video_token_id=number["video_token"], vision_start_token_id=number["vision_bos_token"],
            vision_end_token_id=number["vision_eos_token"],
        )  # fmt: skip
        model = t.Qwen2_5_VLForConditionalGeneration(config)
        processor = t.Qwen2_5_VLProcessor(
            t.Qwen2VLImageProcessor(), words, t.Qwen2VLVideoProcessor(), chat_template=_TEMPLATE
        )
    return model, processor
