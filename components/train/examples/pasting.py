"""Sounding objects of one clip put into another, with their sound: more scenes than there are clips.

Copy-paste (Ghiasi et al., CVPR 2021) for pictures that sound: what is pasted is heard too, so that picture
and sound still belong together.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from components.train.examples.batch import TrainingClip

_SMALLEST_SCALE = 0.5  # of the largest at which the pasted clip fits into the other


def paste(onto: TrainingClip, other: TrainingClip, chance: np.random.Generator) -> TrainingClip:
    """The clip with the other's objects before its own, at one random place, size and side for all frames.

    Both have as many frames, and sound as samples: the other's whole sound is added. Objects that are covered
    in every frame are left out.
    """
    height, width = onto.frames.shape[1:3]
    fits = min(height / other.frames.shape[1], width / other.frames.shape[2])
    scale = fits * chance.uniform(_SMALLEST_SCALE, 1)
    rows, columns = (max(1, round(side * scale)) for side in other.frames.shape[1:3])
    top, left = int(chance.integers(height - rows + 1)), int(chance.integers(width - columns + 1))
    mirror = slice(None, None, -1 if chance.random() < 0.5 else 1)
    window = (slice(top, top + rows), slice(left, left + columns))

    frames, masks = onto.frames.copy(), onto.masks.copy()
    pasted = np.zeros((len(other.masks), *onto.frames.shape[:3]), bool)
    for t, frame in enumerate(other.frames):
        for row, mask in enumerate(other.masks[:, t]):
            small = cv2.resize(mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST) > 0
            pasted[(row, t, *window)] = small[:, mirror]
        covered = np.asarray(pasted[:, t].any(0))
        small_frame = cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA)[:, mirror]
        frames[(t, *window)][covered[window]] = small_frame[covered[window]]
        masks[:, t] &= ~covered
    every: NDArray[np.bool_] = np.concatenate([masks, pasted])
    left_over = every.any((1, 2, 3))
    return TrainingClip(
        name=f"{onto.name} with objects of {other.name}",
        frames=frames,
        sound=np.clip(onto.sound + other.sound, -1, 1),
        labels=np.concatenate([onto.labels, other.labels])[left_over],
        masks=every[left_over],
    )
