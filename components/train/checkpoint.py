"""Checkpoints for resuming: weights, optimiser, schedule and history; loaded as tensors only."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from components.core.files import replace_file


@dataclass
class Checkpoint:
    """State of a training after ``step`` steps."""

    step: int
    seconds: float
    history: list[dict[str, float]]
    fingerprint: str
    run_id: str
    state: dict[str, Any]  # model, optimizer, schedule, scaler

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        scaler: torch.amp.GradScaler,
        fingerprint: str,
        run_id: str,
        *,
        steps: int,
        seconds: float,
        history: list[dict[str, float]],
    ) -> "Checkpoint":
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
        state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
        return cls(steps, seconds, history, fingerprint, run_id, state)

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        scaler: torch.amp.GradScaler,
    ) -> None:
        model.load_state_dict(self.state["model"])
        optimizer.load_state_dict(self.state["optimizer"])
        schedule.load_state_dict(self.state["schedule"])
        scaler.load_state_dict(self.state["scaler"])


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write to a temporary name and rename: a kill leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        torch.save(vars(checkpoint), temporary)


def load_checkpoint(path: Path | None, fingerprint: str) -> Checkpoint | None:
    """The checkpoint if there is one of the same training; any other, or a damaged one, is removed."""
    if path is None or not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, TypeError, UnpicklingError):
        checkpoint = None
    if checkpoint is None or checkpoint.fingerprint != fingerprint:
        path.unlink()
        return None
    return checkpoint
