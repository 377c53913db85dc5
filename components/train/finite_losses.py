"""Losses that are no number: found without making the GPU wait in every step, and traced to their clips."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.train.processes.distributed import Team

STEPS_UNCHECKED_ON_A_GPU = 16
NAMES_SHOWN = 8


@dataclass
class _Step:
    number: int
    names: list[list[str]]  # of each part
    examples: list[list[int]]
    losses: list[Tensor]  # of each part
    norm: Tensor  # of the gradient


@dataclass
class FiniteWatch:
    """Keeps the losses of the last steps where they are until it is time to look at them.

    Call ``check`` with ``now`` before anything is saved: so no weights are ever kept that a gradient which
    is no number has touched.
    """

    team: Team
    check_gradient: bool  # not in fp16: there the scaler skips a gradient that overflows
    failures: Path | None  # where the clips are written
    waiting: list[_Step] = field(default_factory=list)

    def note(
        self,
        step: int,
        names: list[list[str]],
        examples: list[list[int]],
        losses: list[Tensor],
        norm: Tensor,
    ) -> None:
        """Remember a step of this process."""
        self.waiting.append(_Step(step, names, examples, [loss.detach() for loss in losses], norm.detach()))

    def check(self, *, now: bool) -> None:
        """Look, if it is time to. All processes call this in the same steps.

        Raises:
            AvisError: a loss or a gradient was not finite; in the first process. Its clips are in
                ``failures``, and named.
            Stopped: the same, in the others.
        """
        due = self.team.device.type == "cpu" or len(self.waiting) >= STEPS_UNCHECKED_ON_A_GPU
        if not (now or due) or not self.waiting:
            return
        parts = len(self.waiting[0].losses)
        values = torch.stack([x for step in self.waiting for x in (*step.losses, step.norm)])
        rows = values.float().cpu().view(len(self.waiting), parts + 1)
        finite = torch.isfinite(rows if self.check_gradient else rows[:, :parts]).all(1)
        bad = self.team.sum([float(not good) for good in finite.tolist()])
        if any(bad):
            index = next(place for place, count in enumerate(bad) if count)
            self._report(self.waiting[index], rows[index].tolist())
        self.waiting.clear()

    def _report(self, step: _Step, values: list[float]) -> None:
        *losses, norm = values
        own = [
            {"clip": name, "example": example, "process": self.team.rank, "loss_of_its_part": str(loss)}
            for names, examples, loss in zip(step.names, step.examples, losses, strict=True)
            for name, example in zip(names, examples, strict=True)
        ]
        clips = [clip for process in self.team.gather(own) for clip in process]
        loss = self.team.sum([sum(losses)])[0] / self.team.size
        suspects = [clip for clip in clips if not math.isfinite(float(clip["loss_of_its_part"]))] or clips
        fix = "Look at these clips, or lower train.learning_rate."
        if self.team.leads and self.failures is not None:
            write_json(
                self.failures,
                {"step": step.number, "loss": str(loss), "gradient_norm": str(norm), "clips": clips},
            )
            fix = f"{self.failures} lists all of the step. Look at them, or lower train.learning_rate."
        shown = ", ".join(clip["clip"] for clip in suspects[:NAMES_SHOWN])
        more = f" and {len(suspects) - NAMES_SHOWN} more" if len(suspects) > NAMES_SHOWN else ""
        self.team.all_or_none(
            AvisError(
                f"the loss became {loss:g}, its gradient {norm:g}, at step {step.number}",
                where=f"clips {shown}{more}",
                fix=fix,
            )
        )
