"""What training sees: a few frames of one clip, their sound and the sounding objects.

Letters: B clips, T frames, N instances.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.networks.losses.targets import ClipTargets


@dataclass
class TrainingClip:
    """One training example."""

    name: str  # of the video, for messages
    frames: np.ndarray  # [T, H, W, 3] uint8 RGB
    sound: np.ndarray  # [T, 16000] float32 samples, or [T, 128] float32 features
    labels: np.ndarray  # [N] int64 category index 0..K-1
    masks: np.ndarray  # [N, T, H, W] bool


class ClipSource(Protocol):
    """Examples by number; the same number is always the same example, so a resumed run sees no difference."""

    def __getitem__(self, index: int) -> TrainingClip: ...

    def __len__(self) -> int: ...


@dataclass
class ClipBatch:
    """Examples of one step, padded to one size (a multiple of the stride is the model's business)."""

    names: list[str]
    frames: Tensor  # [B, T, 3, H, W] uint8
    sound: Tensor  # [B, T, 16000] or [B, T, 128] float32
    targets: list[ClipTargets]  # masks [N, T, H', W'], padded as the model pads

    def pin_memory(self) -> "ClipBatch":
        """Called by the loader: from page-locked memory a copy to the GPU runs beside the computation."""
        targets = [ClipTargets(x.labels.pin_memory(), x.masks.pin_memory(), x.present) for x in self.targets]
        return ClipBatch(self.names, self.frames.pin_memory(), self.sound.pin_memory(), targets)

    def to(self, device: torch.device) -> "ClipBatch":
        return ClipBatch(
            self.names,
            self.frames.to(device, non_blocking=True),
            self.sound.to(device, non_blocking=True),
            [target.to(device) for target in self.targets],
        )


def collate(clips: Sequence[TrainingClip]) -> ClipBatch:
    """Pad to the largest height and width; masks also to the stride of 32, as the model pads frames."""
    height = max(clip.frames.shape[1] for clip in clips)
    width = max(clip.frames.shape[2] for clip in clips)
    padded_height, padded_width = height + -height % 32, width + -width % 32
    frames, targets = [], []
    for clip in clips:
        own_height, own_width = clip.frames.shape[1:3]
        picture = torch.from_numpy(np.ascontiguousarray(clip.frames.transpose(0, 3, 1, 2)))
        frames.append(F.pad(picture, (0, width - own_width, 0, height - own_height)))
        masks = torch.from_numpy(np.ascontiguousarray(clip.masks))
        targets.append(
            ClipTargets(
                torch.from_numpy(clip.labels),
                F.pad(masks, (0, padded_width - own_width, 0, padded_height - own_height)),
            )
        )
    sound = torch.from_numpy(np.stack([clip.sound for clip in clips]))
    return ClipBatch([clip.name for clip in clips], torch.stack(frames), sound, targets)
