"""`avis evaluate`: how good results are, how sure that is, and whether they are better than others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from components.core.metrics.accumulate import HEADLINES
from components.core.metrics.bootstrap import LEVEL_PERCENT, confidence_intervals, rounded_intervals
from components.core.metrics.paired import Difference, paired_differences
from components.core.metrics.protocols import PROTOCOLS, Protocol
from components.core.metrics.score import Scores, numbers, protocols_of, score_indexed
from components.core.records.annotations import read_annotations
from components.core.records.checked_results import ResultsIndex, index_results
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.params import EngineParams, read_block
from components.evaluate.films import FilmSource, find_media
from components.evaluate.params import EvaluateParams
from components.evaluate.stage import write_evaluation

_LEFT_OUT_SHOWN = 10

Differences = dict[str, dict[str, Difference | None]]  # by protocol and name


def evaluate(
    ground_truth: Path,
    results: Path,
    protocol: Literal["official", "corrected", "both"],
    *,
    out: Path | None,
    against: Path | None,
    report: Path | None,
    media: Path | None,
    lenient: bool,
) -> None:
    """Score a results file, print the main numbers of each protocol, and write all of them to ``out``.

    Args:
        ground_truth, results: the files.
        protocol: whose numbers.
        out: a JSON file.
        against: other results for the same videos, to compare with.
        report: a folder for the page of what goes wrong, in both protocols, with its tables and plots.
        media: pictures and sounds of the videos, for the report's films.
        lenient: leave out wrong rows of the results and count them.

    Raises:
        AvisError: a file is missing or wrong; it names row, video and frame.
    """
    if media is not None and report is None:
        raise AvisError("--media is for the films of a report", fix="Name the report's folder: --report.")
    if report is not None:
        _check_report_folder(report)
    pictures = None if media is None else find_media(media)
    engine = read_block("engine", EngineParams, optional=True)
    params = read_block("evaluate", EvaluateParams, optional=True)
    chosen = protocols_of(protocol)
    annotations = read_annotations(ground_truth)

    def scored(path: Path, *, with_failures: bool) -> tuple[Scores, ResultsIndex]:
        index = index_results(path, annotations, lenient=lenient)
        scores = score_indexed(
            annotations,
            index,
            PROTOCOLS if with_failures else chosen,
            lenient=lenient,
            engine=engine,
            failure_score_threshold=params.failure_score_threshold if with_failures else None,
        )
        return scores, index

    scores, index = scored(results, with_failures=report is not None)
    intervals = {
        str(name): confidence_intervals(part.counts, resamples=params.resamples, seed=params.seed)
        for name, part in scores.protocols.items()
    }
    document: dict[str, Any] = {
        **{name: values for name, values in numbers(scores, lenient=lenient).items() if name in chosen},
        "intervals": {
            **{name: rounded_intervals(found) for name, found in intervals.items() if name in chosen},
            "level_percent": LEVEL_PERCENT,
            "resamples": params.resamples,
        },
        "left_out": scores.left_out,
    }
    differences: Differences = {}
    if against is not None:
        other, _ = scored(against, with_failures=False)
        differences = {
            str(name): paired_differences(
                scores.protocols[name].counts, part.counts, resamples=params.resamples, seed=params.seed
            )
            for name, part in other.protocols.items()
        }
        document["against"] = {
            "file": str(against),
            **{name: _differences(found) for name, found in differences.items()},
            "left_out": other.left_out,
        }
    console = Console()
    console.print(_numbers_table(scores, chosen, intervals))
    for name, found in differences.items():
        console.print(_differences_table(name, found, results, against))
    _say_left_out(results, scores.left_out)
    if against is not None:
        _say_left_out(against, document["against"]["left_out"])
    if out is not None:
        write_json(out, document)
    if report is not None:
        source = None if pictures is None else FilmSource(annotations, index, pictures)
        write_evaluation(
            report, scores, intervals, title=results.name, params=params, engine=engine, source=source
        )
        print(f"Report: {report / 'report.html'}")


def _check_report_folder(folder: Path) -> None:
    """Refuse a folder with anything but an earlier report: folders in it would be replaced."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "failures.json").is_file():
        raise AvisError("the report's folder holds something else", where=str(folder), fix="Name a new one.")


def _numbers_table(
    scores: Scores, chosen: Sequence[Protocol], intervals: dict[str, dict[str, tuple[float, float]]]
) -> Table:
    table = Table(title=f"percent, and {LEVEL_PERCENT} % interval over videos")
    table.add_column("")
    for protocol in chosen:
        table.add_column(protocol, justify="right", no_wrap=True)
    for name in HEADLINES:
        cells = []
        for protocol in chosen:
            value, interval = scores.protocols[protocol].values[name], intervals[protocol].get(name)
            text = "-" if value is None else f"{value:.2f}"
            cells.append(text if interval is None else f"{text}   {interval[0]:5.1f} to {interval[1]:5.1f}")
        table.add_row(name, *cells)
    return table


def _differences_table(
    protocol: str, differences: dict[str, Difference | None], results: Path, against: Path | None
) -> Table:
    table = Table(title=f"{protocol}: {results} against {against}")
    for column in ("", "this", "other", "difference", f"{LEVEL_PERCENT} % interval", "p", "verdict"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right", no_wrap=True)
    for name, found in differences.items():
        if found is None:
            table.add_row(name, *"-----", "no such number")
            continue
        table.add_row(
            name,
            f"{found.value:.2f}",
            f"{found.other:.2f}",
            f"{found.difference:+.2f}",
            "-" if found.low is None else f"{found.low:+.1f} to {found.high:+.1f}",
            "-" if found.p is None else f"{found.p:.3f}",
            _verdict(found),
        )
    return table


def _verdict(found: Difference) -> str:
    if found.p is None:
        return "one video: unknown"
    if not found.is_clear:
        return "within noise"
    return "better" if found.difference > 0 else "worse"


def _differences(found: dict[str, Difference | None]) -> dict[str, Any]:
    return {
        name: None
        if one is None
        else {
            "value": round(one.value, 2),
            "other": round(one.other, 2),
            "difference": round(one.difference, 2),
            "interval": None
            if one.low is None or one.high is None
            else [round(one.low, 2), round(one.high, 2)],
            "p": None if one.p is None else round(one.p, 4),
            "verdict": _verdict(one),
        }
        for name, one in found.items()
    }


def _say_left_out(path: Path, messages: list[str]) -> None:
    if not messages:
        return
    rows = "1 wrong row" if len(messages) == 1 else f"{len(messages)} wrong rows"
    print(f"{rows} of {path} left out:")
    for message in messages[:_LEFT_OUT_SHOWN]:
        print(f"  {message}")
    if len(messages) > _LEFT_OUT_SHOWN:
        print(f"  and {len(messages) - _LEFT_OUT_SHOWN} more; --json lists them all")
