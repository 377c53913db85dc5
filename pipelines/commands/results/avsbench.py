"""`avis avsbench`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class AvsLayout(StrEnum):
    """Of a download of AVSBench."""

    s4 = "s4"
    ms3 = "ms3"
    avss = "avss"


class AvsSplit(StrEnum):
    """Of AVSBench; in train not every frame has a mask."""

    val = "val"
    test = "test"


def avsbench(
    folder: Annotated[Path, typer.Argument(help="The download; docs/avsbench.md shows its layouts.")],
    layout: Annotated[AvsLayout, typer.Option(help="Which of the three data sets it is.")],
    split: Annotated[AvsSplit, typer.Option()] = AvsSplit.test,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the masks (PNG) in this folder, not a model.")
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="avss: YAML lines `category of the model: class of AVSBench`.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
) -> None:
    """Score a model, or masks, on AVSBench."""
    from pipelines.commands.avsbench import evaluate_avsbench

    evaluate_avsbench(folder, layout.value, split.value, model, predictions, categories, json)
