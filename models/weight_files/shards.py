"""Weights in several files, and the folders that programs save them in."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

INDEX_ENDING = ".index.json"
# what programs call the one file of weights in a folder, the preferred kind first
_SINGLE = ("model.safetensors", "pytorch_model.bin", "model_final.pth")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<ending>\.\w+)")
_CONVERTERS = (
    (".metadata", "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE"),
    ("zero_to_fp32.py", "python zero_to_fp32.py FOLDER FILE"),
)


def weights_in(folder: Path, allowed: str) -> Path:
    """The file of weights in a folder, or the index of its shards.

    Raises:
        ValueError: there is none, or more than one.
    """
    for marker, command in _CONVERTERS:
        if (folder / marker).is_file():
            raise ValueError(
                f"{folder} is a folder of parts of a training on several devices: join them, {command}"
            )
    indices = sorted(folder.glob(f"*{INDEX_ENDING}"))
    found = indices or [folder / name for name in _SINGLE if (folder / name).is_file()][:1]
    if not found:
        found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        holds = ", ".join(path.name for path in found[:5]) or "no weights that are known by their name"
        raise ValueError(
            f"{folder} is a folder; allowed: {allowed}, or a folder of one of them; it holds {holds}"
        )
    return found[0]


def refuse_single_shard(path: Path) -> None:
    """Complain about one of several files.

    Raises:
        ValueError: it is one, by its name.
    """
    match = _SHARD.fullmatch(path.name)
    if match and int(match["count"]) > 1:
        raise ValueError(
            f"{path} is one of {int(match['count'])} files; allowed: their folder, or "
            f"{match['stem']}{match['ending']}{INDEX_ENDING}"
        )


def read_shards(index: Path, read: Callable[[Path], Any]) -> dict[str, Tensor]:
    """The tensors of all files that an index names: {"weight_map": {parameter: file}}.

    Raises:
        ValueError: the index is damaged, or a file of it is missing, or what it should hold.
    """
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index} is no index of shards: {error!r}; it should have a weight_map") from None
    if not files or not all(isinstance(file, str) and Path(file).name == file for file in files):
        raise ValueError(f"{index} is refused: it should name files in its own folder")
    missing = [file for file in files if not (index.parent / file).is_file()]
    if missing:
        lost = sum(file in missing for file in places.values())
        raise ValueError(
            f"{index}: of its {len(files)} files {', '.join(missing[:5])} "
            f"{'is' if len(missing) == 1 else 'are'} missing, with {lost} of {len(places)} tensors"
        )
    tensors: dict[str, Tensor] = {}
    for file in files:
        held = read(index.parent / file)
        expected = [name for name, place in places.items() if place == file]
        absent = [name for name in expected if name not in held]
        if absent:
            raise ValueError(
                f"{index.parent / file} lacks {len(absent)} tensors that the index names: {absent[0]}, …"
            )
        extra = set(held) - set(expected)
        if extra:
            raise ValueError(
                f"{index.parent / file} holds tensors that the index does not name: {min(extra)}, …"
            )
        tensors |= {name: held[name] for name in expected}
    return tensors
