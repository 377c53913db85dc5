"""Released checkpoints read as tensors, without running anything that a file might contain."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

ZIP = b"PK\x03\x04"
SAFETENSORS = b"\0\0{"  # from byte 6 on: the end of the header's length, then JSON
LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
ALLOWED = "a .pth (torch.save), .pkl (Detectron2) or .safetensors file"
WRAPPERS = ("model", "state_dict")  # keys under which programs keep the parameters
LISTED = 100  # of the entries that differ
# what numpy's own pickles call, wherever the installed version keeps it
RECONSTRUCT, SCALAR, FROM_BUFFER = (
    np.zeros(1).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    np.zeros(1).__reduce_ex__(5)[0],
)
NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")


def read_checkpoint(path: Path | str) -> dict[str, Tensor]:
    """Parameters of a ``.pth`` (torch.save), ``.pkl`` (Detectron2, arrays) or ``.safetensors``, by name.

    The kind is told from the content. What stands beside the parameters (optimizer, iteration) is left.
    Where the format allows it the file is mapped, not read: several processes share the memory.

    Raises:
        OSError: the file cannot be read; FileNotFoundError if there is none.
        ValueError: no file, damaged, or it holds anything but tensors, arrays and plain containers.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"{path!r} is no path but of type {type(path).__name__}; allowed: {ALLOWED}")
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; allowed: {ALLOWED}")
    with path.open("rb") as file:
        head = file.read(len(LEGACY_TORCH))
    try:
        if path.suffix == ".safetensors" or head[6:9] == SAFETENSORS:
            loaded = load_file(path)
        elif head.startswith(ZIP):
            loaded = _torch_load(path, mapped=True)
        elif head.startswith(LEGACY_TORCH):
            loaded = _torch_load(path)
        else:
            loaded = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly everything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged, or holds more than tensors and arrays: {reason}") from error
    return named_tensors(loaded, str(path))


def named_tensors(loaded: Any, where: str = "the checkpoint") -> dict[str, Tensor]:
    """A state dict, bare or under the key ``model``, of tensors or arrays -> tensors by name.

    Raises:
        ValueError: no parameters in it, or among them something that is no tensor.
    """
    if isinstance(loaded, dict) and "blobs" in loaded:
        raise ValueError(
            f"{where} is a Caffe2 model of the first Detectron, whose ResNets have their stride in the 1x1 "
            "convolution: another network. Allowed: torchvision's R-50 (.pth, or Detectron2's R-50.pkl of it)"
        )
    for key in WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded:
        raise ValueError(
            f"{where} holds no parameters by name; it should be a state dict, or have one under `model`"
        )
    tensors = {}
    for name, value in loaded.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            # a copy, as an array out of a pickle may be read-only
            value = torch.from_numpy(np.array(value))
        if not isinstance(name, str):
            raise ValueError(
                f"{where}: an entry is called {name!r}, of type {type(name).__name__}; names must be text"
            )
        if not isinstance(value, Tensor):
            raise ValueError(f"{where}: {name!r} is no tensor but {type(value).__name__}")
        tensors[name] = value
    if all(name.startswith("module.") for name in tensors):  # saved from a data-parallel wrapper
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


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


def _torch_load(source: Path | bytes, *, mapped: bool = False) -> Any:
    """torch's own safe loading, with numpy's numbers and arrays admitted (schedulers keep such)."""
    dtypes = [type(np.dtype(code)) for code in NUMPY_DTYPES]
    admitted: list[Any] = [np.ndarray, np.dtype, *dtypes, (_latin1, "_codecs.encode")]
    for home in ("numpy.core", "numpy._core"):  # numpy 1 and 2
        admitted += [
            (RECONSTRUCT, f"{home}.multiarray._reconstruct"),
            (SCALAR, f"{home}.multiarray.scalar"),
        ]
    with torch.serialization.safe_globals(admitted):
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """What old pickles call to turn text into bytes; no other codec is needed, so none is admitted."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Any]:
    """The only things that a pickle may name, and what is used in their place."""
    found: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,
        # tensors in a plain pickle, as in Mask2Former's converted Swin weights
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch.storage", "_load_from_bytes"): _torch_load,
    }
    for home in ("numpy.core", "numpy._core"):
        found[f"{home}.multiarray", "_reconstruct"] = RECONSTRUCT
        found[f"{home}.multiarray", "scalar"] = SCALAR
        found[f"{home}.numeric", "_frombuffer"] = FROM_BUFFER
    return found


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays, tensors and plain containers; any other name in the pickle ends the reading."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _admitted()[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}") from None
