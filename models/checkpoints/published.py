"""A ready model from a released checkpoint of AVISM, ACVIS or H2S."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoints.architecture import HEADS, is_h2s, read_architecture, with_counters
from models.checkpoints.parameter_names import is_acvis, our_entries
from models.networks.avism.avism import Avism
from models.networks.backbones.backbone import load_backbone
from models.networks.backbones.choice import read_from_files
from models.networks.backbones.released_weights import which_backbone
from models.networks.registry import build
from models.weight_files.checkpoint_file import ALLOWED, named_tensors, read_checkpoint, require_same_entries
from models.weight_files.contents import Take

_OURS = ("frame_decoder.", "video_module.", "pixel_decoder.", "backbone.network.")
_OUR_TPAVI = ("clip_decoder.", "fusions.")


def load_published(
    checkpoint: Path | str | Mapping[str, Tensor | NDArray[Any]], *, take: Take | None = None, **config: Any
) -> Avism:
    """A model, ready for inference, from a released checkpoint.

    Args:
        checkpoint: a ``.pth``, ``.ckpt``, ``.pkl`` or ``.safetensors`` file of AVISM, ACVIS or H2S, a folder
            of one or of shards, or the state dict out of one (of arrays, too; ``model`` may be a key around
            it). A file of a backbone alone gives a model whose other parameters are untrained, with a
            warning.
        take: "ema" or "raw", of a checkpoint that holds averaged and raw parameters; by default the averaged
            ones, with a warning.
        config: what shapes cannot tell and is not as published (``heads``, ``window``), and settings of
            ``AvismConfig`` in general, which then override what the shapes say.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint of this model; missing, unexpected and misshapen entries are listed.
    """
    where = str(checkpoint) if isinstance(checkpoint, (str, Path)) else "the checkpoint"
    state = _read(checkpoint, take)
    _refuse_ours(state, where)
    backbone = which_backbone(state)
    if backbone is not None:
        model = build("avism", **{"backbone": backbone} | config)
        try:
            load_backbone(model.backbone, state)
        except ValueError as error:
            raise ValueError(f"{where} does not hold a {model.config.backbone}: {error}") from error
        fresh = sum(not name.startswith("backbone.") for name in model.state_dict())
        warnings.warn(
            f"{where} holds a backbone ({backbone}) only: the other {fresh} parameters of the model are "
            "untrained",
            stacklevel=3,
        )
        return model.eval()
    renamed, _left = our_entries(state)
    settings = read_architecture(renamed, heads=config.get("heads", HEADS))
    settings |= ({"audio_queries": "audio_centric"} if is_acvis(state) else {}) | config
    network: Literal["avism", "h2s"] = "h2s" if is_h2s(renamed) else "avism"
    with torch.device("meta"):  # names and shapes cost nothing there
        own = build(network, **settings).state_dict()
    if not set(own) & set(renamed):
        raise ValueError(
            f"{where} is of another model: its entries are called {', '.join(list(state)[:3])}, …; allowed "
            f"are checkpoints of AVISM, ACVIS and H2S, and of the backbones {read_from_files()}"
        )
    renamed = with_counters(own, renamed)
    try:
        require_same_entries(own, renamed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}{_ancestor(renamed)}") from error
    ready = build(network, **settings)
    ready.load_state_dict(renamed)
    return ready.eval()


def _read(
    checkpoint: Path | str | Mapping[str, Tensor | NDArray[Any]], take: Take | None
) -> dict[str, Tensor]:
    if isinstance(checkpoint, (str, Path)):
        return read_checkpoint(checkpoint, take)
    if isinstance(checkpoint, Mapping):
        return named_tensors(dict(checkpoint), take=take)
    raise ValueError(
        f"the checkpoint is of type {type(checkpoint).__name__}; allowed: the path of {ALLOWED}, or a "
        "state dict"
    )


def _refuse_ours(state: Mapping[str, Tensor], where: str) -> None:
    """A model of ours has settings that no shape shows; they stand beside its weights."""
    if any(name.startswith(_OUR_TPAVI) for name in state):
        what = "is a TPAVI of ours"
    elif any(name.startswith(_OURS) for name in state):
        what = "is already in our names"
    else:
        return
    raise ValueError(
        f"{where} {what}: use models.checkpoints.saved.load_model on the folder of the saved model (weights "
        "by `avis weights` are for train.start_from)"
    )


def _ancestor(renamed: dict[str, Tensor]) -> str:
    """What to do with a checkpoint of the models that AVISM grew out of."""
    if "frame_decoder.query_content.weight" not in renamed or any("audio_" in name for name in renamed):
        return ""
    kind = "VITA" if any(name.startswith("video_module.") for name in renamed) else "Mask2Former"
    return (
        f". It is a {kind}, which hears nothing: to train an AVISM from it, convert it with `avis weights` "
        "and name the result in train.start_from"
    )
