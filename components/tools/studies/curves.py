"""Scores along a parameter or over training, and until where a cell is better than the study's floor."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean

from components.core.reports import charts
from components.tools.studies.definition import StudyParams
from components.tools.studies.effects import Effect, Effects
from components.tools.studies.results import Result

Chart = tuple[str, str]
"""Title and SVG."""
Points = list[tuple[float, str]]
"""Value of the axis and cell, ascending."""


def lines_along(study: StudyParams, axis: str, cells: Mapping[str, object]) -> dict[str, Points]:
    """Of each name, the cells that differ in the axis alone; none where its values are no numbers."""
    lines: dict[str, Points] = {}
    for cell in study.all_cells():
        place = cell.changes.get(axis)
        if isinstance(place, int | float) and not isinstance(place, bool) and cell.name in cells:
            label = f"{axis.rpartition('.')[2]} {place}"
            others = ", ".join(part for part in cell.name.split(", ") if part != label)
            lines.setdefault(others or "all", []).append((float(place), cell.name))
    return {name: sorted(points) for name, points in lines.items() if len(points) > 1}


def charts_along_axes(effects: Effects, study: StudyParams, reference: str) -> list[Chart]:
    """A chart for each axis and metric, with the reference and the floor as level lines."""
    drawn = []
    for axis in study.axes:
        lines = lines_along(study, axis, effects)
        places = [place for points in lines.values() for place, _ in points]
        level = [
            name for name in (reference, study.floor) if name in effects and axis not in _changes(study, name)
        ]
        for metric in study.metrics:
            curves, bands = {}, {}
            for name, points in lines.items():
                found = [(x, effects[cell][metric]) for x, cell in points]
                curve = [(x, one.value, *_bounds(one)) for x, one in found if one.value is not None]
                if len(curve) > 1:
                    xs, values, lows, highs = zip(*curve, strict=True)
                    curves[name], bands[name] = (xs, values), (lows, highs)
            if not curves:
                continue
            for name in level:
                value = effects[name][metric].value
                if value is not None:
                    curves[name] = ((min(places), max(places)), (value, value))
            title = f"{metric} over {axis}"
            svg = charts.line_chart(curves, title=title, x_label=axis, y_label=f"{metric}, %", bands=bands)
            drawn.append((title, svg))
    return drawn


def _changes(study: StudyParams, name: str) -> Mapping[str, object]:
    return next(cell.changes for cell in study.all_cells() if cell.name == name)


def _bounds(effect: Effect) -> tuple[float, float]:
    value = effect.value or 0.0
    return (value if effect.low is None else effect.low), (value if effect.high is None else effect.high)


def learning_curves(results: Mapping[str, Sequence[Result]], study: StudyParams) -> list[Chart]:
    """Scores on val over the steps of training and over its minutes, without those of validation."""
    drawn = []
    for metric in study.metrics:
        by_step, by_minute = {}, {}
        for name, trainings in results.items():
            seen = [dict(one.validated(metric)) for one in trainings]
            steps = sorted(set.intersection(*map(set, seen))) if seen else []
            speeds = [one.training["steps_per_s"] for one in trainings if one.training.get("steps_per_s")]
            if len(steps) < 2 or not speeds:
                continue
            scores = [mean(one[step] for one in seen) for step in steps]
            by_step[name] = (steps, scores)
            by_minute[name] = ([step / mean(speeds) / 60 for step in steps], scores)
        for lines, unit in ((by_step, "steps"), (by_minute, "minutes of training")):
            if lines:
                title = f"{metric} on val over {unit}"
                svg = charts.line_chart(lines, title=title, x_label=unit, y_label=f"{metric}, %")
                drawn.append((title, svg))
    return drawn


def until_where(to_floor: Effects, study: StudyParams) -> list[str]:
    """For each curve, in words, where its cells are still clearly better than the floor, in the first metric.

    Args:
        to_floor: effects whose differences are to the floor.
    """
    metric, floor = study.metrics[0], study.floor
    said = []
    for axis in study.axes:
        unit = axis.rpartition(".")[2]
        for name, points in lines_along(study, axis, to_floor).items():
            differences = [(x, to_floor[cell][metric]) for x, cell in points]
            better = [
                x
                for x, one in differences
                if one.is_clear and one.difference and one.difference.difference > 0
            ]
            others = [x for x, one in differences if one.difference is not None and x not in better]
            if not better and not others:
                continue
            parts = []
            if better:
                parts.append(f"{metric} is higher than {floor}'s at {unit} {_listed(better)}")
            if others:
                parts.append(
                    f"no longer seen to be at {_listed(others)}"
                    if better
                    else f"{metric} is nowhere seen to be higher than {floor}'s ({unit} {_listed(others)})"
                )
            crossing = _crossing([(x, one.difference.difference) for x, one in differences if one.difference])
            meets = f"; the curves meet near {_short(crossing)}" if crossing is not None else ""
            said.append(f"{name}: {', '.join(parts)}{meets}.")
    return said


def _listed(values: Sequence[float]) -> str:
    return ", ".join(_short(value) for value in values)


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _crossing(points: Sequence[tuple[float, float]]) -> float | None:
    """Where the line through the points first is 0; None if it never is."""
    for (x, y), (next_x, next_y) in pairwise(points):
        if y * next_y < 0:
            return x + (next_x - x) * y / (y - next_y)
    return None
