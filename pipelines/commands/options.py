"""Options that several commands take, and what they mean."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from components.core.video.any_model import Reading


_MODEL_SUFFIXES = (".pth", ".pt", ".ckpt", ".pkl", ".bin", ".safetensors")
_COUNTER = ".num_batches_tracked"


class Split(StrEnum):
    """Of the data set."""

    train = "train"
    val = "val"
    test = "test"


class Take(StrEnum):
    """Which parameters of a checkpoint that holds two sets."""

    ema = "ema"
    raw = "raw"


class Audio(StrEnum):
    """What a model hears."""

    features = "features"
    vggish = "vggish"
    none = "none"


Model = Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")]


def model_folder(model: str | None) -> Path:
    """Return the folder of a variant, or of the first one; a folder is itself.

    Raises:
        AvisError: it is neither.
    """
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths

    if model is not None and Path(model).is_dir():
        return Path(model)
    variants = read_variant_names()
    if model is not None and model not in variants:
        raise AvisError(
            f"{model!r} is neither a folder nor a variant", fix=f"Variants: {', '.join(variants) or 'none'}."
        )
    if not variants:
        raise AvisError("there are no variants", where="params.yaml, variants", fix="Name a model's folder.")
    return Paths().model(model or variants[0])


def model_path(model: str | None) -> Path:
    """Return the folder or the file of a model: a path as it is, a variant, a version in MLflow.

    Nothing heavy is imported for a path.

    Raises:
        AvisError: there is no such model.
    """
    if model is not None and model.startswith("models:/"):
        from pipelines.flows.champion_model import registered_model

        return registered_model(model)
    if model is not None and Path(model).exists():
        return Path(model)
    if model is not None and (len(Path(model).parts) > 1 or Path(model).suffix in _MODEL_SUFFIXES):
        raise AvisError("there is no such model", where=model, fix="Correct the path.")
    if not Path("params.yaml").is_file():
        what = "no model is named" if model is None else f"there is no model {model!r}"
        raise AvisError(
            f"{what}, and this folder has no params.yaml with variants",
            fix="Name a model's folder or file with --model, or go to the repository's folder.",
        )
    folder = model_folder(model)
    if not (folder / "config.json").is_file():
        raise AvisError(
            "there is no trained model", where=str(folder), fix="Run `dvc repro` or `make demo` first."
        )
    return folder


def reading_of(
    take: Take | None,
    heads: int | None,
    window: int | None,
    clip_frames: int | None,
    audio: Audio | None,
    categories: str = "",
    short_side_px: int | None = None,
) -> "Reading":
    """How a released file is read where its tensors leave something open."""
    from components.core.video.any_model import Reading
    from models.checkpoints.recognised import Choices

    choices = Choices(
        take=take.value if take else None,
        heads=heads,
        window=window,
        audio=audio.value if audio else None,
        clip_frames=clip_frames,
    )
    return Reading(choices, categories, short_side_px)


def left_out(names: Sequence[str]) -> str:
    """Entries that are no part of a network; the steps that norms counted, one for each, as a number."""
    said = [name for name in names if not name.endswith(_COUNTER)]
    counters = len(names) - len(said)
    return ", ".join(said + [f"{counters} counters of norms ({_COUNTER[1:]})"] * (counters > 0))
