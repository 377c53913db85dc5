"""Training and evaluation with Detectron2's trainer, as the published program does it."""

import functools
import itertools
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.engine import DefaultTrainer, defaults
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.solver.build import maybe_add_gradient_clipping, reduce_param_groups
from detectron2.utils import comm
from pycocotools import mask as coco_mask
from torch import nn

from models.detectron2.clip_mapper import ClipMapper
from models.detectron2.model import AvismArchitecture

RESULTS = "results.json"
# An ACVIS trains its VGGish like its backbone: its published name is audio_backbone.
_BACKBONES = ("backbone.", "audio_encoder.")
_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._BatchNorm)

_log = logging.getLogger(__name__)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW (or SGD): the backbone at ``BACKBONE_MULTIPLIER`` of the rate, norms and embeddings undecayed.

    ``CLIP_TYPE: full_model`` clips the norm of all gradients together, other types are Detectron2's.

    Raises:
        ValueError: unknown ``SOLVER.OPTIMIZER``.
    """
    solver = cfg.SOLVER
    groups = _parameter_groups(cfg, model)
    optimizer: torch.optim.Optimizer
    if solver.OPTIMIZER == "ADAMW":
        optimizer = torch.optim.AdamW(groups, lr=solver.BASE_LR)
    elif solver.OPTIMIZER == "SGD":
        optimizer = torch.optim.SGD(groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM)
    else:
        raise ValueError(f"SOLVER.OPTIMIZER is {solver.OPTIMIZER!r}, allowed: ADAMW, SGD")
    clipping = solver.CLIP_GRADIENTS
    if clipping.CLIP_TYPE != "full_model":
        return maybe_add_gradient_clipping(cfg, optimizer)
    if clipping.ENABLED and clipping.CLIP_VALUE > 0:

        def clip(own: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
            everything = itertools.chain.from_iterable(group["params"] for group in own.param_groups)
            torch.nn.utils.clip_grad_norm_(everything, clipping.CLIP_VALUE, clipping.NORM_TYPE)

        optimizer.register_step_pre_hook(clip)
    return optimizer


def _parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    solver = cfg.SOLVER
    decay: dict[nn.Parameter, float] = {}
    for module in model.modules():
        if isinstance(module, _NORMS):
            decay |= dict.fromkeys(module.parameters(recurse=False), solver.WEIGHT_DECAY_NORM)
        elif isinstance(module, nn.Embedding):
            decay |= dict.fromkeys(module.parameters(recurse=False), solver.WEIGHT_DECAY_EMBED)
    groups = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            slower = name.removeprefix("network.").startswith(_BACKBONES)
            biased = name.endswith("relative_position_bias_table")  # Swin's, undecayed as published
            groups.append(
                {
                    "params": [parameter],
                    "lr": solver.BASE_LR * (solver.BACKBONE_MULTIPLIER if slower else 1.0),
                    "weight_decay": 0.0 if biased else decay.get(parameter, solver.WEIGHT_DECAY),
                }
            )
    return reduce_param_groups(groups)


def build_train_loader(cfg: CfgNode) -> Any:
    """Detectron2's training loader over clips of ``DATASETS.TRAIN``.

    Raises:
        ValueError: the datasets have another number of categories than the model.
    """
    dataset = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    for name in cfg.DATASETS.TRAIN:
        count = len(MetadataCatalog.get(name).thing_classes)
        if count != cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES:
            raise ValueError(
                f"dataset {name!r} has {count} categories and MODEL.SEM_SEG_HEAD.NUM_CLASSES is "
                f"{cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES}; set it to {count}"
            )
    return build_detection_train_loader(cfg, dataset=dataset, mapper=ClipMapper(cfg, is_train=True))


def build_test_loader(cfg: CfgNode, dataset_name: str) -> Any:
    """Detectron2's test loader: whole videos, one after the other."""
    return build_detection_test_loader(cfg, dataset_name, mapper=ClipMapper(cfg, is_train=False))


class AvismTrainer(DefaultTrainer):
    """Detectron2's DefaultTrainer with the published optimizer, clips as data, and results files.

    ``test`` writes ``OUTPUT_DIR/inference/<dataset>/results.json`` in the official format.
    """

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return ResultsWriter(dataset_name, Path(cfg.OUTPUT_DIR) / "inference" / dataset_name)


class ResultsWriter(DatasetEvaluator):
    """Writes what was found to ``results.json`` in the official format; `avis evaluate` scores that file."""

    def __init__(self, dataset_name: str, folder: Path) -> None:
        self.dataset_name, self.folder = dataset_name, folder
        self._rows: list[dict[str, Any]] = []
        self._videos = 0

    def reset(self) -> None:
        self._rows, self._videos = [], 0

    def process(self, inputs: list[dict[str, Any]], outputs: dict[str, Any]) -> None:
        self._videos += 1
        found = zip(outputs["pred_scores"], outputs["pred_labels"], outputs["pred_masks"], strict=True)
        for score, label, masks in found:
            self._rows.append(
                {
                    "video_id": inputs[0]["video_id"],
                    "score": float(score),
                    "category_id": int(label),
                    "segmentations": [_encode(mask.numpy()) for mask in masks],
                }
            )

    def evaluate(self) -> OrderedDict[str, dict[str, int]] | None:
        gathered = comm.gather((self._rows, self._videos))
        if not comm.is_main_process():
            return None
        rows = [row for part, _ in gathered for row in part]
        classes = MetadataCatalog.get(self.dataset_name).thing_dataset_id_to_contiguous_id
        id_of = {index: key for key, index in classes.items()}
        rows = [row | {"category_id": id_of[row["category_id"]]} for row in rows]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / RESULTS
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(rows), encoding="utf-8")
        unfinished.replace(path)
        _log.info("%d tracks written to %s; score them with `avis evaluate`", len(rows), path)
        videos = sum(count for _, count in gathered)
        return OrderedDict(results={"videos": videos, "tracks": len(rows)})


def _encode(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}


def teach_default_trainer() -> None:
    """Let Detectron2's own DefaultTrainer train our architectures as published.

    Detectron2 has registries for models and datasets, none for optimizers and loaders: its trainer calls
    three functions by name, and these know neither AdamW nor clips of frames. They are replaced, in the
    trainer's module only, by versions that look at the architecture first and leave all others to Detectron2.
    """
    ours: dict[str, Callable[..., Any]] = {
        "build_optimizer": build_optimizer,
        "build_detection_train_loader": build_train_loader,
        "build_detection_test_loader": build_test_loader,
    }
    for name, function in ours.items():
        setattr(defaults, name, _for_our_architectures(function, getattr(defaults, name)))


def _for_our_architectures(ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def choose(*args: Any, **kwargs: Any) -> Any:
        cfg = args[0] if args else None
        plain = isinstance(cfg, CfgNode) and not kwargs and len(args) == ours.__code__.co_argcount
        return ours(*args) if plain and _is_ours(cfg) else theirs(*args, **kwargs)

    return choose


def _is_ours(cfg: CfgNode) -> bool:
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        return False
    made = META_ARCH_REGISTRY.get(name)
    return isinstance(made, type) and issubclass(made, AvismArchitecture)
