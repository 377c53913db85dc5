"""A model, or masks of any program, on a split of AVSBench."""

from pathlib import Path
from typing import Any

from components.annotate.categories import read_category_map
from components.core.inference.params import PredictParams
from components.core.run.params import read_block
from components.evaluate.params import EvaluateParams
from components.extract.params import ExtractParams
from components.tools.avsbench.categories import classes_of_categories
from components.tools.avsbench.evaluate import Masks, evaluate_binary, evaluate_semantic
from components.tools.avsbench.given_masks import GivenMasks
from components.tools.avsbench.layouts import AvsVideo, Layout, check_files
from components.tools.avsbench.palette import read_class_names


def score_given(folder: Path, layout: Layout, videos: list[AvsVideo], predictions: Path) -> dict[str, Any]:
    """Return what is scored and the scores by protocol, of masks in a folder."""
    names = read_class_names(folder) if layout == "avss" else []
    check_files(videos, frames=False, sound=False)
    masks = GivenMasks(predictions, layout, videos)
    return {"predictions": str(predictions), **_scores(videos, masks, names)}


def score_model(
    folder: Path, layout: Layout, videos: list[AvsVideo], model: Path, categories: Path | None
) -> dict[str, Any]:
    """Return what is scored and the scores by protocol, of a model.

    Args:
        model: its folder.
        categories: AVSS: a YAML file `category of the model: class of AVSBench`.

    Raises:
        AvisError: the model cannot be used, or a category is unknown.
    """
    from components.tools.avsbench.model_masks import FoundMasks  # torch: not for masks that are given

    names = read_class_names(folder) if layout == "avss" else []
    mapping = {} if categories is None else read_category_map(categories, "--categories")
    params = read_block("predict", PredictParams)
    extract = read_block("extract", ExtractParams, optional=True)
    encoder = Path(extract.audio_weights) if extract.audio_weights else None
    masks = FoundMasks(model, params, encoder, extract.resampling)
    about: dict[str, Any] = {"model": str(model), "score_threshold": masks.score_threshold}
    if layout == "avss":
        masks.class_of, without = classes_of_categories(masks.categories, names, mapping)
        about["classes_of_categories"] = {
            masks.categories[number]: names[label] for number, label in masks.class_of.items()
        }
        about["categories_without_class"] = without
    check_files(videos, frames=True, sound=masks.hears)
    return {**about, **_scores(videos, masks, names)}


def _scores(videos: list[AvsVideo], masks: Masks, class_names: list[str]) -> dict[str, Any]:
    """By protocol; class names make it the semantic task."""
    params = read_block("evaluate", EvaluateParams, optional=True)
    resamples, seed = params.resamples, params.seed
    if class_names:
        return evaluate_semantic(videos, masks, class_names, resamples=resamples, seed=seed)
    return evaluate_binary(videos, masks, resamples=resamples, seed=seed)
