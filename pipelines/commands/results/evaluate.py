"""`avis evaluate`: how good results are, how sure that is, and whether they are better than others."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from components.core.metrics.paired import Difference
    from components.core.metrics.score import Scores
    from components.core.records.checked_results import ResultsIndex

_LEFT_OUT_SHOWN = 10


class Protocol(StrEnum):
    """Whose numbers."""

    official = "official"
    corrected = "corrected"
    both = "both"


def evaluate(
    ground_truth: Annotated[Path, typer.Option(help="AVISeg JSON.")],
    results: Annotated[Path, typer.Option(help="Results in the official format.")],
    protocol: Annotated[Protocol, typer.Option(help="docs/results.md tells them apart.")] = Protocol.both,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Other results for the same videos: which are better, or is it noise?")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page of what goes wrong, with tables and plots.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder with JPEGImages and WAVAudios, for the report's films.")
    ] = None,
    lenient: Annotated[bool, typer.Option(help="Leave wrong rows out and count them.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if results are read otherwise than they stand there.")
    ] = False,
) -> None:
    """Score a results file against annotations."""
    from components.core.metrics.bootstrap import LEVEL_PERCENT, confidence_intervals, rounded_intervals
    from components.core.metrics.paired import paired_differences
    from components.core.metrics.protocols import PROTOCOLS
    from components.core.metrics.score import numbers, protocols_of, score_indexed
    from components.core.records.annotations import read_annotations
    from components.core.records.checked_results import index_results
    from components.core.run.files import write_json
    from components.core.run.params import EngineParams, read_block
    from components.evaluate.films import FilmSource, find_media
    from components.evaluate.params import EvaluateParams
    from components.evaluate.stage import write_evaluation
    from components.tools.score_tables import differences_document, print_differences, print_numbers

    if media is not None and report is None:
        raise AvisError("--media is for the films of a report", fix="Name the report's folder: --report.")
    if report is not None:
        _check_report_folder(report)
    pictures = None if media is None else find_media(media)
    engine = read_block("engine", EngineParams, optional=True)
    params = read_block("evaluate", EvaluateParams, optional=True)
    chosen = protocols_of(protocol.value)
    output = report or json
    work_folder = None if output is None else output.parent
    annotations = read_annotations(ground_truth, work_folder)

    def scored(path: Path, *, with_failures: bool) -> "tuple[Scores, ResultsIndex]":
        index = index_results(path, annotations, lenient=lenient, work_folder=work_folder)
        index.changes.refuse({}, strict=strict, max_share=0, where=str(path), setting="")
        for line in index.report():
            print(line)
        scores = score_indexed(
            annotations,
            index,
            PROTOCOLS if with_failures else chosen,
            lenient=lenient,
            engine=engine,
            failure_score_threshold=params.threshold() if with_failures else None,
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
        **({"changes": scores.changes.rows()} if scores.changes else {}),
    }
    differences: dict[str, dict[str, Difference | None]] = {}  # by protocol and name
    if against is not None:
        other, _ = scored(against, with_failures=False)
        differences = {
            str(name): paired_differences(
                scores.protocols[name].counts, part.counts, resamples=params.resamples, seed=params.seed
            )
            for name, part in other.protocols.items()
        }
        document["against"] = {
            **({"changes": other.changes.rows()} if other.changes else {}),
            "file": str(against),
            **{name: differences_document(found) for name, found in differences.items()},
            "left_out": other.left_out,
        }
    print_numbers(scores, chosen, intervals)
    for name, found in differences.items():
        assert against is not None  # noqa: S101 - differences are from these
        print_differences(name, found, results, against)
    _say_left_out(results, scores.left_out)
    if against is not None:
        _say_left_out(against, document["against"]["left_out"])
    if json is not None:
        write_json(json, document)
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


def _say_left_out(path: Path, messages: list[str]) -> None:
    if not messages:
        return
    rows = "1 wrong row" if len(messages) == 1 else f"{len(messages)} wrong rows"
    print(f"{rows} of {path} left out:")
    for message in messages[:_LEFT_OUT_SHOWN]:
        print(f"  {message}")
    if len(messages) > _LEFT_OUT_SHOWN:
        print(f"  and {len(messages) - _LEFT_OUT_SHOWN} more; --json lists them all")
