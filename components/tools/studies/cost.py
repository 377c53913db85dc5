"""What a network costs: multiplications and additions a frame, counted on the meta device, without memory."""

import json
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from models.audio.vggish import EMBEDDING_CHANNELS
from models.networks.registry import build

_FRAMES = 12  # two windows of AVISM
_ASPECT = 16 / 9
_LOG_MEL = (96, 64)  # of a second


def flops_per_frame(config: Path) -> float:
    """Of a trained model, by its config.json: convolutions, products of matrices and attention.

    A multiplication and the addition after it count as two. Frames are 16:9 at the model's short side; each
    has a second of sound, whose spectrum is not counted.
    """
    card = json.loads(config.read_text(encoding="utf-8"))
    settings = {
        **card["config"],
        "backbone_pretrained": False,
        "backbone_weights": None,
        "audio_weights": None,
    }
    frames = int(settings.get("clip_frames", _FRAMES))
    height = int(card["short_side_px"])
    with torch.device("meta"):
        model = build(card["name"], **settings).eval().requires_grad_(False)
        hear, model.audio_encoder = (
            model.audio_encoder,
            None,
        )  # before it autocast is asked, which has no meta
        pictures = torch.empty(1, frames, 3, height, round(height * _ASPECT))
        with FlopCounterMode(display=False) as counter:
            if hear is not None:
                hear(torch.empty(frames, *_LOG_MEL))
            sources = (settings["audio_sources"],) if "audio_sources" in settings else ()
            model(pictures, torch.empty(1, frames, *sources, EMBEDDING_CHANNELS))
    return float(counter.get_total_flops()) / frames
