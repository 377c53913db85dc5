"""The evaluate stage: scores one variant's predictions on the test clips in both protocols."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.core.errors import AvisError
from components.core.files import replace_folder, write_json, write_text
from components.core.params import EngineParams
from components.core.paths import Paths
from components.core.records import read_annotations
from components.core.tracking import continue_run
from components.evaluate import films, tables
from components.evaluate.bootstrap import LEVEL_PERCENT, confidence_intervals, rounded_intervals
from components.evaluate.evaluate import Scores, rounded, score_indexed
from components.evaluate.params import EvaluateParams
from components.evaluate.reading import index_results
from components.evaluate.report import write_report

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

    Writes metrics.json, intervals.json, per_category.csv, per_clip.csv, plots/, overlays/ and report.html.

    Raises:
        AvisError: the variant is unknown, or annotations or results are missing or wrong.
    """
    if variant not in known_variants:
        raise AvisError(
            f"variant {variant!r} does not exist",
            where="params.yaml, variants",
            fix=f"Known: {', '.join(known_variants) or 'none'}.",
        )
    annotations = read_annotations(paths.annotations / "test.json")
    index = index_results(paths.predictions(variant) / "results.json", annotations)
    scores = score_indexed(annotations, index, engine=engine)
    intervals = {
        protocol: confidence_intervals(part.counts, resamples=params.resamples, seed=params.seed)
        for protocol, part in scores.protocols.items()
    }

    folder = paths.evaluation(variant)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {str(protocol): rounded(part.values) for protocol, part in scores.protocols.items()}
    write_json(folder / "metrics.json", metrics)
    write_json(
        folder / "intervals.json",
        {
            **{str(protocol): rounded_intervals(found) for protocol, found in intervals.items()},
            "level_percent": LEVEL_PERCENT,
            "resamples": params.resamples,
        },
    )
    write_text(folder / "per_category.csv", tables.category_csv(scores))
    write_text(folder / "per_clip.csv", tables.clip_csv(scores))
    with replace_folder(folder / "plots") as plots:
        for protocol, part in scores.protocols.items():
            for curve in tables.curves(part.added):
                write_text(plots / f"{curve.name}_{protocol}.csv", tables.curve_csv(curve))
    chosen = films.choose(scores.protocols["corrected"].clips, params)
    with replace_folder(folder / "overlays") as overlays:
        missing = films.write_films(
            overlays, chosen, annotations, index, params=params, engine=engine, paths=paths
        )
    shown = [(name, reason) for name, reason in chosen if (folder / "overlays" / f"{name}.mp4").is_file()]
    write_report(
        folder / "report.html",
        variant=variant,
        scores=scores,
        intervals=intervals["corrected"],
        films=shown,
        missing=missing,
        params=params,
    )
    _log(variant, folder, metrics, paths)
    _say(variant, metrics, intervals["corrected"], folder)
    return scores


def _log(
    variant: str, folder: Path, metrics: Mapping[str, Mapping[str, float | int | None]], paths: Paths
) -> None:
    with continue_run(paths.model(variant) / "run.json", paths=paths) as run:
        run.dataset("test", paths.annotations / "test.json", "evaluation")
        run.metrics(
            {
                f"{protocol}/{name}": float(value)
                for protocol, values in metrics.items()
                for name, value in values.items()
                if value is not None
            }
        )
        for name in ("report.html", "per_category.csv", "per_clip.csv", "intervals.json"):
            run.artifact(folder / name, "evaluation")
        for name in ("plots", "overlays"):
            run.artifact(folder / name, f"evaluation/{name}")


def _say(
    variant: str,
    metrics: Mapping[str, Mapping[str, float | int | None]],
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
