"""The networks. ``build(name, **config)`` makes one, ``load_published(checkpoint)`` a released one.

Nothing here imports another folder of ours.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.checkpoints.published import load_published
    from models.networks.registry import build

__all__ = ["build", "load_published"]


def __getattr__(name: str) -> Any:
    # Found when asked for: torch takes seconds to import; who reads `models.audio` alone needs no network.
    if name == "build":
        from models.networks.registry import build

        return build
    if name == "load_published":
        from models.checkpoints.published import load_published

        return load_published
    if name == "load":  # what people try first
        raise AttributeError("a model for videos: from components.core.video import load (docs/predict.md)")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
