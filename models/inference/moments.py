"""The moments of a clip, one after the other and in batches: a frame with its second of sound.

Letters: t frames of a chunk, H and W their size.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Moment = tuple[NDArray[np.uint8], NDArray[np.float32] | None]
"""A frame, RGB [H, W, 3], and its second of sound: [16000] samples, [128] features, or None (deaf)."""


class ClipError(ValueError):
    """The moments of a clip do not fit together, or the network makes nothing of them."""


def chunks(
    moments: Iterable[Moment], most: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Moments in batches of ``most``, the last one shorter: frames [t, 3, H, W], their sound [t, …] or None.

    Raises:
        ClipError: frames of different sizes, sound of some frames only or not finite; names the frame.
    """
    chunk: list[Moment] = []
    first: Moment | None = None
    for number, moment in enumerate(moments):
        first = first or moment
        _check(moment, first, number)
        chunk.append(moment)
        if len(chunk) == most:
            yield _batch(chunk, device)
            chunk = []
    if chunk:
        yield _batch(chunk, device)


def _batch(chunk: list[Moment], device: torch.device) -> tuple[Tensor, Tensor | None]:
    frames = torch.from_numpy(np.stack([frame for frame, _ in chunk])).permute(0, 3, 1, 2)  # [t, 3, H, W]
    frames = frames.to(device)
    sounds = [sound for _, sound in chunk if sound is not None]
    return frames, torch.from_numpy(np.stack(sounds)).to(device) if sounds else None


def _check(moment: Moment, first: Moment, number: int) -> None:
    """Raises ClipError when a moment does not go together with the first one."""
    (frame, sound), (first_frame, first_sound) = moment, first
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ClipError(f"frame {number} is {frame.dtype} {list(frame.shape)}, not uint8 [H, W, 3]")
    if frame.shape != first_frame.shape:
        (height, width), (was_height, was_width) = frame.shape[:2], first_frame.shape[:2]
        raise ClipError(
            f"frame {number} is {width}x{height} and the ones before it are {was_width}x{was_height}: "
            "all frames of a clip must have one size"
        )
    if (sound is None) != (first_sound is None) or (
        sound is not None and first_sound is not None and sound.shape != first_sound.shape
    ):
        shapes = ["none" if x is None else list(x.shape) for x in (sound, first_sound)]
        raise ClipError(f"the sound of frame {number} is {shapes[0]}, that of the ones before {shapes[1]}")
    if sound is not None and not np.isfinite(sound).all():
        raise ClipError(f"the sound of frame {number} holds values that are no finite numbers")
