"""Optimiser and learning rate."""

import math

import torch
from torch import nn

from components.train.params import TrainParams
from models.checkpoints.saved import names_category


def build_optimizer(model: nn.Module, params: TrainParams) -> torch.optim.AdamW:
    """AdamW; the backbone learns slower, norms and embeddings do not decay (as published).

    Heads with a row for each category may learn faster: rows of new categories begin at nothing.
    """
    undecayed = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.BatchNorm3d, nn.Embedding))
        for name, _ in module.named_parameters(recurse=False)
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_share_of_rate(name, params), name in undecayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": params.learning_rate * share,
                "weight_decay": 0.0 if plain else params.weight_decay,
            }
            for (share, plain), parameters in groups.items()
        ],
        fused=True,  # one kernel for all parameters, not one for each
    )


def _share_of_rate(parameter: str, params: TrainParams) -> float:
    if parameter.startswith("backbone."):
        return params.backbone_factor
    return params.class_factor if names_category(parameter) else 1.0


def build_schedule(
    optimizer: torch.optim.Optimizer, params: TrainParams
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up, then steps to a tenth at the milestones, or a cosine to a hundredth."""

    def factor(step: int) -> float:
        if step < params.warmup_steps:
            return (step + 1) / (params.warmup_steps + 1)
        if params.schedule == "step":
            return float(0.1 ** sum(step >= milestone for milestone in params.milestones))
        progress = (step - params.warmup_steps) / max(1, params.steps - params.warmup_steps)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
