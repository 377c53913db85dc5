"""Which examples a process sees in which step, and the loader that fetches them ahead of time.

Example numbers go by step, then by part, then by process, so whatever the number of processes and parts, a
step has the same examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from components.core.run.errors import AvisError
from components.train.examples.batch import ClipBatch, ClipSource, TrainingClip, collate
from components.train.params import TrainParams, cannot_share
from components.train.processes.distributed import Team

BATCHES_AHEAD = 4  # that each worker of the loader prepares


@dataclass(frozen=True)
class Share:
    """A process's part of the examples."""

    clips_per_step: int
    parts: int
    rank: int
    processes: int

    @classmethod
    def of(cls, params: TrainParams, team: Team) -> "Share":
        """Raises AvisError if the clips of a step do not divide evenly."""
        if params.clips_per_step % (params.accumulate * team.size):
            raise AvisError(
                cannot_share(params.clips_per_step, team.size, params.accumulate),
                where="params.yaml, train",
                fix="Change the number of processes, or clips_per_step.",
            )
        return cls(params.clips_per_step, params.accumulate, team.rank, team.size)

    @property
    def clips(self) -> int:
        """In each part of this process."""
        return self.clips_per_step // (self.parts * self.processes)

    def numbers(self, step: int, part: int) -> list[int]:
        """The examples of one part of a step."""
        first = step * self.clips_per_step + (part * self.processes + self.rank) * self.clips
        return list(range(first, first + self.clips))


class _Parts(Sampler[list[int]]):
    """Example numbers, part after part, from the first step to do on; the source itself shuffles."""

    def __init__(self, share: Share, steps: range) -> None:
        self.share, self.steps = share, steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            for part in range(self.share.parts):
                yield self.share.numbers(step, part)

    def __len__(self) -> int:
        return len(self.steps) * self.share.parts


class _Guarded(Dataset[TrainingClip | AvisError]):
    """Hands an AvisError over as a value: raised in a loader's worker it would arrive as a traceback."""

    def __init__(self, source: ClipSource) -> None:
        self.source = source

    def __getitem__(self, index: int) -> TrainingClip | AvisError:
        try:
            return self.source[index]
        except AvisError as error:
            return error


def _collate(clips: list[TrainingClip | AvisError]) -> ClipBatch | AvisError:
    good = [clip for clip in clips if isinstance(clip, TrainingClip)]
    errors = [clip for clip in clips if isinstance(clip, AvisError)]
    return errors[0] if errors else collate(good)


def steps_of_parts(
    source: ClipSource, share: Share, steps: range, params: TrainParams, device: torch.device
) -> Iterator[list[ClipBatch] | AvisError]:
    """For each step this process's parts, on the CPU (page-locked for a GPU); or why there is none."""
    workers = params.loader_workers
    loader: DataLoader[TrainingClip | AvisError] = DataLoader(
        _Guarded(source),
        batch_sampler=_Parts(share, steps),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        prefetch_factor=BATCHES_AHEAD if workers else None,
        timeout=params.process_timeout_s if workers else 0,
    )
    batches = iter(loader)
    for _ in steps:
        parts: list[ClipBatch] = []
        for _ in range(share.parts):
            batch = _next(batches)
            if isinstance(batch, AvisError):
                yield batch
                return
            parts.append(batch)
        yield parts


def _next(batches: Iterator[ClipBatch | AvisError]) -> ClipBatch | AvisError:
    try:
        return next(batches)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):
            raise
        return AvisError(  # a worker is silent, or was killed
            f"the examples do not come: {str(error).split('. ')[0]}",
            where="params.yaml, train.loader_workers",
            fix="Use fewer workers if memory is short; see whether the disk answers.",
        )
