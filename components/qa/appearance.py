"""What an object looks like, wherever it is: the colours under its mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from components.qa.checked_clip import Clip, Crop

_BINS = [6, 10, 10]  # lightness, green to red, blue to yellow
_RANGES = [0, 256, 70, 190, 70, 190]  # of OpenCV's 8 bit Lab; colours are rarely stronger
_LARGE_PX = 640  # wide: from here on half the size shows the same colours


class Colours:
    """Colour histograms of a clip's masks; frames are decoded when they are first asked for."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._frames: dict[int, NDArray[np.uint8] | None] = {}
        self._histograms: dict[tuple[int, int], NDArray[np.float32] | None] = {}

    def distance(self, one: Crop, k: int, other: Crop, j: int) -> float | None:
        """Hellinger distance of two masks' colours on frames k and j, 0 to 1; None without frames."""
        mine, theirs = self._histogram(one, k), self._histogram(other, j)
        if mine is None or theirs is None:
            return None
        return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(mine * theirs).sum()))))

    def _histogram(self, crop: Crop, k: int) -> NDArray[np.float32] | None:
        key = k, id(crop)
        if key not in self._histograms:
            self._histograms[key] = self._measure(crop, k)
        return self._histograms[key]

    def _measure(self, crop: Crop, k: int) -> NDArray[np.float32] | None:
        frame = self._frame(k)
        if frame is None:
            return None
        across, down = frame.shape[1] / self._clip.width, frame.shape[0] / self._clip.height
        left, top = int(crop.x * across), int(crop.y * down)
        w, h = max(1, round(crop.pixels.shape[1] * across)), max(1, round(crop.pixels.shape[0] * down))
        part = frame[top : top + h, left : left + w]
        if not part.size:
            return None
        mask = cv2.resize(crop.pixels.view(np.uint8), part.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        lab = cv2.cvtColor(part, cv2.COLOR_BGR2LAB)
        histogram = cv2.calcHist([lab], [0, 1, 2], mask, _BINS, _RANGES).ravel()
        total = float(histogram.sum())
        return None if total == 0 else (histogram / total).astype(np.float32)

    def _frame(self, k: int) -> NDArray[np.uint8] | None:
        if k not in self._frames:
            path = self._clip.frame_path(k)
            size = self._clip.frame_sizes[k]
            half = size is not None and size[0] >= 2 * _LARGE_PX
            mode = cv2.IMREAD_REDUCED_COLOR_2 if half else cv2.IMREAD_COLOR
            self._frames[k] = None if size is None else cv2.imread(str(path), mode)
        return self._frames[k]
