"""report.html: one page that says how good the predictions are, and what goes wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.metrics.accumulate import HEADLINES, Row, Value
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.failures.frame_causes import CAUSES, SOURCES
from components.core.metrics.failures.rows import NOTHING
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.failures.video import SIZES
from components.core.metrics.failures.words import findings
from components.core.metrics.score import ProtocolScores, Scores
from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.evaluate import tables
from components.evaluate.params import EvaluateParams

_COLOURS = ("#2563eb", "#db2777", "#059669", "#d97706")
# of the outcomes of a frame: right, then the causes (Okabe and Ito's, told apart by everybody)
_OUTCOME_COLOURS = ("#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#0072b2", "#8a8f98")
_PLOT_WIDTH, _PLOT_HEIGHT = 300.0, 180.0
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
class Plot:
    """One protocol's curves as SVG polylines: (name, colour, points) each."""

    title: str
    x_name: str
    lines: list[tuple[str, str, str]]


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

    Raises:
        AvisError: the scores have no failures.
    """
    import jinja2

    failures = scores.failures
    if failures is None:
        raise AvisError("a report needs what goes wrong")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = _number
    environment.filters["percent"] = _percent
    environment.filters["short"] = _short
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    corrected, official = scores.protocols["corrected"], scores.protocols["official"]
    made = {name: _of_shown(rows, failures) for name, rows in failure_tables.tables(failures).items()}
    clips = _clips(corrected, made["per_clip_failures"])
    page = template.render(
        title=title,
        headlines=[
            (name, corrected.values[name], intervals.get(name), official.values[name]) for name in HEADLINES
        ],
        protocols=list(scores.protocols),
        values={name: part.values for name, part in scores.protocols.items()},
        meanings=_MEANINGS,
        plots={name: _plots(part) for name, part in scores.protocols.items()},
        plot_size=(_PLOT_WIDTH, _PLOT_HEIGHT),
        findings=findings(failures),
        totals={name: failure_tables.totals(part) for name, part in failures.selections()},
        shown=failures.shown_name,
        shown_text=failures.shown_name.replace(">=", "≥"),
        threshold=failures.score_threshold,
        everything_shown=_same_masks(failures),
        outcomes=list(zip(("right", *CAUSES), _OUTCOME_COLOURS, strict=True)),
        stacks=_stacks(failures),
        tables=made,
        sizes=_sizes(made["per_size"], scores),
        confusion=_confusion(failures),
        categories={name: _with_tracks(part.categories) for name, part in scores.protocols.items()},
        category_failures={row["category"]: row for row in made["per_category_failures"]},
        runs_shown=_RUNS_SHOWN,
        switches_shown=_SWITCHES_SHOWN,
        clips=clips,
        films=_films(films, clips),
        missing=missing,
        silent=silent,
        left_out=scores.left_out,
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
    return [
        {**row} | {protocol: part.values[f"AP_{size}"] for protocol, part in scores.protocols.items()}
        for size, row in zip(SIZES, rows, strict=True)
    ]


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


def _plots(part: ProtocolScores) -> list[Plot]:
    plots = []
    for curve in tables.curves(part.added):
        low, high = curve.x[0], curve.x[-1]
        lines = []
        for place, (name, values) in enumerate(curve.y.items()):
            points = " ".join(
                f"{(x - low) / (high - low) * _PLOT_WIDTH:.1f},{(1 - y / 100) * _PLOT_HEIGHT:.1f}"
                for x, y in zip(curve.x, values, strict=True)
            )
            lines.append((name, _COLOURS[place % len(_COLOURS)], points))
        axis = f"{curve.x_name}, {low:g} to {high:g}"
        plots.append(Plot(curve.title, axis, lines))
    return plots


def _with_tracks(rows: Sequence[Row]) -> list[Row]:
    """Return the categories that have ground truth, worst first."""
    return sorted((row for row in rows if row["AP"] is not None), key=lambda row: _order(row["AP"]))


def _films(films: Sequence[tuple[str, str]], clips: Sequence[Row]) -> list[dict[str, object]]:
    rows = {row["video"]: row for row in clips}
    return [{"video": name, "reason": reason, "clip": rows[name]} for name, reason in films]


def _order(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0


def _number(value: object) -> str:
    """Format a score in percent; a dash where there is nothing to score."""
    if not isinstance(value, int | float):
        return "\N{EN DASH}"
    return "no tracks" if value == -100 else f"{value:.2f}"


def _short(count: int) -> str:
    """Format a count for a small cell."""
    return str(count) if count < 10_000 else f"{count / 1000:.0f}k"


def _percent(value: Value) -> str:
    """Format a share in percent."""
    return "\N{EN DASH}" if value is None else f"{value:.1f} %"
