"""`avis avsbench`: a model, or masks of any program, on AVSBench."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.params import read_block
from components.tools.avsbench.layouts import AvsVideo, Layout, check_files, find_videos

if TYPE_CHECKING:
    from components.tools.avsbench.evaluate import Masks

PROTOCOLS = ("official", "corrected")


def evaluate_avsbench(
    folder: Path,
    layout: Layout,
    split: str,
    model: str | None,
    predictions: Path | None,
    categories: Path | None,
    out: Path | None,
) -> None:
    """Score a model or given masks on a split of AVSBench, print the numbers, write all of them to ``out``.

    Args:
        folder: the download; docs/avsbench.md shows its layouts.
        layout: of the folder.
        split: val or test.
        model: a variant's name or a model's folder; by default the first variant.
        predictions: a folder of masks, scored instead of a model's.
        categories: AVSS: a YAML file `category of the model: class of AVSBench`.
        out: a JSON file.

    Raises:
        AvisError: what does not go together, or is missing or damaged.
    """
    _check_options(layout, model, predictions, categories)
    videos = find_videos(folder, layout, split)
    report: dict[str, Any] = {"benchmark": "AVSBench", "layout": layout, "split": split, "unit": "percent"}
    report |= (
        _score_model(folder, layout, videos, model, categories)
        if predictions is None
        else _score_given(folder, layout, videos, predictions)
    )
    if out is not None:
        write_json(out, report)
    _print(report, videos)


def _check_options(
    layout: Layout, model: str | None, predictions: Path | None, categories: Path | None
) -> None:
    if predictions is not None and model is not None:
        raise AvisError("--model and --predictions cannot both be scored", fix="Leave one of them out.")
    if categories is not None and (layout != "avss" or predictions is not None):
        raise AvisError(
            "--categories is for a model on avss only",
            fix="Leave it out: masks of s4 and ms3 have no classes, and given masks have AVSBench's.",
        )
    if predictions is not None and not predictions.is_dir():
        raise AvisError("there is no such folder of masks", where=str(predictions))


def _score_given(folder: Path, layout: Layout, videos: list[AvsVideo], predictions: Path) -> dict[str, Any]:
    from components.tools.avsbench.given import GivenMasks
    from components.tools.avsbench.palette import read_class_names

    names = read_class_names(folder) if layout == "avss" else []
    check_files(videos, frames=False, sound=False)
    masks = GivenMasks(predictions, layout, videos)
    return {"predictions": str(predictions), **_scores(videos, masks, names)}


def _score_model(
    folder: Path, layout: Layout, videos: list[AvsVideo], model: str | None, categories: Path | None
) -> dict[str, Any]:
    from components.annotate.categories import read_category_map
    from components.extract.params import ExtractParams
    from components.predict.params import PredictParams
    from components.tools.avsbench.categories import classes_of_categories
    from components.tools.avsbench.found import FoundMasks
    from components.tools.avsbench.palette import read_class_names
    from pipelines.commands.options import model_folder

    names = read_class_names(folder) if layout == "avss" else []
    mapping = {} if categories is None else read_category_map(categories, "--categories")
    home = model_folder(model)
    params = read_block("predict", PredictParams)
    encoder = read_block("extract", ExtractParams, optional=True).audio_weights
    masks = FoundMasks(home, params, Path(encoder) if encoder else None)
    about: dict[str, Any] = {"model": str(home), "score_threshold": params.score_threshold}
    if layout == "avss":
        masks.class_of, without = classes_of_categories(masks.categories, names, mapping)
        about["classes_of_categories"] = {
            masks.categories[number]: names[label] for number, label in masks.class_of.items()
        }
        about["categories_without_class"] = without
    check_files(videos, frames=True, sound=masks.hears)
    return {**about, **_scores(videos, masks, names)}


def _scores(videos: list[AvsVideo], masks: "Masks", class_names: list[str]) -> dict[str, Any]:
    """By protocol; class names make it the semantic task."""
    from components.evaluate.params import EvaluateParams
    from components.tools.avsbench.evaluate import evaluate_binary, evaluate_semantic

    params = read_block("evaluate", EvaluateParams, optional=True)
    resamples, seed = params.resamples, params.seed
    if class_names:
        return evaluate_semantic(videos, masks, class_names, resamples=resamples, seed=seed)
    return evaluate_binary(videos, masks, resamples=resamples, seed=seed)


def _print(report: dict[str, Any], videos: list[AvsVideo]) -> None:
    console = Console()
    if "classes" in report["official"]:
        console.print(_class_table(report))
    table = Table(
        title=f"AVSBench {report['layout']}, {report['split']}, {len(videos)} videos, 95 % intervals"
    )
    for name in ("protocol", "number", "percent", "interval"):
        table.add_column(name, justify="right" if name in ("percent", "interval") else "left")
    for protocol in PROTOCOLS:
        values = report[protocol]
        for name in ("M_J", "M_F", "M_J_noBg", "M_F_noBg"):
            if name in values:
                interval = values["intervals"].get(name)
                between = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "-"
                table.add_row(protocol, name, _shown(values[name]), between)
    console.print(table)
    without = report.get("categories_without_class")
    if without:
        print(f"Categories without a class, counted as background: {', '.join(without)}.")
    if report.get("unknown_pixels"):
        print(
            f"{report['unknown_pixels']} pixels of the true masks have a colour that is no class; "
            "they count as background."
        )


def _class_table(report: dict[str, Any]) -> Table:
    table = Table(title="IoU and F of the classes that occur: percent")
    for name in ("class", "frames", "official IoU", "official F", "corrected IoU", "corrected F"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for name, official in report["official"]["classes"].items():
        corrected = report["corrected"]["classes"].get(name, {"IoU": None, "F": None, "true_frames": 0})
        table.add_row(
            name,
            str(corrected["true_frames"]),
            *(_shown(row[key]) for row in (official, corrected) for key in ("IoU", "F")),
        )
    return table


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
