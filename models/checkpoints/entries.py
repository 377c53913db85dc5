"""A file of weights under our names: whose spelling it has, and which categories its rows are."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.checkpoints.aviseg_categories import AVISEG_CATEGORIES
from models.checkpoints.parameter_names import is_acvis, our_entries
from models.checkpoints.saved import names_in_header
from models.networks.backbones.released_weights import which_backbone
from models.weight_files.checkpoint_file import read_weights
from models.weight_files.contents import Take

DECODERS = {"frame_decoder.": "an AVISM", "video_module.": "an AVISM", "clip_decoder.": "a TPAVI"}
"""What the names of a network's parameters begin with, of ours and of no other program."""
HEADER = "the file's header"
_COUNTED = "AVISeg's, of which there are as many"
_HEADS = ("video_module.class_head.weight", "clip_decoder.class_head.weight")


@dataclass(frozen=True, kw_only=True)
class Entries:
    """What a file of weights holds.

    Attributes:
        tensors: under our names, those of no known name under their own.
        left: entries that are no part of a network: losses, counters.
        published: the prefix of the published names, "" of a file in ours.
        acvis: whether it has ACVIS's audio-centric queries.
        backbone: its name, if the file holds nothing else.
        categories: of the class heads' rows, in their order, None where nothing tells them; categories_from
            says what told them.
        notes: what was taken off or left on reading; choices: what could have been read otherwise.
    """

    tensors: dict[str, Tensor]
    left: list[str]
    published: str
    acvis: bool
    backbone: str | None
    categories: tuple[str, ...] | None
    categories_from: str
    notes: list[str]
    choices: list[str]

    @property
    def has_decoder(self) -> bool:
        """Is it of a network of ours, and not of a backbone or another task?"""
        return any(name.startswith(tuple(DECODERS)) for name in self.tensors)


def read_entries(path: Path, take: Take | None = None) -> Entries:
    """Read a file of weights, of ours or as AVISM, ACVIS, a backbone and their ancestors were published.

    The names of the categories stand in the file's header; rows without names are taken for AVISeg's if there
    are as many.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no parameters, or not only them.
    """
    read = read_weights(path, take)
    state, published, backbone = read.tensors, "", None
    left: list[str] = []
    if not any(name.startswith((*DECODERS, "pixel_decoder.")) for name in state):
        published = (
            "vita_module" if any(name.startswith("vita_module.") for name in state) else "avism_module"
        )
        backbone = which_backbone(state)
        state, left = our_entries(state)
    heads = [value for name, value in state.items() if name.endswith(_HEADS)]
    rows = len(heads[0]) - 1 if heads else None  # the last is "no object"
    named = names_in_header(path)
    names, told_by = (None, "") if named is None else (tuple(named), HEADER)
    if names is None or (rows is not None and len(names) != rows):
        as_many = rows == len(AVISEG_CATEGORIES)
        names, told_by = (AVISEG_CATEGORIES, _COUNTED) if as_many else (None, "")
    return Entries(
        tensors=state,
        left=left,
        published=published,
        acvis=bool(published) and is_acvis(read.tensors),
        backbone=backbone,
        categories=names,
        categories_from=told_by,
        notes=[*read.notes],
        choices=[*read.choices],
    )
