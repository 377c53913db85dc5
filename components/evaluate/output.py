"""A scored set as a folder: numbers, tables, plots, films and the page that explains them."""

from collections.abc import Mapping
from pathlib import Path

from components.core.metrics.accumulate import Value
from components.core.metrics.bootstrap import LEVEL_PERCENT, rounded_intervals
from components.core.metrics.counts_file import write_counts
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.score import Scores, rounded
from components.core.run.errors import AvisError
from components.core.run.files import replace_folder, write_json, write_text
from components.core.run.params import EngineParams
from components.evaluate import films, tables
from components.evaluate.films import FilmSource
from components.evaluate.params import EvaluateParams
from components.evaluate.report import write_report

Metrics = dict[str, dict[str, Value]]
FILES = ("report.html", "failures.json", "per_category.csv", "per_clip.csv", "intervals.json")
COUNTS = "counts.safetensors"
FOLDERS = ("failures", "plots", "overlays")


def write_evaluation(
    folder: Path,
    scores: Scores,
    intervals: Mapping[str, dict[str, tuple[float, float]]],
    *,
    title: str,
    params: EvaluateParams,
    engine: EngineParams,
    source: FilmSource | None = None,
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

    Returns:
        the numbers of metrics.json by protocol.

    Raises:
        AvisError: the scores lack a protocol or their failures.
    """
    if scores.failures is None or set(scores.protocols) != {"corrected", "official"}:
        raise AvisError("a report needs both protocols and what goes wrong")
    folder.mkdir(parents=True, exist_ok=True)
    metrics = {str(protocol): rounded(part.values) for protocol, part in scores.protocols.items()}
    write_json(folder / "metrics.json", metrics)
    write_json(
        folder / "intervals.json",
        {
            **{protocol: rounded_intervals(found) for protocol, found in intervals.items()},
            "level_percent": LEVEL_PERCENT,
            "resamples": params.resamples,
        },
    )
    corrected = scores.protocols["corrected"]
    write_counts(
        folder / COUNTS,
        {protocol: part.counts for protocol, part in scores.protocols.items()},
        videos=[str(row["video"]) for row in corrected.clips],
        categories=[str(row["category"]) for row in corrected.categories],
    )
    write_json(folder / "failures.json", failure_tables.document(scores.failures))
    write_text(folder / "per_category.csv", tables.category_csv(scores))
    write_text(folder / "per_clip.csv", tables.clip_csv(scores))
    with replace_folder(folder / "failures") as part:
        for name, text in tables.failure_csvs(scores.failures).items():
            write_text(part / f"{name}.csv", text)
    with replace_folder(folder / "plots") as part:
        for name, text in tables.plot_csvs(scores).items():
            write_text(part / f"{name}.csv", text)
    chosen, missing = [], ["the clips' pictures were not given"]
    with replace_folder(folder / "overlays") as overlays:
        if source is not None:
            chosen = films.choose(corrected.clips, params)
            missing = films.write_films(overlays, chosen, source, params=params, engine=engine)
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
    )
    return metrics
