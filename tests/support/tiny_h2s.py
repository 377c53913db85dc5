"""An H2S small enough for tests."""

from typing import Any

from tests.support.tiny_model import SETTINGS as AVISM

SETTINGS: dict[str, Any] = {
    **{name: value for name, value in AVISM.items() if not name.startswith("audio")},
    "heads": 4,
    "frame_queries": 10,
    "video_queries": 10,
    "presence_head": False,
}


def tiny_h2s(categories: int = 2, seed: int = 0, **changes: Any) -> Any:
    """An untrained H2s of SETTINGS, the same for the same seed."""
    import torch

    from models import build

    torch.manual_seed(seed)
    return build("h2s", categories=categories, **{**SETTINGS, **changes})
