"""report.html: one page that says how good the predictions are, and what goes wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.metrics.accumulate import HEADLINES, Row
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.failures.frame_causes import CAUSES, SOURCES
from components.core.metrics.failures.rows import NOTHING
from components.core.metrics.failures.sentences import findings
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.failures.video import SIZES
from components.core.metrics.score import ProtocolScores, Scores
from components.core.reports.charts import line_chart
from components.core.reports.page import DASH, render_page
from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.evaluate.params import EvaluateParams
from components.evaluate.tables import curves

# of the outcomes of a frame: right, then the causes (Okabe and Ito's, told apart by everybody)
_OUTCOME_COLOURS = ("#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#0072b2", "#8a8f98")
_RUNS_SHOWN = 12  # of false and of missed sounds
_SWITCHES_SHOWN = 100
_MEANINGS = {
    "mAP": "average precision of whole mask tracks, over IoU 0.5 to 0.95",
    "AP50": "at IoU 0.5",
    "AP75": "at IoU 0.75",
    "AP_small": "tracks below 128² pixels",
    "AP_medium": "128² to 256² pixels",
    "AP_large": "above 256² pixels",
    "AR": "recall of tracks, all predictions",
    "HOTA": "detection and association in one",
    "DetA": "detection accuracy",
    "AssA": "association accuracy",
    "DetRe": "detection recall",
    "DetPr": "detection precision",
    "AssRe": "association recall",
    "AssPr": "association precision",
    "LocA": "overlap of matched masks",
    "FSLA": "frames in which all is right",
    "FSLAn": "silent frames",
    "FSLAs": "frames with one source",
    "FSLAm": "frames with more sources",
}


@dataclass(frozen=True, slots=True)
class Stack:
    """One bar of parts: (outcome, colour, frames, percent of the bar)."""

    name: str
    frames: int
    parts: list[tuple[str, str, int, float]]


@dataclass(frozen=True, slots=True)
class Cell:
    """A pair of the confusion: masks, and their share of the row's, in percent."""

    masks: int
    share: float
    kind: str  # "right", "wrong" or "empty"


def write_report(
    path: Path,
    *,
    title: str,
    scores: Scores,
    intervals: Mapping[str, tuple[float, float]],
    films: Sequence[tuple[str, str]],
    missing: Sequence[str],
    silent: bool,
    params: EvaluateParams,
    calibration: Mapping[str, Any] | None = None,
) -> None:
    """Write the page.

    Args:
        path: the file; overlay videos lie beside it in `overlays/`.
        title: what was scored.
        scores: of both protocols, with failures.
        intervals: 95 % intervals of the corrected headline numbers.
        films: (clip, why it was chosen) of each overlay video.
        missing: overlay videos that could not be made, and why.
        silent: whether the films have no sound.
        params: the stage's.
        calibration: the model's, as training wrote it.

    Raises:
        AvisError: the scores have no failures.
    """
    failures = scores.failures
    if failures is None:
        raise AvisError("a report needs what goes wrong")
    corrected, official = scores.protocols["corrected"], scores.protocols["official"]
    tables = {name: _of_shown(rows, failures) for name, rows in failure_tables.tables(failures).items()}
    clips = _clips(corrected, tables["per_clip_failures"])
    page = render_page(
        "evaluate/report.html",
        title=title,
        headlines=[
            (name, corrected.values[name], intervals.get(name), official.values[name]) for name in HEADLINES
        ],
        meanings=[
            {"name": name, "meaning": meaning}
            | {protocol: part.values[name] for protocol, part in scores.protocols.items()}
            for name, meaning in _MEANINGS.items()
        ],
        charts={str(name): _charts(str(name), part) for name, part in scores.protocols.items()},
        findings=findings(failures),
        totals={name: failure_tables.totals(part) for name, part in failures.selections()},
        shown=failures.shown_name,
        shown_text=failures.shown_name.replace(">=", "≥"),
        threshold=failures.score_threshold,
        everything_shown=_same_masks(failures),
        outcomes=list(zip(("right", *CAUSES), _OUTCOME_COLOURS, strict=True)),
        stacks=_stacks(failures),
        tables=tables,
        false_sounds=_runs(tables["false_sounds"]),
        missed_sounds=_runs(tables["missed_sounds"]),
        sizes=_sizes(tables["per_size"], scores),
        confusion=_confusion(failures),
        categories={
            "corrected": _categories(corrected, tables["per_category_failures"]),
            "official": _worst_first(official.categories),
        },
        switches_shown=_SWITCHES_SHOWN,
        clips=clips,
        films=_films(films, clips),
        missing=missing,
        silent=silent,
        left_out=scores.left_out,
        calibration=calibration,
        reliability=_reliability(calibration),
        resamples=params.resamples,
        frames={kind: corrected.values[f"FSLA{kind}_frames"] for kind in ("", "n", "s", "m")},
    )
    write_text(path, page)


def _of_shown(rows: Sequence[Row], failures: FailureScores) -> list[Row]:
    return [row for row in rows if row["predictions"] == failures.shown_name]


def _same_masks(failures: FailureScores) -> bool:
    return bool(failures.every.by_sources.predicted.sum() == failures.shown.by_sources.predicted.sum())


def _clips(corrected: ProtocolScores, found: Sequence[Row]) -> list[Row]:
    """Put a clip's scores and failures together, the worst first."""
    by_name = {row["video"]: row for row in found}
    clips = [{**by_name.get(row["video"], {}), **row} for row in corrected.clips]
    return sorted(clips, key=lambda row: (_order(row["FSLA"]), _order(row["HOTA"]), str(row["video"])))


def _stacks(failures: FailureScores) -> list[Stack]:
    """Frames by outcome, all of them and for each number of sources that occurs."""
    counts = failures.shown.frames
    rows = [("all frames", counts.sum(0)), *zip(SOURCES, counts, strict=True)]
    stacks = []
    for name, row in rows:
        frames = int(row[0])
        if frames:
            parts = [
                (outcome, colour, int(count), 100 * int(count) / frames)
                for outcome, colour, count in zip(("right", *CAUSES), _OUTCOME_COLOURS, row[1:], strict=True)
                if count
            ]
            label = {"0": "silent", "1": "1 source", "all frames": name}.get(name, f"{name} sources")
            stacks.append(Stack(label, frames, parts))
    return stacks


def _sizes(rows: Sequence[Row], scores: Scores) -> list[Row]:
    ranges = ("(below 128² px)", "(to 256² px)", "(above)")
    return [
        {**row, "size_of": f"{size} {pixels}"}
        | {protocol: part.values[f"AP_{size}"] for protocol, part in scores.protocols.items()}
        for size, pixels, row in zip(SIZES, ranges, rows, strict=True)
    ]


def _categories(corrected: ProtocolScores, found: Sequence[Row]) -> list[Row]:
    """Put a category's scores and failures together."""
    by_name = {row["category"]: row for row in found}
    rows: list[Row] = []
    for row in _worst_first(corrected.categories):
        failed = by_name[row["category"]]
        others = f"{failed['taken_for']} ({failed['taken_for_masks']})" if failed["taken_for"] else ""
        missed = _order(failed["missed_masks"]) + _order(failed["poor_masks"])
        rows.append({**failed, **row, "confused_with": others, "missed_or_poor": int(missed)})
    return rows


def _worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return the categories that have ground truth by their AP."""
    return sorted((row for row in rows if row["AP"] is not None), key=lambda row: _order(row["AP"]))


def _runs(rows: Sequence[Row]) -> list[Row]:
    """Return the longest runs of false or missed sounds, each with its first and last frame."""
    shown: list[Row] = []
    for row in rows[:_RUNS_SHOWN]:
        first, frames = int(_order(row["first_frame"])), int(_order(row["frames"]))
        last = f"{DASH}{first + frames - 1}" if frames > 1 else ""
        shown.append({**row, "from_to": f"{first}{last}"})
    return shown


def _confusion(failures: FailureScores) -> dict[str, object]:
    """The matrix without categories that neither side has: names, and rows of cells."""
    matrix = failures.shown.confusion
    nothing = len(matrix) - 1
    kept = [place for place in range(nothing) if matrix[place].any() or matrix[:, place].any()] + [nothing]
    names = [*failures.categories, NOTHING]
    rows = []
    for row in kept:
        whole = int(matrix[row].sum())
        cells = []
        for column in kept:
            masks = int(matrix[row, column])
            kind = "empty" if not masks else "right" if row == column else "wrong"
            cells.append(Cell(masks, 100 * masks / whole if whole else 0.0, kind))
        rows.append((names[row], whole, cells))
    return {"names": [names[place] for place in kept], "rows": rows}


def _charts(protocol: str, part: ProtocolScores) -> dict[str, str]:
    """Draw a protocol's curves, each by its title."""
    return {
        curve.title: line_chart(
            {name: (curve.x, values) for name, values in curve.y.items()},
            title=f"{protocol}: {curve.title}",
            x_label=f"{curve.x_name}, {curve.x[0]:g} to {curve.x[-1]:g}",
            percent=True,
            size_in=(4.6, 3.0),
        )
        for curve in curves(part.added)
    }


def _reliability(calibration: Mapping[str, Any] | None) -> str:
    """The share of tracks that is right over their score; nothing without candidates."""
    bins = calibration["reliability"]["bins"] if calibration else []
    if not bins:
        return ""
    scores = [one["mean_score"] for one in bins]
    return line_chart(
        {
            "right": (scores, [100 * one["right_share"] for one in bins]),
            "if scores meant what they say": ([0.0, 1.0], [0.0, 100.0]),
        },
        title="reliability",
        x_label="score of a track",
        percent=True,
        size_in=(4.6, 3.0),
    )


def _films(films: Sequence[tuple[str, str]], clips: Sequence[Row]) -> list[dict[str, object]]:
    rows = {row["video"]: row for row in clips}
    return [{"video": name, "reason": reason, "clip": rows[name]} for name, reason in films]


def _order(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0
