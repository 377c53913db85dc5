"""Anybody's model on anybody's video: models from files, a video's moments, tracks of any length.

Its door for Python is ``from components.core.video import load``, then ``load(model).track(video)``. It
is here and not in ``models``, which uses nothing of ours: a video is read by core/media, whose clocks,
channels and rotations a second reader in ``models`` would have to have once more.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.core.video.tracker import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # found when asked for: torch takes seconds to import, and the stages import modules of this package
    if name == "load":
        from components.core.video.tracker import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
