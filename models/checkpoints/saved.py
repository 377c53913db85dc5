"""A trained model as files: ``model.safetensors`` (tensors only) and ``config.json``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.networks.registry import Network, build
from models.weight_files.checkpoint_file import require_same_entries

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
# Folders of models are handed on: what is beyond these would take all memory, or hours, before the weights
# show that they are others.
_LARGEST = 16_384  # channels, queries, frames, points
_MOST_LAYERS = 256
_LARGEST_SIDE_PX = 8192
_HIGHEST_RATE_HZ = 1000


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What must be known to use saved weights."""

    name: str  # of models.build
    config: dict[str, Any]  # its settings
    categories: dict[int, str]  # id in annotations and results -> name; class head order is by id
    short_side_px: int  # frames are resized to this short side
    frame_rate_hz: float
    features_from: str = ""  # what made the audio features that it learned from; nothing if it is not known
    released: str = ""  # the checkpoint that it was taken from; nothing if it was trained here
    score_threshold: float | None = None  # of a track; chosen on clips that it has not seen
    presence_threshold: float | None = None  # of sounding in a frame; chosen alike
    hearing_threshold: float | None = None  # of a category in a frame, by the sound alone; chosen alike

    def __post_init__(self) -> None:
        if len(self.categories) != self.config.get("categories"):
            raise ValueError(f"it names {len(self.categories)} of {self.config.get('categories')} categories")
        if not (1 <= self.short_side_px <= _LARGEST_SIDE_PX and 0 < self.frame_rate_hz <= _HIGHEST_RATE_HZ):
            most = f"{_LARGEST_SIDE_PX} and {_HIGHEST_RATE_HZ}"
            raise ValueError(f"short_side_px and frame_rate_hz must be positive, and at most {most}")
        for threshold in (self.score_threshold, self.presence_threshold, self.hearing_threshold):
            if threshold is not None and not 0 <= threshold <= 1:
                raise ValueError(f"a threshold must be from 0 to 1, and is {threshold}")
        for name, number in _numbers("", self.config):
            limit = _MOST_LAYERS if name.endswith("layers") else _LARGEST
            if not abs(number) <= limit:  # nor NaN
                raise ValueError(f"{name} is beyond {limit}")


def _numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """Of settings, all that are numbers or lists of them."""
    if isinstance(value, int | float):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(str(key), one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(name, one)


def save_weights(
    path: Path, state: dict[str, Tensor], *, categories: dict[int, str], half: bool = False
) -> None:
    """Write a state dict; category names go into the header, so that a later start can match them."""
    kept = {
        name: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in state.items()
    }
    names = json.dumps([categories[key] for key in sorted(categories)])
    save_file(kept, path, metadata={"categories": names})  # one entry: several are written in any order


def save_model(folder: Path, model: Network, card: ModelCard) -> None:
    """Write ``model.safetensors`` and ``config.json`` into ``folder``."""
    save_weights(folder / WEIGHTS, model.state_dict(), categories=card.categories)
    (folder / CONFIG).write_text(json.dumps(asdict(card), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_model(folder: Path, device: torch.device | str = "cpu") -> tuple[Network, ModelCard]:
    """Read what ``save_model`` wrote; the model is in evaluation mode.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files are not of one model.
    """
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        values["categories"] = {int(key): str(name) for key, name in values["categories"].items()}
        card = ModelCard(**values)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder / CONFIG} is not the configuration of a saved model: {error}") from error
    # the saved weights hold the backbone's and the audio encoder's, too
    elsewhere = {"backbone_pretrained": False, "backbone_weights": None, "audio_weights": None}
    own = {name: value for name, value in elsewhere.items() if name in card.config}
    try:
        model = build(card.name, **{**card.config, **own})
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"{folder / CONFIG} is not the configuration of a saved model: {error}") from error
    try:
        state = load_file(folder / WEIGHTS)
        require_same_entries(model.state_dict(), state)
        model.load_state_dict(state)
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {error}") from error
    return model.to(device).eval(), card


def names_in_header(path: Path) -> list[str] | None:
    """The names of the categories that `save_weights` wrote into a file; None of another file."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("categories", "[]"))
    except (OSError, SafetensorError, ValueError):
        return None
    return found if found and isinstance(found, list) and all(isinstance(x, str) for x in found) else None


def start_from(model: Network, path: Path, categories: dict[int, str]) -> list[str]:
    """Load weights that ``save_weights`` wrote into ``model`` as far as they fit; returns what did not."""
    return fill(model, load_file(path), names_in_header(path), categories)


def fill(
    model: Network, state: Mapping[str, Tensor], known: Sequence[str] | None, categories: dict[int, str]
) -> list[str]:
    """Load parameters under our names into ``model`` as far as they fit; returns what did not.

    Heads that name categories are matched by name: a category that the weights know keeps its row, a new
    one starts fresh, as all do where nobody knows what the rows mean. A model without audio ignores the
    weights of the audio path's encoder.

    Args:
        known: the categories of the rows, in their order.
    """
    own = model.state_dict()
    left: list[str] = []
    wanted = [categories[key] for key in sorted(categories)]
    for name, value in state.items():
        value = value.to(own[name].dtype) if name in own else value
        if known and names_category(name) and name in own:
            own[name] = _match_rows(own[name], value, known, wanted)
        elif name in own and own[name].shape == value.shape and not names_category(name):
            own[name] = value
        elif name in own or not name.startswith(("audio_encoder.", "audio_tags.")):
            left.append(name)
    left += [name for name in own if name not in state]
    model.load_state_dict(own)
    return left


def names_category(name: str) -> bool:
    """Does a parameter have a row for each category?"""
    return ".class_head." in name or name.startswith("audio_tags.")


def _match_rows(fresh: Tensor, value: Tensor, known: Sequence[str], wanted: list[str]) -> Tensor:
    """Rows of a head by category name; a row beyond the categories, the last, is "no object"."""
    if value.shape[1:] != fresh.shape[1:]:
        return fresh
    rows = fresh.clone()
    if len(value) > len(known):
        rows[-1] = value[-1]
    for index, name in enumerate(wanted):
        if name in known:
            rows[index] = value[known.index(name)]
    return rows
