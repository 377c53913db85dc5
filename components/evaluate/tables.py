"""The evaluation as tables: curves for plots, rows per category and per clip. Percent throughout."""

from dataclasses import dataclass

import numpy as np

from components.core.metrics import average_precision, fsla, hota
from components.core.metrics.accumulate import Added, hota_curve, precision_curve
from components.core.metrics.failures import rows as failure_rows
from components.core.metrics.failures import tables as failure_tables
from components.core.metrics.failures.tally import FailureScores
from components.core.metrics.score import Scores
from components.core.reports.tables import csv_text

_DECIMALS = 4  # of a percentage in a table
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


def category_csv(scores: Scores) -> str:
    """Return a row for each protocol and category."""
    rows = [(name, row) for name, part in scores.protocols.items() for row in part.categories]
    return csv_text([{"protocol": name, **row} for name, row in rows], decimals=_DECIMALS)


def clip_csv(scores: Scores) -> str:
    """Return a row for each protocol and clip."""
    rows = [(name, row) for name, part in scores.protocols.items() for row in part.clips]
    return csv_text([{"protocol": name, **row} for name, row in rows], decimals=_DECIMALS)


def failure_csvs(failures: FailureScores) -> dict[str, str]:
    """Return the tables of what goes wrong by file; one without rows has its header."""
    columns = failure_tables.COLUMNS
    return {
        f"{name}.csv": csv_text(
            rows, ("protocol", "predictions", *columns[name]) if name in columns else None, decimals=_DECIMALS
        )
        for name, rows in failure_tables.tables(failures).items()
    }


def plot_csvs(scores: Scores) -> dict[str, str]:
    """Return what the page draws by file, of every protocol: the same files whatever the scores."""
    texts = {}
    for protocol, part in scores.protocols.items():
        drawn = {curve.name: curve for curve in curves(part.added)}
        for name, header in _CURVE_HEADERS.items():
            texts[f"{name}_{protocol}.csv"] = _curve_csv(drawn[name]) if name in drawn else header
    if scores.failures is not None:
        shown, names = scores.failures.shown, scores.failures.categories
        causes = [
            {"outcome": row["cause"], "frames": row["frames"]} for row in failure_rows.cause_rows(shown)
        ]
        texts["causes_corrected.csv"] = csv_text(causes)
        texts["frames_by_sources_corrected.csv"] = csv_text(failure_rows.outcome_rows(shown))
        texts["confusion_corrected.csv"] = csv_text(
            failure_rows.confusion_rows(shown, names), failure_tables.COLUMNS["confusion"]
        )
    return texts


def _curve_csv(curve: Curve) -> str:
    """A column for the axis, one for each line."""
    rows = [
        {curve.x_name: x, **{name: round(y[place], 3) for name, y in curve.y.items()}}
        for place, x in enumerate(curve.x)
    ]
    return csv_text(rows, decimals=_DECIMALS)


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(value), 6) for value in values]
