"""Tiny models as somebody else would have released them: their parameters under the published names."""

from pathlib import Path
from typing import Any

import torch

from models.checkpoints.parameter_names import Spelling, criterion_names, published_name


def released_state(model: Any, spelling: Spelling = "avism") -> dict[str, torch.Tensor]:
    """The parameters of an Avism as its program saves them, with the class weights of its losses."""
    centric = model.config.audio_queries == "audio_centric"
    state = {
        published_name(name, spelling, audio_centric=centric): value
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")  # of no published backbone
    }
    weights = torch.ones(model.config.categories + 1)
    return state | dict.fromkeys(criterion_names(spelling), weights)


def write_released(path: Path, model: Any, spelling: Spelling = "avism") -> Path:
    """A `model_final.pth` as Detectron2's checkpointer writes it."""
    torch.save({"model": released_state(model, spelling), "iteration": 47_999}, path)
    return path
