"""Weights that a training starts from: of ours, or as AVISM, ACVIS and their ancestors were published."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.checkpoints.entries import DECODERS, HEADER, read_entries
from models.checkpoints.saved import WEIGHTS, fill, names_category
from models.networks.backbones.choice import build_backbone
from models.networks.registry import Network

_ALIKE = 0.8  # difflib's ratio, from which two names may mean one category
_LISTED = 5


@dataclass(frozen=True)
class Start:
    """Parameters under our names.

    Attributes:
        categories: of the class heads' rows, in their order; None where nobody knows.
        notes: what of the file could have been read otherwise, a sentence each.
    """

    path: Path
    tensors: dict[str, Tensor]
    categories: tuple[str, ...] | None
    notes: tuple[str, ...] = ()

    def holds_backbone(self, backbone: str) -> bool:
        """Are all parameters of this backbone there, in their shapes?

        Raises:
            ValueError: unknown backbone.
        """
        return holds_backbone(self.tensors, backbone)


@dataclass(frozen=True)
class Started:
    """What became of a network's parameters, and of the rows of its class heads.

    Attributes:
        taken, of: numbers of parameters.
        known, new: categories whose rows were kept, and those whose rows were drawn anew.
        dropped: categories that the weights know and the annotations lack.
        alike: a new category and the dropped one that it may be, by name.
    """

    taken: int
    of: int
    known: list[str]
    new: list[str]
    dropped: list[str]
    alike: dict[str, str]

    def sentences(self) -> list[str]:
        """For people, one line each."""
        said = []
        if self.new or self.dropped:
            parts = {"kept by name": self.known, "drawn anew": self.new, "forgotten": self.dropped}
            said.append(
                "categories " + "; ".join(f"{how}: {_some(names)}" for how, names in parts.items() if names)
            )
        if self.new and not self.known:
            said.append(
                "the weights know none of the annotations' categories: every row of the class heads is new"
            )
        said += [
            f"{new!r} of the annotations starts anew, though the weights know {old!r}: if they are the same, "
            f"give annotate.category_map a file with the line `{new}: {old}`"
            for new, old in self.alike.items()
        ]
        return said


def weights_file(path: Path) -> Path:
    """The file of weights in a folder that training wrote; any other path as it is."""
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path


def read_start(path: Path) -> Start:
    """Read weights to start from: a file of ours, a folder that training wrote, or a published file.

    Rows of a published file have AVISeg's names if there are as many; nothing else tells them.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no parameters, or not only them.
    """
    read = read_entries(weights_file(path))
    notes = [*read.choices]
    if read.categories and read.categories_from != HEADER:
        notes.append(f"it has {len(read.categories)} categories without names: they are taken for AVISeg's")
    return Start(path, read.tensors, read.categories, tuple(notes))


def begin(model: Network, start: Start, categories: Mapping[int, str]) -> Started:
    """Load starting weights into ``model`` as far as they fit.

    A category that the weights know by name keeps its row of the class heads, others are drawn anew, as the
    model was built.

    Raises:
        ValueError: they are of another network; says in what it differs.
    """
    _refuse_another_network(model.state_dict(), start)
    left = fill(model, start.tensors, start.categories, dict(categories))
    own = model.state_dict()
    known = set(start.categories or ())
    wanted = [categories[key] for key in sorted(categories)]
    new = [name for name in wanted if name not in known]
    dropped = [name for name in start.categories or () if name not in wanted]
    return Started(
        taken=len(own) - sum(name in own for name in left),
        of=len(own),
        known=[name for name in wanted if name in known],
        new=new,
        dropped=dropped,
        alike=_alike(new, dropped),
    )


def holds_backbone(state: Mapping[str, Tensor], backbone: str) -> bool:
    """Does a state dict (of ours) include all of this backbone's parameters, in its shapes?

    Raises:
        ValueError: unknown backbone.
    """
    with torch.device("meta"):  # names and shapes only
        own = build_backbone(backbone, pretrained=False).state_dict()
    return all(
        f"backbone.{name}" in state and state[f"backbone.{name}"].shape == value.shape
        for name, value in own.items()
    )


def _refuse_another_network(own: Mapping[str, Tensor], start: Start) -> None:
    """A few parts that differ start fresh, as queries of another number; not the most of a network."""
    given = start.tensors
    if any(name.startswith("clip_decoder.") for name in given) != any(
        name.startswith("clip_decoder.") for name in own
    ) and any(name.startswith(("clip_decoder.", "video_module.")) for name in given):
        theirs, ours = (_kind(names) for names in (given, own))
        raise ValueError(f"it is {theirs}, and train.model is {ours}")
    shared = [
        name
        for name in given
        if name in own and not name.startswith("backbone.") and not names_category(name)
    ]
    misshapen = [name for name in shared if given[name].shape != own[name].shape]
    if len(misshapen) > len(shared) / 2:
        shown = "; ".join(f"{name} is {_size(given[name])}, not {_size(own[name])}" for name in misshapen[:3])
        raise ValueError(
            f"it is of another size than train.model: {len(misshapen)} of {len(shared)} parameters do not "
            f"fit ({shown}, …)"
        )


def _kind(names: Mapping[str, Tensor]) -> str:
    return next(kind for prefix, kind in DECODERS.items() if any(name.startswith(prefix) for name in names))


def _size(value: Tensor) -> str:
    return "x".join(map(str, value.shape))


def _alike(new: list[str], dropped: list[str]) -> dict[str, str]:
    """Names that differ in case, spaces or a few letters may mean one category."""
    plain = {_plain(name): name for name in dropped}
    found = {name: difflib.get_close_matches(_plain(name), plain, 1, _ALIKE) for name in new}
    return {name: plain[close[0]] for name, close in found.items() if close}


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
