"""Scores of a results file, and their differences from another's, in the terminal and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from components.core.metrics.accumulate import HEADLINES
from components.core.metrics.bootstrap import LEVEL_PERCENT
from components.core.metrics.paired import Difference
from components.core.metrics.protocols import Protocol
from components.core.metrics.score import Scores
from components.core.text.terminal import plain


def numbers_table(
    scores: Scores, chosen: Sequence[Protocol], intervals: dict[str, dict[str, tuple[float, float]]]
) -> Table:
    """Return the headline numbers of each protocol with their intervals."""
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


def differences_table(
    protocol: str, differences: dict[str, Difference | None], results: Path, against: Path
) -> Table:
    """Return how a protocol's numbers differ from those of other results, and whether that is noise."""
    table = Table(title=Text(plain(f"{protocol}: {results} against {against}")))
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


def differences_document(found: dict[str, Difference | None]) -> dict[str, Any]:
    """Return the differences as JSON has them."""
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
