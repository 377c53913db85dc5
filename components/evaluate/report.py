"""report.html: one page with every number under its protocol, curves, tables and overlay videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.files import write_text
from components.evaluate import tables
from components.evaluate.evaluate import ProtocolScores, Row, Scores
from components.evaluate.params import EvaluateParams
from components.evaluate.score import HEADLINES, Value

_COLOURS = ("#2563eb", "#db2777", "#059669", "#d97706")
_PLOT_WIDTH, _PLOT_HEIGHT = 300.0, 180.0
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


def write_report(
    path: Path,
    *,
    variant: str,
    scores: Scores,
    intervals: Mapping[str, tuple[float, float]],
    films: Sequence[tuple[str, str]],
    missing: Sequence[str],
    params: EvaluateParams,
) -> None:
    """Write the page.

    Args:
        path: the file; overlay videos lie beside it in `overlays/`.
        variant: the model that was scored.
        scores: of both protocols.
        intervals: 95 % intervals of the corrected headline numbers.
        films: (clip, why it was chosen) of each overlay video.
        missing: overlay videos that could not be made, and why.
        params: the stage's.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = _number
    template = environment.from_string((Path(__file__).parent / "report.html").read_text(encoding="utf-8"))
    corrected = scores.protocols["corrected"]
    clips = sorted(corrected.clips, key=lambda row: (_order(row["FSLA"]), _order(row["HOTA"])))
    page = template.render(
        variant=variant,
        headlines=[(name, corrected.values[name], intervals.get(name)) for name in HEADLINES],
        protocols=list(scores.protocols),
        values={name: part.values for name, part in scores.protocols.items()},
        meanings=_MEANINGS,
        plots={name: _plots(part) for name, part in scores.protocols.items()},
        plot_size=(_PLOT_WIDTH, _PLOT_HEIGHT),
        categories={name: _with_tracks(part.categories) for name, part in scores.protocols.items()},
        clips=clips,
        films=_films(films, clips),
        missing=missing,
        resamples=params.resamples,
        frames=_frames(corrected.values),
    )
    write_text(path, page)


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
    """Return the categories that have ground truth, best first."""
    return sorted((row for row in rows if row["AP"] is not None), key=lambda row: -_order(row["AP"]))


def _films(films: Sequence[tuple[str, str]], clips: Sequence[Row]) -> list[dict[str, object]]:
    scores = {row["video"]: row for row in clips}
    return [{"video": name, "reason": reason, "scores": scores[name]} for name, reason in films]


def _frames(values: Mapping[str, Value]) -> dict[str, Value]:
    return {kind: values[f"FSLA{kind}_frames"] for kind in ("", "n", "s", "m")}


def _order(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0


def _number(value: object) -> str:
    """Format a percentage; a dash where there is nothing to score."""
    if not isinstance(value, int | float):
        return "\N{EN DASH}"
    return "no tracks" if value == -100 else f"{value:.2f}"
