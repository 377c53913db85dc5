"""The evaluate stage: scores one variant's predictions on the test clips in both protocols.

From top to bottom: read and score (core/metrics/score.py), how sure that is, numbers, tables, films and the
page that explains them, then the variant's run in MLflow.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.metrics.accumulate import NO_TRACKS, Value
from components.core.metrics.bootstrap import LEVEL_PERCENT, confidence_intervals, rounded_intervals
from components.core.metrics.counts_file import write_counts
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.score import Scores, rounded, score_indexed
from components.core.records.annotations import AnnotationSet, read_annotations
from components.core.records.checked_results import index_results
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, scratch_folder, write_json, write_text
from components.core.run.params import EngineParams
from components.core.run.paths import FURTHER, SEEDS, Paths
from components.core.tracking.run import continue_run
from components.evaluate import tables
from components.evaluate.films import FilmSource, choose_films, pipeline_media, write_films
from components.evaluate.params import EvaluateParams
from components.evaluate.report import write_report
from components.evaluate.stills import write_stills

Metrics = dict[str, dict[str, Value]]
_FILES = ("report.html", "failures.json", "per_category.csv", "per_clip.csv", "intervals.json")
_COUNTS = "counts.safetensors"
_FOLDERS = ("failures", "plots", "overlays")
_HEADLINES = ("mAP", "HOTA", "FSLA")


def evaluate(
    variant: str,
    *,
    known_variants: Sequence[str],
    params: EvaluateParams,
    engine: EngineParams,
    paths: Paths,
) -> Scores:
    """Score data/predictions/<variant>, write data/evaluation/<variant>, log into the variant's run.

    Writes what write_evaluation writes.

    Raises:
        AvisError: the variant is unknown, or annotations or results are missing or wrong.
    """
    if variant not in known_variants:
        raise AvisError(
            f"variant {variant!r} does not exist",
            where="params.yaml, variants",
            fix=f"Known: {', '.join(known_variants) or 'none'}.",
        )
    calibration = read_calibration(paths.model(variant))
    threshold = params.threshold(calibration)
    params = params.model_copy(update={"failure_score_threshold": threshold})  # the number is recorded
    annotations = read_annotations(paths.annotations / "test.json", paths.root)
    index = index_results(paths.predictions(variant) / "results.json", annotations)
    for line in index.report():
        print(line)
    scores = score_indexed(annotations, index, engine=engine, failure_score_threshold=threshold)
    intervals = {
        str(protocol): confidence_intervals(part.counts, resamples=params.resamples, seed=params.seed)
        for protocol, part in scores.protocols.items()
    }
    folder = paths.evaluation(variant)
    source = FilmSource(annotations, index, pipeline_media(paths, annotations))
    metrics = write_evaluation(
        folder,
        scores,
        intervals,
        title=variant,
        params=params,
        engine=engine,
        source=source,
        calibration=calibration,
    )
    with scratch_folder() as scratch:
        stills = write_stills(scratch, source, score_threshold=threshold)
        _log(variant, folder, metrics, scores.failures, stills, params, paths)
    _say(variant, metrics, intervals["corrected"], folder)
    further = paths.seeds(variant)
    with replace_folder(folder / SEEDS) as seeds:
        write_json(seeds / FURTHER, len(further))
    for name in further:
        _score_seed(name, annotations, engine, paths)
    return scores


def _score_seed(name: str, annotations: AnnotationSet, engine: EngineParams, paths: Paths) -> None:
    """The scores of a training with a further seed: numbers and counts, no page."""
    index = index_results(paths.predictions(name) / "results.json", annotations)
    scores = score_indexed(annotations, index, engine=engine)
    folder = paths.evaluation(name)
    folder.mkdir(parents=True)
    metrics = _write_numbers(folder, scores)
    with continue_run(paths.model(name) / "run.json", paths=paths) as run:
        run.dataset("test", paths.annotations / "test.json", "evaluation")
        run.metrics(_recorded(metrics))
    corrected = metrics["corrected"]
    print(f"{name}, corrected: {', '.join(f'{headline} {corrected[headline]}' for headline in _HEADLINES)}")


def read_calibration(model: Path) -> dict[str, Any] | None:
    """What training found out about the model's thresholds on val; None if it had no clips for that.

    Raises:
        AvisError: the file is damaged.
    """
    file = model / "calibration.json"
    if not file.is_file():  # of an older training
        return None
    try:
        found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # what json and a wrong encoding raise
        raise AvisError(
            f"the model's calibration cannot be read: {error}",
            where=str(file),
            fix=f"Run: dvc repro --force --single-item train@{model.name}",
        ) from None
    return found


def write_evaluation(
    folder: Path,
    scores: Scores,
    intervals: Mapping[str, dict[str, tuple[float, float]]],
    *,
    title: str,
    params: EvaluateParams,
    engine: EngineParams,
    source: FilmSource | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> Metrics:
    """Write numbers (metrics, intervals, failures as JSON; counts), tables, plots, films and report.html.

    Args:
        folder: made if missing; what an earlier call wrote there is replaced.
        scores: of both protocols, with failures.
        intervals: 95 % intervals of the headline numbers, by protocol.
        title: what was scored, the page's heading.
        params: what the page shows.
        engine: how films are spread.
        source: what films are made of; None makes none, and the page says so.
        calibration: of the model, as training wrote it.

    Returns:
        the numbers of metrics.json by protocol.

    Raises:
        AvisError: the scores lack a protocol or their failures.
    """
    if scores.failures is None or set(scores.protocols) != {"corrected", "official"}:
        raise AvisError("a report needs both protocols and what goes wrong")
    folder.mkdir(parents=True, exist_ok=True)
    metrics = _write_numbers(folder, scores)
    write_json(
        folder / "intervals.json",
        {
            **{protocol: rounded_intervals(found) for protocol, found in intervals.items()},
            "level_percent": LEVEL_PERCENT,
            "resamples": params.resamples,
        },
    )
    corrected = scores.protocols["corrected"]
    write_json(folder / "failures.json", failure_tables.document(scores.failures))
    write_text(folder / "per_category.csv", tables.category_csv(scores))
    write_text(folder / "per_clip.csv", tables.clip_csv(scores))
    with replace_folder(folder / "failures") as part:
        for name, text in tables.failure_csvs(scores.failures).items():
            write_text(part / name, text)
    with replace_folder(folder / "plots") as part:
        for name, text in tables.plot_csvs(scores).items():
            write_text(part / name, text)
    chosen, missing = [], ["the clips' pictures were not given"]
    with replace_folder(folder / "overlays") as overlays:
        if source is not None:
            chosen = choose_films(corrected.clips, params)
            missing = write_films(
                overlays,
                chosen,
                source,
                score_threshold=params.threshold(calibration),
                params=params,
                engine=engine,
            )
    shown = [(name, reason) for name, reason in chosen if (folder / "overlays" / f"{name}.mp4").is_file()]
    write_report(
        folder / "report.html",
        title=title,
        scores=scores,
        intervals=intervals.get("corrected", {}),
        films=shown,
        missing=missing,
        silent=source is not None and source.media.sounds is None,
        params=params,
        calibration=calibration,
    )
    return metrics


def _write_numbers(folder: Path, scores: Scores) -> Metrics:
    """Write metrics.json, and the counts behind it."""
    metrics = {
        str(protocol): {name: values[name] for name in dict.fromkeys((*reversed(_HEADLINES), *values))}
        for protocol, part in scores.protocols.items()
        if (values := rounded(part.values))
    }
    write_json(folder / "metrics.json", metrics, sort_keys=False)  # `dvc exp show` begins with the headlines
    corrected = scores.protocols["corrected"]
    write_counts(
        folder / _COUNTS,
        {protocol: part.counts for protocol, part in scores.protocols.items()},
        videos=[str(row["video"]) for row in corrected.clips],
        categories=[str(row["category"]) for row in corrected.categories],
    )
    return metrics


def _recorded(named: Mapping[str, Mapping[str, Value]]) -> dict[str, float]:
    """Numbers for the run; the official protocol's -100 would press all others together in a plot."""
    return {
        f"{part}/{name}": float(value)
        for part, values in named.items()
        for name, value in values.items()
        if value is not None and value != NO_TRACKS
    }


def _log(
    variant: str,
    folder: Path,
    metrics: Metrics,
    failures: FailureScores | None,
    stills: Mapping[str, Path],
    params: EvaluateParams,
    paths: Paths,
) -> None:
    with continue_run(paths.model(variant) / "run.json", paths=paths) as run:
        run.params({"evaluate": params.model_dump()})
        run.dataset("test", paths.annotations / "test.json", "evaluation")
        named = dict(metrics)
        if failures is not None:
            named["corrected/failures"] = failure_tables.totals(failures.shown)
        run.metrics(_recorded(named))
        for name in (*_FILES, _COUNTS):
            run.artifact(folder / name, "evaluation")
        for name in _FOLDERS:
            run.artifact(folder / name, f"evaluation/{name}")
        for name, picture in stills.items():
            run.image(f"clips/{name}", picture)


def _say(
    variant: str,
    metrics: Metrics,
    intervals: Mapping[str, tuple[float, float]],
    folder: Path,
) -> None:
    for protocol, values in metrics.items():
        parts = []
        for name in _HEADLINES:
            text = f"{name} {values[name]}"
            if protocol == "corrected" and name in intervals:
                low, high = intervals[name]
                text += f" (95 %: {low:.1f} to {high:.1f})"
            parts.append(text)
        print(f"{variant}, {protocol}: {', '.join(parts)}")
    print(f"Report: {folder / 'report.html'}")
