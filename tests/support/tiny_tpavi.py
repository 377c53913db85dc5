"""A TPAVI model small enough for tests."""

from pathlib import Path
from typing import Any

from components.core.run.files import write_json
from tests.support.tiny_model import SETTINGS as AVISM
from tests.support.tiny_model import tiny_card

SETTINGS: dict[str, Any] = {
    **{name: value for name, value in AVISM.items() if name.startswith(("backbone", "pixel"))},
    **{name: AVISM[name] for name in ("audio", "audio_channels", "audio_hidden", "audio_normalise")},
    **{name: AVISM[name] for name in ("channels", "heads", "points", "hidden")},
    "instance_queries": 5,
    "decoder_layers": 3,
    "clip_frames": 2,
}


def tiny_tpavi(categories: int = 2, seed: int = 0, **changes: Any) -> Any:
    """An untrained Tpavi of SETTINGS, the same for the same seed; its fusions do hear."""
    import torch

    from models import build

    torch.manual_seed(seed)
    model = build("tpavi", categories=categories, **{**SETTINGS, **changes})
    for fusion in model.fusions:
        torch.nn.init.normal_(fusion.W_z[1].weight)
    return model


def write_tpavi_finder(folder: Path, **changes: Any) -> Path:
    """A saved model that covers every frame with every query, whatever it sees; classes as they fall."""
    import torch

    from models.checkpoints.saved import save_model

    settings = {**SETTINGS, **changes}
    model = tiny_tpavi(**settings)
    for layer in (model.pixel_decoder.mask_features, model.clip_decoder.mask_head.layers[-1]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    torch.nn.init.constant_(model.clip_decoder.class_head.bias[-1:], -5)  # every query is an object
    folder.mkdir(parents=True)
    save_model(folder, model, tiny_card("tpavi", settings))
    write_json(folder / "run.json", {"run_id": "pending-test"})
    return folder
