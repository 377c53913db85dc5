"""How much work a source may ask for: a few bytes must not cost hours."""

from pathlib import Path
from typing import Any

import numpy as np

from components.core.run.errors import AvisError

_FREE_S = 10.0  # ten million frames of tracks: 50 objects in two hours of 25 frames a second
_A_MEGABYTE_S = 10.0
# What things take on one core, from reading to writing, in seconds: measured, and rounded up.
FRAME_S = 1e-6  # of a video or of a track, without a mask
_MASK_S = 1e-4
PIXEL_S = 8e-9  # of a mask that is read pixel by pixel
_OUTLINE_S = 5e-8  # a pixel of a polygon's outline
_SHORT_PX = 1000  # a polygon within so few pixels takes less than its points may


class Effort:
    """What a source may still ask for: more than all real ones do, and in proportion to its size.

    Args:
        source: a file, or a folder, whose files count together.
    """

    def __init__(self, source: Path) -> None:
        files = [source] if source.is_file() else (file for file in source.rglob("*") if file.is_file())
        self._bytes = sum(file.stat().st_size for file in files)
        self._left_s = _FREE_S + self._bytes / 1e6 * _A_MEGABYTE_S

    def spend(self, seconds: float, what: str, where: str) -> None:
        """Take off what comes next; raises AvisError, naming `what`, where that is too much."""
        self._left_s -= seconds
        if self._left_s < 0:
            raise AvisError(
                f"{what} is more work than a source of {self._bytes / 1e6:.3g} MB may ask for, which is "
                f"{_FREE_S:g} s and {_A_MEGABYTE_S:g} s a MB",
                where=where,
                fix="Is a number of frames or a size wrong? Else give each video a source of its own.",
            )

    def spend_mask(self, segmentation: Any, where: str) -> None:
        """As `spend`, for a checked segmentation."""
        seconds = _MASK_S
        if isinstance(segmentation, list):
            for polygon in segmentation:
                if max(polygon) - min(polygon) > _SHORT_PX:
                    corners = np.asarray(polygon).reshape(-1, 2)
                    steps = np.abs(corners - np.roll(corners, 1, axis=0)).max(1).sum()
                    seconds += float(steps) * _OUTLINE_S
        self.spend(seconds, "This mask, with all that stands before it,", where)
