"""Pickles read without running what is in them: tensors, arrays and plain containers come out."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch

# what numpy's own pickles call, wherever the installed version keeps it
RECONSTRUCT, SCALAR, FROM_BUFFER = (
    np.zeros(1).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    np.zeros(1).__reduce_ex__(5)[0],
)
NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1")


class _Forgotten:
    """Stands for a class that is not admitted: of an object only what it holds as a dictionary is kept."""

    def __new__(cls, *_: Any) -> Any:
        """Take any arguments and make a plain dictionary, which torch's unpickler can fill."""
        return OrderedDict()


class _List:
    """Stands for a deque."""

    def __new__(cls, *_: Any) -> Any:
        """Make a plain list."""
        return []


def torch_load(source: Path | bytes, *, mapped: bool = False) -> Any:
    """torch's own safe loading, with numpy's numbers and arrays admitted (schedulers keep such).

    Objects beside the parameters (settings of argparse, paths, what Lightning keeps of its callbacks) are
    not made, in the files of torch 1.6 and newer: empty dictionaries stand in their places.
    """
    dtypes = [type(np.dtype(code)) for code in NUMPY_DTYPES]
    admitted: list[Any] = [np.ndarray, np.dtype, *dtypes, (_latin1, "_codecs.encode")]
    for home in ("numpy.core", "numpy._core"):  # numpy 1 and 2
        admitted += [
            (RECONSTRUCT, f"{home}.multiarray._reconstruct"),
            (SCALAR, f"{home}.multiarray.scalar"),
        ]
    with torch.serialization.safe_globals(admitted):
        # the names in a zip archive can be listed without running anything
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(source)) if mapped else []
        others: list[Any] = [
            (_Forgotten if name != "collections.deque" else _List, name) for name in sorted(names)
        ]
        with torch.serialization.safe_globals(others):
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    if names and isinstance(loaded, OrderedDict) and not loaded:
        raise pickle.UnpicklingError(f"it is a whole object, made of {', '.join(sorted(names)[:3])}, …")
    return loaded


def load_arrays(content: bytes) -> Any:
    """A plain pickle of arrays, tensors and containers, such as Detectron2's ``.pkl``.

    Raises:
        pickle.UnpicklingError: it names anything else.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


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
        ("torch.storage", "_load_from_bytes"): torch_load,
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
