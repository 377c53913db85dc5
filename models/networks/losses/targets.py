"""What there is to find in clips, and the counts by which losses are divided.

Letters: N instances, T frames.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor


@dataclass
class ClipTargets:
    """What there is to find in one clip."""

    labels: Tensor  # [N] category index 0..K-1
    masks: Tensor  # [N, T, H, W] bool, the padded training frame; empty where the object is silent
    # [N, T] bool on the CPU: which instance sounds and shows in which frame. Known to the loader, so that
    # no step waits for the GPU to count them.
    present: Tensor = field(default_factory=lambda: torch.empty(0))

    def __post_init__(self) -> None:
        if self.present.shape != self.masks.shape[:2]:
            self.present = self.masks.flatten(2).any(2).cpu()

    @property
    def frames(self) -> int:
        return int(self.masks.shape[1])

    def in_frame(self, frame: int) -> "ClipTargets":
        """The instances of one frame, as a clip of one frame."""
        there = self.present[:, frame].nonzero()[:, 0]
        index = there.to(self.labels.device, non_blocking=True)
        return ClipTargets(
            self.labels[index], self.masks[index, frame : frame + 1], self.present[there, frame : frame + 1]
        )

    def to(self, device: torch.device) -> "ClipTargets":
        return ClipTargets(
            self.labels.to(device, non_blocking=True), self.masks.to(device, non_blocking=True), self.present
        )


class Counts(NamedTuple):
    """What the losses of a step are divided by; all of it follows from the targets alone.

    Counts of several batches add up (gradient accumulation), and `shared` spreads them over processes, so
    that the sum of all gradients is that of one batch with all clips.
    """

    frame_weight: float  # class weights of all frame queries, "no object" counting less
    frame_masks: float
    video_weight: float
    video_masks: float
    pairs: float  # of similar or dissimilar queries
    presences: float  # instances times frames
    frames: float
    ordinals: float  # terms of the counting loss

    @classmethod
    def of(
        cls,
        targets: list[ClipTargets],
        *,
        frame_queries: int,
        video_queries: int,
        passes: int,
        no_object: float,
        count_most: int = 0,
    ) -> "Counts":
        """Count a batch.

        Args:
            targets: one per clip.
            frame_queries: queries of a frame.
            video_queries: queries of a clip.
            passes: frame-decoder layers that each go through the video module.
            no_object: weight of "no object" in the class loss.
            count_most: sources up to which the counting loss counts; 0: there is none.
        """
        counts = [0.0] * len(cls._fields)
        for target in targets:
            instances = int(target.present.shape[0])
            seen = target.present.sum(0).tolist()  # instances of each frame
            found = [min(count, frame_queries) for count in seen]
            matched = min(instances, video_queries)
            alike = sum(found) + matched
            added = (
                sum(count + no_object * (frame_queries - count) for count in found),
                sum(seen),
                passes * (matched + no_object * (video_queries - matched)),
                passes * instances,
                passes * alike * alike,
                passes * matched * target.frames,
                target.frames,
                sum(count >= least for count in seen for least in range(count_most)),
            )
            counts = [a + b for a, b in zip(counts, added, strict=True)]
        return cls(*counts)

    def or_one(self) -> "Counts":
        """To divide by: only a count of nothing becomes 1; one process's part of a count may be less."""
        return Counts(*(count or 1.0 for count in self))

    def shared(self) -> "Counts":
        """Summed over all processes of torch.distributed and divided by their number.

        The mean over processes of (sum of mine / shared count) is (sum of all / count of all). The counts
        travel on the CPU (the process group needs gloo beside nccl): a GPU would make every step wait.
        """
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return self
        summed = torch.tensor(self, dtype=torch.float64)
        torch.distributed.all_reduce(summed)
        return Counts(*(summed / torch.distributed.get_world_size()).tolist())
