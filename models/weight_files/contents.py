"""Which of a checkpoint's content are the parameters: wrappers, averages, prefixes, precision."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Take = Literal["ema", "raw"]
Named = dict[str, Any]

# keys under which programs keep the parameters
RAW = (
    "model",
    "state_dict",
    "model_state",
    "model_state_dict",
    "module",
    "net",
    "network",
    "params",
    "weights",
)
# and those of an exponential moving average of them
EMA = (
    "ema",
    "model_ema",
    "ema_model",
    "state_dict_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_state",
    "ema_weights",
    "params_ema",
    "shadow",
)
# Lightning's WeightAveraging moves the raw parameters here, and has the average under state_dict
_LIGHTNING_RAW, _LIGHTNING_EMA = "current_model_state", "state_dict"
_DEEPEST = 5  # wrappers in wrappers
# torch puts these words between the names of modules, wherever a part was compiled or spread
_TORCH_WORDS = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
_PREFIXES = ("module.", "model.", "online_model.", "net.", "network.")
_EMA_PREFIXES = ("ema_model.", "model_ema.", "ema.")
# what a training's module has beside the network
_BESIDE = re.compile(
    r"(?:(?:\w+_)?(?:criterion|loss|loss_fn|metrics?)\..*|n_averaged|initted|initialized|step|num_updates|decay)"
)
_DETECTRON2 = re.compile(r"__\w+__|matching_heuristics")  # what it writes beside converted parameters
# what a file of some bytes may say that it holds
_MOST_PARAMETERS, _MOST_DIMENSIONS = 100_000, 8
_MOST_REPEATED_BYTES = 1 << 30  # of all parameters: rows may share their numbers (torch.Tensor.expand)
_HALF = (torch.float16, torch.bfloat16)
_FULL = (torch.float32, torch.float64, *_HALF)


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters by name.

    notes: what was taken off or left and is no loss; choices: what could have been read otherwise, or is
    other than in the file. Sentences.
    """

    tensors: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)


def weights_of(loaded: Any, where: str, take: Take | None = None) -> Weights:
    """Find the parameters in what a file holds.

    Args:
        loaded: a state dict of tensors or arrays, bare or in dictionaries of known names.
        take: of a checkpoint with raw and averaged parameters these; None: the averaged ones, if there are.

    Raises:
        ValueError: no parameters in it, more than one set of them, none of the kind that is asked for, or
            among them something that is no tensor.
    """
    notes: list[str] = []
    choices: list[str] = []
    if isinstance(loaded, dict) and "blobs" in loaded:
        raise ValueError(
            f"{where} is a Caffe2 model of the first Detectron, whose ResNets have their stride in the 1x1 "
            "convolution: another network. Allowed: torchvision's R-50 (.pth, or Detectron2's R-50.pkl of it)"
        )
    inner, kind = _unwrapped(loaded, where, take, notes, choices)
    if not isinstance(inner, dict) or not inner:
        raise ValueError(
            f"{where} holds no parameters by name; it should be a state dict, or have one under `model`"
        )
    named = _without_torch_words(_tensors(inner, where), where, notes)
    named, kind = _unprefixed(named, where, take, kind, notes, choices)
    if take == "ema" and kind != "ema":
        raise ValueError(f"{where} holds no averaged (EMA) parameters")
    return Weights(_full_precision(named, choices), notes, choices)


def _unwrapped(
    loaded: Any, where: str, take: Take | None, notes: list[str], choices: list[str]
) -> tuple[Any, Take | None]:
    """The innermost dictionary of parameters, and which kind its key says that they are."""
    node, path = loaded, ""
    kind: Take | None = None
    left: list[str] = []
    for _ in range(_DEEPEST):
        if not isinstance(node, dict):
            break
        raw, ema = ([key for key in keys if _holds_parameters(node.get(key))] for keys in (RAW, EMA))
        if _LIGHTNING_RAW in node and "averaging_state" in node:
            raw, ema = [_LIGHTNING_RAW], [_LIGHTNING_EMA]
        nameless = [key for key in ("shadow_params", *EMA) if _is_nameless(node.get(key))]
        if nameless and not ema:
            said = f"the averaged parameters under {path}{nameless[0]} have no names"
            if take == "ema" or not (raw or _has_tensors(node)):
                raise ValueError(
                    f"{where}: {said}, so they fit no network: copy them into it and save its state dict"
                )
            choices.append(f"{said}, so the raw ones were taken")
        others = [key for key, value in node.items() if _has_tensors(value)] if not raw + ema else []
        if not raw + ema and (_has_tensors(node) or not others):
            break
        for keys in (raw, ema, others):
            if len(keys) > 1:
                several = ", ".join(path + str(key) for key in keys)
                raise ValueError(
                    f"{where} holds several sets of parameters, {several}: save the one that is meant alone"
                )
        if kind is None and take == "raw" and ema and not raw:
            raise ValueError(f"{where} holds averaged (EMA) parameters only, under {path}{ema[0]}")
        if raw and ema:
            kind = _one_of_both(f"under {path}{ema[0]}", f"under {path}{raw[0]}", take, notes, choices)
            key = ema[0] if kind == "ema" else raw[0]
        else:
            kind = "ema" if ema else kind
            key = (raw or ema or others)[0]
        if others:
            choices.append(f"the only set of parameters was taken, under {path}{key}")
        left += [
            str(name)
            for name in node
            if name not in (key, *raw, *ema) and not _DETECTRON2.fullmatch(str(name))
        ]
        node, path = node[key], f"{path}{key}."
    if left:
        notes.append(f"left beside the parameters: {', '.join(left[:8])}{', …' if len(left) > 8 else ''}")
    return node, kind


def _one_of_both(ema: str, raw: str, take: Take | None, notes: list[str], choices: list[str]) -> Take:
    """Averaged parameters are those to predict with; who wants the others says so."""
    kind = take or "ema"
    said = f"of the averaged (EMA) parameters {ema} and the raw ones {raw} the "
    said += f"{'averaged' if kind == 'ema' else 'raw'} were taken"
    if take is None:
        choices.append(f"{said}; take=raw takes the others")
    else:
        notes.append(said)
    return kind


def _holds_parameters(value: Any, depth: int = _DEEPEST) -> bool:
    if not isinstance(value, dict) or not depth:
        return False
    return _has_tensors(value) or any(_holds_parameters(value.get(key), depth - 1) for key in (*RAW, *EMA))


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(name, str) and isinstance(x, (Tensor, np.ndarray)) for name, x in value.items()
    )


def _is_nameless(value: Any) -> bool:
    """A list of tensors, as torch_ema and diffusers keep averages, alone or with their settings."""
    if isinstance(value, dict):
        value = value.get("shadow_params")
    return isinstance(value, list) and any(isinstance(item, Tensor) for item in value)


def _tensors(content: Mapping[Any, Any], where: str) -> dict[str, Tensor]:
    if len(content) > _MOST_PARAMETERS:
        raise ValueError(f"{where} holds {len(content)} parameters; at most {_MOST_PARAMETERS} are read")
    tensors = {}
    repeated = 0
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            # a copy, as an array out of a pickle may be read-only
            value = torch.from_numpy(np.array(value))
        if not isinstance(name, str):
            raise ValueError(
                f"{where}: an entry is called {name!r}, of type {type(name).__name__}; names must be text"
            )
        if not isinstance(value, Tensor):
            raise ValueError(f"{where}: {name!r} is no tensor but {type(value).__name__}")
        if value.is_quantized or (value.is_floating_point() and value.dtype not in _FULL):
            raise ValueError(
                f"{where}: {name!r} is quantised ({value.dtype}); allowed: parameters in 16 bits or more"
            )
        if not _is_dense(value):
            raise ValueError(
                f"{where}: {name!r} ({value.layout}, {value.dim()} dimensions) is not stored number by "
                f"number; allowed: dense parameters of at most {_MOST_DIMENSIONS} dimensions"
            )
        repeated += max(0, value.numel() * value.element_size() - value.untyped_storage().nbytes())
        if repeated > _MOST_REPEATED_BYTES:
            raise ValueError(
                f"{where}: {name!r} is not stored number by number: of its {value.numel()} numbers the file"
                f" has {value.untyped_storage().nbytes() // value.element_size()}"
            )
        tensors[name] = value.detach()
    return tensors


def _is_dense(value: Tensor) -> bool:
    return (
        not value.is_nested
        and value.layout == torch.strided
        and not value.is_meta
        and value.dim() <= _MOST_DIMENSIONS
    )


def _without_torch_words(named: dict[str, Tensor], where: str, notes: list[str]) -> dict[str, Tensor]:
    plain = {name: _TORCH_WORDS.sub("", name) for name in named}
    words = sorted({word for name in named for word in _TORCH_WORDS.findall(name)})
    if len(set(plain.values())) < len(plain):
        raise ValueError(f"{where} holds parameters with and without {', '.join(words)} in their names")
    for word in words:
        count = sum(word in _TORCH_WORDS.findall(name) for name in named)
        notes.append(f"{word} of torch was taken out of {count} names")
    return {plain[name]: value for name, value in named.items()}


def _unprefixed(
    named: dict[str, Tensor],
    where: str,
    take: Take | None,
    kind: Take | None,
    notes: list[str],
    choices: list[str],
) -> tuple[dict[str, Tensor], Take | None]:
    """Names without what a training's module puts before them, and the averaged or the raw ones of both."""
    averaged = {name: value for name, value in named.items() if name.startswith(_EMA_PREFIXES)}
    plain = {name: value for name, value in named.items() if name not in averaged}
    if not averaged:
        return _taken_off(plain, notes), kind
    prefix = next(iter(averaged)).partition(".")[0] + "."
    inside = _taken_off({name.removeprefix(prefix): value for name, value in averaged.items()}, [])
    if not any(not _BESIDE.fullmatch(name) for name in plain):
        if take == "raw":
            raise ValueError(f"{where} holds averaged (EMA) parameters only, called {prefix}…")
        notes.append(f"{prefix} was taken off {len(averaged)} names")
        return inside, "ema"
    outside = _taken_off(plain, notes)
    if set(inside) != set(outside):
        said = (
            f"{len(averaged)} averaged (EMA) parameters, called {prefix}…, have other names than the raw ones"
        )
        if take == "ema":
            raise ValueError(f"{where}: {said}, so they fit no network")
        choices.append(f"{said} and were left out")
        return outside, kind
    chosen = _one_of_both(f"called {prefix}…", "beside them", take, notes, choices)
    return (inside if chosen == "ema" else outside), chosen


def _taken_off(named: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Without the prefixes that all names have, but those of losses and counters beside the network."""
    while True:
        network = [name for name in named if not _BESIDE.fullmatch(name)]
        prefix = next(
            (one for one in _PREFIXES if network and all(name.startswith(one) for name in network)), None
        )
        if prefix is None:
            return named
        beside = [name for name in named if not name.startswith(prefix)]
        count = len(named) - len(beside)
        notes.append(f"{prefix} was taken off {count} name{'s' if count > 1 else ''}")
        if beside:
            notes.append(f"left outside of {prefix}: {', '.join(beside[:8])}")
        named = {name.removeprefix(prefix): value for name, value in named.items() if name not in beside}


def _full_precision(named: dict[str, Tensor], choices: list[str]) -> dict[str, Tensor]:
    for dtype in _HALF:
        count = sum(value.dtype == dtype for value in named.values())
        if count:
            kind = str(dtype).removeprefix("torch.")
            choices.append(f"{count} of {len(named)} tensors in {kind} became float32, of the same values")
    return {name: value.float() if value.dtype in _HALF else value for name, value in named.items()}
