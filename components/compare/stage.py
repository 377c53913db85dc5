"""The stage `compare`: data/comparison/report.html and table.csv over all models on the same test clips."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from components.compare.differences import differences
from components.compare.gains import Gain, gains_over_start
from components.compare.page import Comparison, render, write_curves
from components.compare.params import CompareParams
from components.compare.strips import TRUTH, Strip, choose, film_strip, tracks_of_predictions, tracks_of_truth
from components.compare.table import table_csv
from components.compare.taught import Taught, what_was_taught
from components.compare.variants import Model, read_json, read_model
from components.core.metrics.accumulate import HEADLINES
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.run.errors import AvisError
from components.core.run.files import scratch_folder, write_text
from components.core.run.paths import Paths
from components.core.storage.mirror import with_local_media
from components.core.tracking.run import Run, continue_run


def compare(params: CompareParams, *, dataset: str, variants: Sequence[str], paths: Paths) -> None:
    """Puts all variants and language models side by side.

    Raises:
        AvisError: a result of an earlier stage is missing or malformed, or there is no variant.
    """
    if not variants:
        raise AvisError("there is no variant to compare", where="params.yaml, variants", fix="Name one.")
    with ExitStack() as stack:
        runs = [
            stack.enter_context(continue_run(paths.model(variant) / "run.json", paths=paths))
            for variant in variants
        ]
        models = [
            read_model(variant, run, paths, params) for variant, run in zip(variants, runs, strict=True)
        ]
        gains = gains_over_start(models, params)
        report, table = _write(models, gains, params, dataset, paths)
        for model, gain, run in zip(models, gains, runs, strict=True):
            run.artifact(report, "comparison")
            run.artifact(table, "comparison")
            _record_training(model, gain, run)


def _record_training(model: Model, gain: Gain, run: Run) -> None:
    """The run gets the model's curves as a page, its gain over its start, and its mean over seeds."""
    run.metrics({f"start/{name}": value for name, value in gain.numbers().items()})
    if model.further:
        means, deviations = model.scores["corrected"], model.deviations["corrected"]
        for metric in HEADLINES:
            if metric in deviations:
                run.metrics(
                    {
                        f"seeds/{metric}_mean": means[metric],
                        f"seeds/{metric}_deviation": deviations[metric],
                    }
                )
    if gain.start is not None:
        run.tags({"avis.start": gain.start})
    with scratch_folder() as scratch:
        page = scratch / "curves.html"
        if write_curves(page, model):
            run.artifact(page, "training")


def _write(
    models: Sequence[Model], gains: Sequence[Gain], params: CompareParams, dataset: str, paths: Paths
) -> tuple[Path, Path]:
    annotations = read_annotations(paths.annotations / "test.json", paths.root)
    answers = _answers(paths)
    comparison = Comparison(
        dataset=dataset,
        models=models,
        answers=answers,
        answer_details=_answer_details(paths),
        annotations=annotations,
        strips=_strips(models, annotations, params, paths),
        taught=_taught(models, gains, annotations, params, paths),
        differences={model.name: differences(model, models[0], params) for model in models[1:]},
        gains=gains,
    )
    report, table = paths.comparison / "report.html", paths.comparison / "table.csv"
    write_text(report, render(comparison))
    write_text(table, table_csv(models, answers, comparison.differences, gains))
    return report, table


def _taught(
    models: Sequence[Model],
    gains: Sequence[Gain],
    annotations: AnnotationSet,
    params: CompareParams,
    paths: Paths,
) -> Taught | None:
    """Of the first model that was trained and whose start is a variant."""
    by_name = {model.name: model for model in models}
    for gain in gains:
        if gain.trained and gain.start is not None:
            pair = by_name[gain.start], by_name[gain.name]
            return what_was_taught(*pair, gain, annotations, params, paths)
    return None


def _answers(paths: Paths) -> dict[str, dict[str, float]]:
    path = paths.mllm / "metrics.json"
    answers = read_json(path, "mllm")
    if not all(isinstance(values, dict) for values in answers.values()):
        raise AvisError("not a metric -> value table per source", where=str(path), fix="Run: dvc repro mllm")
    return answers


def _answer_details(paths: Paths) -> dict[str, dict[str, Any]]:
    path = paths.mllm / "scores.json"
    try:
        return dict(read_json(path, "mllm")["sources"])
    except (KeyError, TypeError, ValueError):
        raise AvisError("it names no sources", where=str(path), fix="Run: dvc repro mllm") from None


def _strips(
    models: Sequence[Model], annotations: AnnotationSet, params: CompareParams, paths: Paths
) -> list[Strip]:
    sources = {
        TRUTH: tracks_of_truth(annotations),
        **{
            model.name: tracks_of_predictions(paths.predictions(model.name) / "results.json")
            for model in models
        },
    }
    videos = {video.name: video for video in annotations.videos}

    def clip_score(model: Model, name: str) -> float | None:
        return model.clip_scores["corrected"].get(name, {}).get("FSLA")

    chosen = choose([(name, clip_score(models[0], name) or 0.0) for name in videos], params.clips)
    paths = with_local_media(paths, chosen)
    return [
        film_strip(
            videos[name],
            sources,
            categories=annotations.categories,
            scores=[(model.name, clip_score(model, name)) for model in models],
            params=params,
            paths=paths,
        )
        for name in chosen
    ]
