"""From gathered results to the page's figures, tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.compare import cells, published
from components.compare.cells import Cell
from components.compare.differences import Differences
from components.compare.gains import Gain
from components.compare.strips import Strip
from components.compare.taught import Taught
from components.compare.variants import Model
from components.core.metrics.paired import Difference
from components.core.records.annotations import AnnotationSet
from components.core.reports import charts
from components.core.reports.page import DASH, render_page
from components.core.run.files import write_text

MLFLOW_URL = "http://127.0.0.1:5000"
"""Where `make ui` opens MLflow."""

SCORES = {
    "corrected": ("mAP", "HOTA", "FSLA", "FSLAn", "FSLAs", "FSLAm"),
    "official": ("mAP", "HOTA", "FSLA"),
}
"""Columns of the score table."""

QUESTIONS = (
    ("category_f1", "category F1"),
    ("count_accuracy", "count exact"),
    ("count_off_by_one", "count ±1"),
    ("count_mae", "count MAE"),
    ("second_category_f1", "second F1"),
    ("frame_accuracy", "frame accuracy"),
    ("temporal_iou", "temporal IoU"),
    ("box_fsla", "box FSLA"),
    ("box_map", "box mAP"),
    ("refer_accuracy", "refer"),
    ("order_accuracy", "order"),
)
"""Columns of the table of who, when and where: key in data/mllm/metrics.json, title."""

BARS = ("category_f1", "second_category_f1", "box_fsla", "refer_accuracy", "order_accuracy")
"""Those that the plot shows."""

ERROR = "count_mae"
"""The one that counts objects, not percent, and where less is better."""


TESTED = ("FSLA", "HOTA", "mAP")
"""Columns of the table of gains over the start, on the test clips."""


@dataclass(frozen=True)
class Comparison:
    """All that the page is made of."""

    dataset: str
    models: Sequence[Model]
    """The variants; the first is the one that the others are compared with."""
    answers: Mapping[str, Mapping[str, float]]
    """Source -> metric, of data/mllm/metrics.json."""
    answer_details: Mapping[str, Mapping[str, Any]]
    """Source -> its intervals and differences, of data/mllm/scores.json."""
    annotations: AnnotationSet
    strips: Sequence[Strip]
    differences: Mapping[str, Differences]
    """Variant, without the first -> how its scores differ from the first's."""
    gains: Sequence[Gain]
    """Of each model over its start."""
    taught: Taught | None
    """What the first screen shows; None where no variant is the start of another."""


def render(comparison: Comparison) -> str:
    """The page as HTML."""
    models, annotations = comparison.models, comparison.annotations
    table = [
        column
        for protocol, metrics in SCORES.items()
        for column in (_score_column(comparison, protocol, metric) for metric in metrics)
    ]
    sources = _sources(comparison)
    return render_page(
        "compare/report.html",
        dataset=comparison.dataset,
        clips_total=len(annotations.videos),
        seconds_total=sum(video.length for video in annotations.videos),
        objects_total=len(annotations.tracks),
        categories_total=len({track.category_id for track in annotations.tracks}),
        disturbed=sorted({model.disturbed for model in models} - {""}),
        reference=models[0].name,
        has_seeds=any(model.further for model in models),
        has_intervals=any(cell.interval for column in table for cell in column),
        tiles=[_tile(models, metric) for metric in ("mAP", "HOTA", "FSLA")],
        headline=_headline(comparison),
        groups=[{"title": f"{protocol} protocol", "columns": names} for protocol, names in SCORES.items()],
        titles=[
            name if protocol == "corrected" else f"{name}, {protocol}"
            for protocol, names in SCORES.items()
            for name in names
        ],
        rows=[
            _row(model, index, scores)
            for index, (model, scores) in enumerate(zip(models, cells.rows(table), strict=True))
        ],
        question_columns=[title for _, title in QUESTIONS],
        error_column=dict(QUESTIONS)[ERROR],
        sources=sources,
        segmented=_segmented(comparison),
        answer_bars=_answer_bars(comparison),
        has_language_models=any(is_language_model(source["name"], models) for source in sources),
        clips=comparison.strips,
        gains=_gains(comparison),
        tested_columns=TESTED,
        taught=comparison.taught,
        curves=_curves(models),
        validation_curves=[curve for model in models for curve in _validation_curve(model)],
        bars=_bars(models),
        published=_published() if comparison.dataset == "aviseg" else None,
        mlflow_url=MLFLOW_URL,
    )


def _score_column(comparison: Comparison, protocol: str, metric: str) -> list[Cell]:
    intervals: list[Difference | None] = [None]
    for model in comparison.models[1:]:
        difference = comparison.differences[model.name][protocol].get(metric)
        # a single clip has a difference, but no interval
        intervals.append(None if difference is None or difference.low is None else difference)
    return cells.column(
        [model.scores[protocol].get(metric) for model in comparison.models],
        intervals,
        deviations=[model.deviations.get(protocol, {}).get(metric) for model in comparison.models],
    )


def _row(model: Model, index: int, scores: Sequence[Cell]) -> dict[str, Any]:
    folder = f"../evaluation/{model.name}"
    return {
        "name": model.name,
        "colour": charts.colour(index),
        "scores": scores,
        "seeds": len(model.trainings),
        "run_id": model.run_id,
        "run_url": run_url(model),
        "report": f"{folder}/report.html",
        "overlays": f"{folder}/overlays/",
        "parameters": _count(model.parameters),
        "training": _duration(model.training_s),
        "per_frame": _duration(model.seconds_per_frame),
    }


def _tile(models: Sequence[Model], metric: str) -> dict[str, Any]:
    scored = [(model.scores["corrected"].get(metric), index) for index, model in enumerate(models)]
    value, index = max(
        ((v, i) for v, i in scored if v is not None), key=lambda pair: pair[0], default=(None, 0)
    )
    return {
        "metric": metric,
        "protocol": "corrected",
        "value": value,
        "interval": models[index].intervals.get(metric),
        "model": models[index].name,
        "colour": charts.colour(index),
    }


def _headline(comparison: Comparison) -> dict[str, Any] | None:
    """What the first variant has over the second: the question that the variants were trained to answer."""
    if len(comparison.models) < 2:
        return None
    first, second = comparison.models[:2]
    difference = comparison.differences[second.name]["corrected"].get("FSLA")
    if difference is None or difference.low is None:
        return None
    return {"model": first.name, "reference": second.name, "difference": difference.reversed()}


def _sources(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows of the table of who, when and where: variants first, baselines and language models after."""
    variants = [model.name for model in comparison.models]
    names = [*variants, *(name for name in comparison.answers if name not in variants)]
    metrics = [comparison.answers.get(name, {}) for name in names]
    columns = [
        cells.column([values.get(key) for values in metrics], less_is_better=key == ERROR, compare=False)
        for key, _ in QUESTIONS
    ]
    details = [comparison.answer_details.get(name, {}) for name in names]
    return [
        {
            "name": name,
            "colour": charts.colour(place) if name in variants else "#cbd5e1",
            "scores": scores,
            "intervals": [found.get("intervals", {}).get(key) for key, _ in QUESTIONS],
            "gaps": [_gap(found.get("differences", {}).get(key), key) for key, _ in QUESTIONS],
            "note": _note(values) if name not in variants else "",
            "invalid": f"{values['invalid']:.0f} of {values['questions']:.0f}"
            if "invalid" in values
            else DASH,
        }
        for place, (name, values, scores, found) in enumerate(
            zip(names, metrics, cells.rows(columns), details, strict=True)
        )
    ]


def _gap(found: Mapping[str, Any] | None, key: str) -> dict[str, Any] | None:
    """A difference to the first variant, on the clips that both have, and whether it is clear."""
    if found is None:
        return None
    low, high = found["interval"] or (None, None)
    direction = ""
    if low is not None and high is not None and (low > 0 or high < 0):
        direction = "up" if (low > 0) != (key == ERROR) else "down"
    return {"value": found["difference"], "low": low, "high": high, "direction": direction}


def _segmented(comparison: Comparison) -> list[dict[str, Any]]:
    """Variants, and language models whose boxes became masks; nothing without such."""
    columns = [f"{protocol}_{name}" for protocol, names in SCORES.items() for name in names]
    found = {
        f"{source} + SAM": values
        for source, values in comparison.answers.items()
        if any(column in values for column in columns)
    }
    if not found:
        return []
    masks = {
        model.name: {f"{p}_{name}": value for p in SCORES for name, value in model.scores[p].items()}
        for model in comparison.models
    }
    rows = [*masks.values(), *found.values()]
    table = cells.rows([cells.column([row.get(name) for row in rows], compare=False) for name in columns])
    return [{"name": name, "scores": row} for name, row in zip((*masks, *found), table, strict=True)]


def _answer_bars(comparison: Comparison) -> list[str]:
    """Who, when and where by source; none where no language model was asked."""
    if not any(is_language_model(name, comparison.models) for name in comparison.answers):
        return []
    shown = (*(model.name for model in comparison.models), "baseline/frequent", "baseline/chance")
    values = {
        name: {title: values.get(key) for key, title in QUESTIONS if key in BARS}
        for name, values in comparison.answers.items()
        if name in shown or is_language_model(name, comparison.models)
    }
    titles = [title for key, title in QUESTIONS if key in BARS]
    return [charts.bar_chart(values, titles, title="who, when and where, by source", y_label="%")]


def is_language_model(source: str, models: Sequence[Model]) -> bool:
    """Whether a source of data/mllm/metrics.json is neither a variant nor one of the baselines."""
    return source not in {model.name for model in models} and not source.startswith("baseline/")


def _note(values: Mapping[str, float]) -> str:
    """What is to know of a language model's row."""
    notes = []
    for metric, lack in (("hears", "deaf"), ("sees", "blind"), ("tells_time", "timeless")):
        if values.get(metric) == 0.0:
            notes.append(lack)
    if values.get("refused"):
        notes.append(f"{values['refused']:.0f} refused")
    if values.get("no_reply"):
        notes.append(f"{values['no_reply']:.0f} without reply")
    if "latency_s" in values:
        notes.append(f"{values['latency_s']:.1f} s a clip")
    if "cost_usd" in values:
        notes.append(f"{values['cost_usd']:.2f} USD")
    return ", ".join(notes)


def run_url(model: Model) -> str | None:
    """The model's run in the MLflow that `make ui` opens; None while MLflow has not seen the run."""
    if model.experiment_id is None:
        return None
    return f"{MLFLOW_URL}/#/experiments/{quote(model.experiment_id)}/runs/{quote(model.run_id)}"


def _curves(models: Sequence[Model]) -> list[str]:
    curves = {
        model.name: ([row["step"] for row in rows], [row["loss"] for row in rows])
        for model in models
        if (rows := [row for row in model.history if "step" in row and "loss" in row])
    }
    if not curves:
        return []
    title = "loss of each variant over the training steps"
    return [charts.line_chart(curves, title=title, x_label="step", y_label="loss", smooth=True)]


def _validation_curve(model: Model) -> list[str]:
    rows = [row for row in model.history if "val_FSLA" in row]
    if len(rows) < 2:
        return []
    steps = [row["step"] for row in rows]
    lines = {name: (steps, [row.get(f"val_{name}", 0.0) for row in rows]) for name in ("FSLA", "HOTA")}
    title = f"{model.name}, FSLA and HOTA on validation clips over the training steps"
    return [charts.line_chart(lines, title=title, x_label="step", y_label="%", size_in=(12, 2.6))]


def write_curves(path: Path, model: Model) -> bool:
    """Write a page with the loss and the validation scores of one model; False if it has no history."""
    curves = [*_curves([model]), *_validation_curve(model)]
    if curves:
        write_text(path, render_page("compare/curves.html", name=model.name, curves=curves))
    return bool(curves)


def _gains(comparison: Comparison) -> list[dict[str, Any]]:
    """A row for each model that was trained: first on validation clips, then on the test clips."""
    rows = []
    for place, gain in enumerate(comparison.gains):
        if not gain.trained:
            continue
        tested = None if gain.tested is None else gain.tested["corrected"]
        rows.append(
            {
                "name": gain.name,
                "colour": charts.colour(place),
                "validated": gain.validated.get("FSLA"),
                "step": gain.step,
                "start": gain.start,
                "tested": [None if tested is None else tested.get(name) for name in TESTED],
                "verdict": None if tested is None else _verdict(tested.get("FSLA")),
            }
        )
    return rows


def _verdict(found: Difference | None) -> str | None:
    if found is None or found.low is None:
        return None
    if not found.is_clear:
        return "FSLA not outside the noise"
    return "FSLA better than its start" if found.difference > 0 else "FSLA worse than its start"


def _bars(models: Sequence[Model]) -> list[str]:
    """A plot per metric, the best categories of the first variant at the left in all of them."""
    first = models[0].category_scores["corrected"]

    def rank(category: str) -> tuple[float, str]:
        value = first.get(category, {}).get("AP")
        return (1.0 if value is None else -value), category

    categories = sorted({c for model in models for c in model.category_scores["corrected"]}, key=rank)
    drawn = []
    for metric in ("AP", "HOTA", "FSLA"):
        values = {
            model.name: {
                category: row.get(metric) for category, row in model.category_scores["corrected"].items()
            }
            for model in models
        }
        if any(value is not None for by_category in values.values() for value in by_category.values()):
            title = f"{metric} of each variant, per category"
            drawn.append(charts.bar_chart(values, categories, title=title, y_label=metric))
    return drawn


def _published() -> dict[str, Any]:
    return {
        "columns": [("method", 0), *((name, place) for place, name in enumerate(published.BACKBONES, 1))],
        "rows": [
            [
                method,
                *(DASH if triple is None else " / ".join(f"{v:.2f}" for v in triple) for triple in triples),
            ]
            for method, triples in published.RESULTS.items()
        ],
    }


def _count(value: int | None) -> str:
    if value is None:
        return DASH
    return f"{value / 1e6:.1f} M" if value >= 1_000_000 else f"{value:,}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
