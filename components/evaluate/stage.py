"""The evaluate stage: scores one variant's predictions on the test clips in both protocols."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.metrics.accumulate import NO_TRACKS
from components.core.metrics.bootstrap import confidence_intervals
from components.core.metrics.failures.tables import totals
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.score import Scores, score_indexed
from components.core.records.annotations import read_annotations
from components.core.records.checked_results import index_results
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.tracking.run import continue_run
from components.evaluate.films import FilmSource, pipeline_media
from components.evaluate.output import COUNTS, FILES, FOLDERS, Metrics, write_evaluation
from components.evaluate.params import EvaluateParams
from components.evaluate.stills import write_stills

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
    annotations = read_annotations(paths.annotations / "test.json")
    index = index_results(paths.predictions(variant) / "results.json", annotations)
    scores = score_indexed(
        annotations, index, engine=engine, failure_score_threshold=params.failure_score_threshold
    )
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
    )
    with TemporaryDirectory() as temporary:
        stills = write_stills(Path(temporary), source, score_threshold=params.failure_score_threshold)
        _log(variant, folder, metrics, scores.failures, stills, params, paths)
    _say(variant, metrics, intervals["corrected"], folder)
    return scores


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
            named["corrected/failures"] = totals(failures.shown)
        run.metrics(
            {
                f"{part}/{name}": float(value)
                for part, values in named.items()
                for name, value in values.items()
                if value is not None and value != NO_TRACKS  # in a plot it would press all others together
            }
        )
        for name in (*FILES, COUNTS):
            run.artifact(folder / name, "evaluation")
        for name in FOLDERS:
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
