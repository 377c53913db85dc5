"""Checkpoints for resuming: weights, optimiser, schedule and history; loaded as tensors only."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from components.core.run.files import replace_file
from components.train.averaging import WeightAverage
from components.train.progress import Fitted


@dataclass
class Checkpoint:
    """State of a training after ``step`` steps."""

    step: int
    seconds: float
    history: list[dict[str, float]]
    fingerprint: str
    run_id: str
    state: dict[str, Any]  # model, optimizer, schedule, scaler, average; best, if any: step, FSLA, weights
    validation_s: float = 0.0

    @classmethod
    def of(
        cls,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        scaler: torch.amp.GradScaler,
        average: WeightAverage,
        fingerprint: str,
        run_id: str,
        *,
        steps: int,
        seconds: float,
        history: list[dict[str, float]],
        best: dict[str, Any] | None = None,
        validation_s: float = 0.0,
    ) -> "Checkpoint":
        parts = {
            "model": model,
            "optimizer": optimizer,
            "schedule": schedule,
            "scaler": scaler,
            "average": average,
        }
        state = {name: part.state_dict() for name, part in parts.items()}  # type: ignore[attr-defined]
        if best is not None:
            state["best"] = best
        return cls(steps, seconds, history, fingerprint, run_id, state, validation_s)

    @property
    def fitted(self) -> Fitted:
        """How far the training had come."""
        return Fitted(self.history, self.seconds, self.step, self.state.get("best"), self.validation_s)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What a finished training keeps: the best of compared states, else the last, averaged."""
        kept: dict[str, Tensor] = self.state.get("best", {}).get("weights") or {
            **self.state["model"],
            **self.state["average"],
        }
        return kept

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        scaler: torch.amp.GradScaler,
        average: WeightAverage,
    ) -> None:
        model.load_state_dict(self.state["model"])
        optimizer.load_state_dict(self.state["optimizer"])
        schedule.load_state_dict(self.state["schedule"])
        scaler.load_state_dict(self.state["scaler"])
        average.load_state_dict(self.state["average"])


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write to a temporary name and rename: a kill leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(vars(checkpoint), file)
        except RuntimeError as error:  # torch's "unexpected pos", after what the system said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def load_checkpoint(path: Path | None, fingerprint: str) -> Checkpoint | None:
    """The checkpoint if there is one of the same training.

    One of another training is set aside as ``<name>.old``, so that a setting changed by mistake does not cost
    it; a damaged file is removed.
    """
    if path is None or not path.exists():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (PermissionError, MemoryError):  # which say nothing about the file
        raise
    except Exception:  # what unpickling raises depends on the bytes
        checkpoint = None
    if checkpoint is not None and checkpoint.fingerprint == fingerprint:
        return checkpoint
    if checkpoint is None and path.is_file():
        path.unlink()
        print(f"{path} was damaged: the training starts anew")
        return None
    why = "data, weights or settings changed" if checkpoint else "its checkpoint is no file"
    print(f"the training starts anew, because {why}; what was there is now {_set_aside(path)}")
    return None


def _set_aside(path: Path) -> Path:
    """Rename to ``<name>.old`` in place of a former one."""
    aside = path.with_name(f"{path.name}.old")
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    return path.rename(aside)
