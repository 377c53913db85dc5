"""`avis avsbench`: a model, or masks of any program, on AVSBench."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Model, model_folder

PROTOCOLS = ("official", "corrected")


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
    model: Model = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the masks (PNG) in this folder, not a model.")
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="avss: YAML lines `category of the model: class of AVSBench`.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
) -> None:
    """Score a model, or masks, on AVSBench."""
    from components.core.run.files import write_json
    from components.tools.avsbench.benchmark import score_given, score_model
    from components.tools.avsbench.layouts import find_videos

    _check_options(layout, model, predictions, categories)
    videos = find_videos(folder, layout.value, split.value)
    report: dict[str, Any] = {
        "benchmark": "AVSBench",
        "layout": layout.value,
        "split": split.value,
        "unit": "percent",
    }
    if predictions is None:
        report |= score_model(folder, layout.value, videos, model_folder(model), categories)
    else:
        report |= score_given(folder, layout.value, videos, predictions)
    if json is not None:
        write_json(json, report)
    _print(report, len(videos))


def _check_options(
    layout: AvsLayout, model: str | None, predictions: Path | None, categories: Path | None
) -> None:
    if predictions is not None and model is not None:
        raise AvisError("--model and --predictions cannot both be scored", fix="Leave one of them out.")
    if categories is not None and (layout is not AvsLayout.avss or predictions is not None):
        raise AvisError(
            "--categories is for a model on avss only",
            fix="Leave it out: masks of s4 and ms3 have no classes, and given masks have AVSBench's.",
        )
    if predictions is not None and not predictions.is_dir():
        raise AvisError("there is no such folder of masks", where=str(predictions))


def _print(report: dict[str, Any], number_of_videos: int) -> None:
    from components.core.text.terminal import print_table

    if "classes" in report["official"]:
        _print_classes(report)
    rows = []
    for protocol in PROTOCOLS:
        values = report[protocol]
        for name in ("M_J", "M_F", "M_J_noBg", "M_F_noBg"):
            if name in values:
                interval = values["intervals"].get(name)
                between = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "-"
                rows.append((protocol, name, _shown(values[name]), between))
    title = f"AVSBench {report['layout']}, {report['split']}, {number_of_videos} videos, 95 % intervals"
    columns = ("protocol", "number", "percent", "interval")
    print_table(columns, rows, numbers=columns[2:], title=title)
    without = report.get("categories_without_class")
    if without:
        print(f"Categories without a class, counted as background: {', '.join(without)}.")
    if report.get("unknown_pixels"):
        print(
            f"{report['unknown_pixels']} pixels of the true masks have a colour that is no class; "
            "they count as background."
        )


def _print_classes(report: dict[str, Any]) -> None:
    from components.core.text.terminal import print_table

    columns = ("class", "frames", "official IoU", "official F", "corrected IoU", "corrected F")
    rows = []
    for name, official in report["official"]["classes"].items():
        corrected = report["corrected"]["classes"].get(name, {"IoU": None, "F": None, "true_frames": 0})
        numbers = (_shown(row[key]) for row in (official, corrected) for key in ("IoU", "F"))
        rows.append((name, str(corrected["true_frames"]), *numbers))
    print_table(columns, rows, numbers=columns[1:], title="IoU and F of the classes that occur: percent")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
