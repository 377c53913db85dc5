"""Options that several commands take, and what they mean."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError


class Split(StrEnum):
    """Of the data set."""

    train = "train"
    val = "val"
    test = "test"


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
