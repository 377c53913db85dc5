"""The evaluation as tables: curves for plots, rows per category and per clip. Percent throughout."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.core.metrics import average_precision, fsla, hota
from components.core.metrics.accumulate import Added, Row, hota_curve, precision_curve
from components.core.metrics.failures import rows as failure_rows
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.protocols import Protocol
from components.core.metrics.score import Scores

_CURVE_HEADERS = {  # of curves that do not exist, so that the file does
    "fsla": "threshold,FSLA\n",
    "hota": "threshold,HOTA\n",
    "precision_recall": "recall,mean\n",
}


@dataclass(frozen=True, slots=True)
class Curve:
    """Curves over one axis: x values, and y in percent by name."""

    name: str
    title: str
    x_name: str
    x: list[float]
    y: dict[str, list[float]]


def curves(added: Added) -> list[Curve]:
    """Return FSLA and HOTA over their thresholds and precision over recall, those that exist."""
    found = [
        Curve(
            "fsla",
            "FSLA over the overlap that a mask needs",
            "threshold",
            _numbers(fsla.THRESHOLDS),
            {name: _numbers(100 * curve) for name, curve in added.fsla.items() if not np.isnan(curve).any()},
        ),
        Curve(
            "hota",
            "HOTA and its parts over the overlap that a match needs",
            "threshold",
            _numbers(hota.THRESHOLDS),
            {
                name: _numbers(100 * hota_curve(added, name))
                for name in ("HOTA", "DetA", "AssA")
                if added.counted.any()
            },
        ),
    ]
    levels = {"IoU 0.5": 0, "IoU 0.75": 5, "mean": None}
    precisions = {name: precision_curve(added, place) for name, place in levels.items()}
    found.append(
        Curve(
            "precision_recall",
            "Precision over recall",
            "recall",
            _numbers(average_precision.RECALLS),
            {name: _numbers(100 * curve) for name, curve in precisions.items() if not np.isnan(curve).any()},
        )
    )
    return [curve for curve in found if curve.y]


def curve_csv(curve: Curve) -> str:
    """Return one curve as CSV: a column for the axis, one for each line."""
    rows: list[Row] = [
        {curve.x_name: x, **{name: round(y[place], 3) for name, y in curve.y.items()}}
        for place, x in enumerate(curve.x)
    ]
    return _csv(rows)


def category_csv(scores: Scores) -> str:
    """Return a row for each protocol and category."""
    return _by_protocol({protocol: part.categories for protocol, part in scores.protocols.items()})


def clip_csv(scores: Scores) -> str:
    """Return a row for each protocol and clip."""
    return _by_protocol({protocol: part.clips for protocol, part in scores.protocols.items()})


def failure_csvs(failures: FailureScores) -> dict[str, str]:
    """Return the tables of what goes wrong by name; one without rows has its header."""
    columns = failure_tables.COLUMNS
    return {
        name: _csv(rows, ("protocol", "predictions", *columns[name]) if name in columns else None)
        for name, rows in failure_tables.tables(failures).items()
    }


def plot_csvs(scores: Scores) -> dict[str, str]:
    """Return what the page draws as CSV by name, of every protocol: the same names whatever the scores."""
    texts = {}
    for protocol, part in scores.protocols.items():
        drawn = {curve.name: curve for curve in curves(part.added)}
        for name, header in _CURVE_HEADERS.items():
            texts[f"{name}_{protocol}"] = curve_csv(drawn[name]) if name in drawn else header
    if scores.failures is not None:
        shown, names = scores.failures.shown, scores.failures.categories
        texts["causes_corrected"] = _csv(
            [{"outcome": row["cause"], "frames": row["frames"]} for row in failure_rows.cause_rows(shown)]
        )
        texts["frames_by_sources_corrected"] = _csv(failure_rows.outcome_rows(shown))
        texts["confusion_corrected"] = _csv(
            failure_rows.confusion_rows(shown, names), failure_tables.COLUMNS["confusion"]
        )
    return texts


def _by_protocol(rows: Mapping[Protocol, Sequence[Row]]) -> str:
    return _csv([{"protocol": protocol, **row} for protocol, part in rows.items() for row in part])


def _csv(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Return rows, at least one unless the columns are given, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
        )
    return text.getvalue()


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]
