"""Released checkpoints read as tensors, without running anything that a file might contain."""

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from models.weight_files.contents import Take, Weights, weights_of
from models.weight_files.safe_pickles import load_arrays, torch_load
from models.weight_files.shards import INDEX_ENDING, read_shards, refuse_single_shard, weights_in

ZIP = b"PK\x03\x04"
SAFETENSORS = b"\0\0{"  # from byte 6 on: the end of the header's length, then JSON
LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
ALLOWED = "a .pth or .ckpt (torch.save, Lightning), .pkl (Detectron2) or .safetensors file"
LISTED = 100  # of the entries that differ


def read_checkpoint(path: Path | str, take: Take | None = None) -> dict[str, Tensor]:
    """The tensors of `read_weights`; what could have been read otherwise is a warning."""
    return _said(read_weights(path, take), str(path))


def named_tensors(loaded: Any, where: str = "the checkpoint", take: Take | None = None) -> dict[str, Tensor]:
    """The tensors of `weights_of`, of what a program has in memory; as `read_checkpoint`."""
    return _said(weights_of(loaded, where, take), where)


def read_weights(path: Path | str, take: Take | None = None) -> Weights:
    """Parameters of a file by torch.save, Detectron2 (``.pkl`` of arrays) or safetensors, by name.

    Also of a folder with one such file, and of an index of shards or its folder. The kind is told from the
    content; what stands beside the parameters (optimizer, iteration) is left, as contents.py says.
    Where the format allows it the file is mapped, not read: several processes share the memory.

    Args:
        path: of the file or folder.
        take: the averaged or the raw parameters, where it holds both.

    Raises:
        OSError: the file cannot be read; FileNotFoundError if there is none.
        ValueError: no file, damaged, a shard is missing, it holds no parameters or not only them, or some of
            them are no numbers.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"{path!r} is no path but of type {type(path).__name__}; allowed: {ALLOWED}")
    given = Path(path)
    file = weights_in(given, ALLOWED) if given.is_dir() else given
    if file.name.endswith(INDEX_ENDING):
        content = read_shards(file, _content)
    else:
        refuse_single_shard(file)
        content = _content(file)
    weights = weights_of(content, str(file), take)
    broken = [name for name, value in weights.tensors.items() if value.isnan().any()]
    if broken:
        raise ValueError(
            f"{file}: {len(broken)} of {len(weights.tensors)} parameters are not all numbers (NaN), first "
            f"{broken[0]}: the training that wrote it had failed"
        )
    return weights


def _content(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(len(LEGACY_TORCH))
    try:
        if path.suffix == ".safetensors" or head[6:9] == SAFETENSORS:
            return _safetensors(path)
        if head.startswith(ZIP):
            return torch_load(path, mapped=True)
        if head.startswith(LEGACY_TORCH):
            return torch_load(path)
        return load_arrays(path.read_bytes())
    except Exception as error:  # damaged pickles raise nearly everything
        raise ValueError(
            f"{path} is damaged, or holds more than tensors and arrays: {_reason(head, error)}"
        ) from error


def _reason(head: bytes, error: Exception) -> str:
    """Why a file cannot be read, in words of ours: torch advises to switch its guard off."""
    text = str(error) or type(error).__name__
    if not head:
        return "it is empty"
    if head.lstrip().startswith(b"<"):
        return "it is a web page, as comes where a download wanted a login or a click"
    if "central directory" in text or "not fully covered" in text:
        return "its end is missing, as after a download that broke off"
    if "weights_only" in text:
        named = re.search(r"GLOBAL (\S+)", text)
        return f"it wants to run {named[1]}" if named else "it wants to run code"
    return text.splitlines()[0]


def _safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors; of those that share their memory safetensors writes one, and the other names beside it."""
    tensors: dict[str, Tensor] = load_file(path)
    with safe_open(path, framework="pt") as file:
        shared = file.metadata() or {}
    return tensors | {
        name: tensors[kept] for name, kept in shared.items() if kept in tensors and name not in tensors
    }


def _said(weights: Weights, where: str) -> dict[str, Tensor]:
    for choice in weights.choices:
        warnings.warn(f"{where}: {choice}", stacklevel=3)
    return weights.tensors


def require_same_entries(own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Are all entries of a network there, in their shapes, and no others?

    Raises:
        ValueError: missing, unexpected and misshapen entries, listed.
    """
    missing = [name for name in own if name not in given]
    misshapen = [
        f"{name}: shape {tuple(given[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in given and given[name].shape != value.shape
    ]
    unexpected = [f"unexpected: {name}" for name in given if name not in own]
    count = len(missing) + len(misshapen) + len(unexpected)
    if count:
        listed = [f"missing: {name}" for name in _whole_parts(missing, own)] + misshapen + unexpected
        more = [f"and {len(listed) - LISTED} more"] if len(listed) > LISTED else []
        raise ValueError(
            f"it does not fit this model, {count} {'entry differs' if count == 1 else 'entries differ'}: "
            + "; ".join(listed[:LISTED] + more)
        )


def _whole_parts(missing: list[str], own: Iterable[str]) -> list[str]:
    """Names, those of modules that are missing as a whole in one: ``video_module.* (all 164)``."""
    shown: list[str] = []
    for name in missing:
        parts = name.split(".")
        for depth in range(1, len(parts)):
            prefix = ".".join(parts[:depth]) + "."
            inside = [x for x in own if x.startswith(prefix)]
            if len(inside) > 1 and all(x in missing for x in inside):
                name = f"{prefix}* (all {len(inside)})"
                break
        if name not in shown:
            shown.append(name)
    return shown
