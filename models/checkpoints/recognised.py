"""What a file of weights is: its network, settings, categories and spelling, read from its tensors alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from models.checkpoints.architecture import (
    HEADS,
    is_h2s,
    read_architecture,
    read_tpavi_architecture,
    split_heads,
    with_counters,
)
from models.checkpoints.entries import read_entries
from models.networks.registry import Network, build
from models.weight_files.checkpoint_file import require_same_entries
from models.weight_files.contents import Take

Audio = Literal["features", "vggish", "none"]
_IN_ALL = ("backbone.", "audio_encoder.")  # whatever the network: what tells nothing


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What decides where tensors can be read in more than one way; None: as is likeliest, which is said.

    take: of averaged and raw parameters. heads, window: of an AVISM, which leave no trace in shapes (heads of
    a TPAVI, too). audio: "features" or "none", whose parameters are the same. clip_frames: of a TPAVI.
    """

    take: Take | None = None
    heads: int | None = None
    window: int | None = None
    audio: Audio | None = None
    clip_frames: int | None = None


class SeveralReadingsError(ValueError):
    """The tensors of a file can be read in more than one way; the message lists them and what decides."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What a file of weights is.

    Attributes:
        program: for people: "AVISM", "ACVIS", "H2S", "TPAVI (2023)".
        network: of ``models.build``; settings: its, as far as shapes and choices show them.
        spelling: whose names the parameters have.
        tensors: the parameters under our names.
        categories: names by the order of the class head, None where nothing tells them; categories_from says
            what told them.
        different: what is missing, left over or misshapen, a sentence; "" where all fits.
        left: entries that are no part of a network: losses, counters.
        assumed: what the tensors do not show, a sentence each with the choice that decides.
        notes: what was taken off or left on reading.
    """

    program: str
    network: str
    spelling: str
    settings: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)
    categories: tuple[str, ...] | None
    categories_from: str
    different: str
    left: list[str]
    assumed: list[str]
    notes: list[str]

    @property
    def parameters(self) -> int:
        """How many numbers the tensors hold."""
        return sum(value.numel() for value in self.tensors.values())

    @property
    def queries(self) -> int:
        """How many slots may become tracks."""
        name = "instance_queries" if self.network == "tpavi" else "video_queries"
        return int(self.settings.get(name, 0))

    def model(self) -> Network:
        """The network with these weights, in evaluation mode.

        Raises:
            ValueError: something is missing, left over or misshapen; it is listed.
        """
        if self.different:
            raise ValueError(self.different)
        model = build(self.network, **self.settings)
        model.load_state_dict(self.tensors)
        return model.eval()


def recognise(path: Path, choices: Choices | None = None) -> Recognised:
    """Tell what a file of weights (or a folder of one, or of shards) is.

    Raises:
        OSError: it cannot be read.
        SeveralReadingsError: more than one reading remains.
        ValueError: damaged, more than tensors, or of no network that is known here.
    """
    choices = choices or Choices()
    read = read_entries(path, choices.take)
    tensors, published = read.tensors, bool(read.published)
    if read.backbone is not None:
        raise ValueError(f"{path} holds a backbone ({read.backbone}) only, which finds nothing by itself")
    if not read.has_decoder:
        names = sorted([*tensors, *read.left], key=lambda name: name.startswith(_IN_ALL))
        raise ValueError(
            f"{path} is of another task or of a network that is not known here: its entries are called "
            f"{', '.join(names[:3])}, …; known are AVISM, ACVIS, H2S and TPAVI"
        )
    assumed = [*read.choices]
    heads = _heads(tensors, choices, path, ours=not published)
    if any(name.startswith("clip_decoder.") for name in tensors):
        program, network = "TPAVI (2023)", "tpavi"
        settings = read_tpavi_architecture(tensors, heads=heads)
        _assume(settings, assumed, choices.clip_frames, clip_frames=2)
    else:
        program, network = ("H2S", "h2s") if is_h2s(tensors) else ("AVISM", "avism")
        settings = read_architecture(tensors, heads=heads) | {"heads": heads}
        if read.acvis or not (published or "frame_decoder.audio_fusion.after.weight" in tensors):
            settings["audio_queries"] = "audio_centric"
        if published and choices.heads is None:
            assumed.append(f"{heads} heads, as all released models have (heads decides)")
        _assume(settings, assumed, choices.window, window=6)
    if settings.get("audio_queries") == "audio_centric":
        program = "ACVIS"
    settings |= _audio(tensors, settings, choices, path, ours=not published)
    tensors = with_counters(_entries(network, settings) or {}, tensors)
    return Recognised(
        program=program,
        network=network,
        spelling=f"published ({read.published}.…)" if published else "ours",
        settings=settings,
        tensors=tensors,
        categories=read.categories,
        categories_from=read.categories_from,
        different=_different(network, settings, tensors),
        left=read.left,
        assumed=assumed,
        notes=read.notes,
    )


def _assume(settings: dict[str, Any], assumed: list[str], chosen: int | None, **usual: int) -> None:
    """Take what was chosen, or what is usual, which is then said."""
    for name, value in usual.items():
        settings[name] = value if chosen is None else chosen
        if chosen is None:
            assumed.append(
                f"{name} {value}, as published: it leaves no trace in the tensors ({name} decides)"
            )


def _heads(tensors: dict[str, Tensor], choices: Choices, path: Path, *, ours: bool) -> int:
    """The number of heads: only its product with the number of points shows.

    Raises:
        SeveralReadingsError: of a model of ours, which may have any, there are several readings.
        ValueError: the chosen number, or that of released models, does not go with the shapes.
    """
    allowed = split_heads(tensors)
    if not allowed:  # a part is missing, and is listed later
        return choices.heads or HEADS
    readings = ", ".join(f"{heads} heads of {points} points" for heads, points in allowed)
    if choices.heads is not None:
        if choices.heads not in dict(allowed):
            raise ValueError(f"{path} cannot have {choices.heads} heads: its shapes allow {readings}")
        return choices.heads
    if len(allowed) == 1:
        return allowed[0][0]
    if ours or HEADS not in dict(allowed):
        raise SeveralReadingsError(f"{path} can be read in {len(allowed)} ways: {readings}; heads decides")
    return HEADS


def _audio(
    tensors: dict[str, Tensor], settings: dict[str, Any], choices: Choices, path: Path, *, ours: bool
) -> dict[str, Any]:
    """What it hears: an encoder of its own shows; an AVISM of features and a deaf one have equal shapes."""
    if "audio" in settings:  # an encoder of its own, or a TPAVI without fusions
        if choices.audio not in (None, settings["audio"]):
            raise ValueError(
                f"{path} cannot have audio {choices.audio}: its tensors show {settings['audio']}"
            )
        return {}
    if choices.audio == "vggish":
        raise ValueError(f"{path} cannot have audio vggish: it holds no encoder of sound")
    hears = "clip_decoder.audio_content.weight" in tensors  # a TPAVI that hears features
    if choices.audio is None and ours and not hears:
        raise SeveralReadingsError(
            f"{path} can be read in 2 ways: it hears features that VGGish made of the sound, or it is deaf; "
            "audio (features or none) decides"
        )
    return {"audio": choices.audio or "features"}


def _entries(network: str, settings: dict[str, Any]) -> dict[str, Tensor] | None:
    """Names and shapes of a network; None where the settings make none."""
    try:
        with torch.device("meta"):  # names and shapes cost nothing there
            return build(network, **settings).state_dict()
    except (ValueError, RuntimeError, ArithmeticError):
        return None


def _different(network: str, settings: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    try:
        with torch.device("meta"):  # names and shapes cost nothing there
            own = build(network, **settings).state_dict()
        require_same_entries(own, tensors)
    except (ValueError, RuntimeError, ArithmeticError) as error:
        return str(error)
    return ""


def numbered(names: Sequence[str]) -> dict[int, str]:
    """Categories by id, from 1 on, in the order of the class head."""
    return dict(enumerate(names, start=1))
