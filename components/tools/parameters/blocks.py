"""The blocks of params.yaml and their types."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from components.annotate.params import AnnotateParams
from components.compare.params import CompareParams
from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams, ParamsError, ParamsFile
from components.core.storage.choice import StorageParams
from components.core.tracking.address import TrackingParams
from components.evaluate.params import EvaluateParams
from components.extract.params import ExtractParams
from components.ingest.params import IngestParams
from components.mllm.params import MllmParams
from components.qa.params import QaParams
from components.sample.params import SampleParams
from components.tools.promotion.params import PromotionParams
from components.train.params import TrainParams

BLOCKS: dict[str, type[BaseModel]] = {
    "engine": EngineParams,
    "storage": StorageParams,
    "tracking": TrackingParams,
    "sample": SampleParams,
    "ingest": IngestParams,
    "extract": ExtractParams,
    "annotate": AnnotateParams,
    "qa": QaParams,
    "train": TrainParams,
    "predict": PredictParams,
    "evaluate": EvaluateParams,
    "mllm": MllmParams,
    "compare": CompareParams,
    "promotion": PromotionParams,
}


@dataclass
class Blocks:
    """What could be read of a parameter file, and what is wrong with the rest.

    values: typed blocks by name; `dataset` is a text, `variants` a dict of TrainParams by name. A block that
        is wrong is missing, of `variants` the variants that are.
    """

    values: dict[str, Any] = field(default_factory=dict)
    mistakes: list[AvisError] = field(default_factory=list)


def read_blocks(file: ParamsFile, required: Collection[str] = ()) -> Blocks:
    """Read every block through its type.

    Args:
        file: what to read.
        required: the blocks that must be written; the others' types know what holds without them.
    """
    found = Blocks(mistakes=file.unknown_blocks())
    found.mistakes += [file.missing(name) for name in required if name not in file.values]

    def note(error: AvisError) -> None:
        found.mistakes += error.mistakes if isinstance(error, ParamsError) else [error]

    for name, model in BLOCKS.items():
        try:
            found.values[name] = file.block(name, model, optional=True)
        except AvisError as error:
            note(error)
    try:
        found.values["dataset"] = file.dataset()
        names = list(file.variants())
    except AvisError as error:
        note(error)
        return found
    found.values["variants"] = {}
    for name in names:
        try:
            found.values["variants"][name] = file.variant(name, TrainParams)
        except AvisError as error:
            note(error)
    if "variants" in file.values and not names:
        where = file.where(("variants",))
        found.mistakes.append(
            AvisError("variants: there is none, so nothing is trained", where=where, fix="Add `avism: {}`.")
        )
    return found
