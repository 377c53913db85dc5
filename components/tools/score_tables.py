"""Scores of a results file, and their differences from another's, in the terminal and as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.core.metrics.accumulate import HEADLINES
from components.core.metrics.bootstrap import LEVEL_PERCENT
from components.core.metrics.paired import Difference
from components.core.metrics.protocols import Protocol
from components.core.metrics.score import Scores
from components.core.text.terminal import print_table


def print_numbers(
    scores: Scores, chosen: Sequence[Protocol], intervals: dict[str, dict[str, tuple[float, float]]]
) -> None:
    """Print the headline numbers of each protocol with their intervals."""

    def cell(protocol: Protocol, name: str) -> str:
        value, interval = scores.protocols[protocol].values[name], intervals[protocol].get(name)
        text = "-" if value is None else f"{value:.2f}"
        return text if interval is None else f"{text}   {interval[0]:5.1f} to {interval[1]:5.1f}"

    rows = [(name, *(cell(protocol, name) for protocol in chosen)) for name in HEADLINES]
    title = f"percent, and {LEVEL_PERCENT} % interval over videos"
    print_table(("", *chosen), rows, numbers=chosen, title=title)


def print_differences(
    protocol: str, differences: dict[str, Difference | None], results: Path, against: Path
) -> None:
    """Print how a protocol's numbers differ from those of other results, and whether that is noise."""
    numbers = ("this", "other", "difference", f"{LEVEL_PERCENT} % interval", "p")
    rows = [
        (name, *"-----", "no such number")
        if found is None
        else (
            name,
            f"{found.value:.2f}",
            f"{found.other:.2f}",
            f"{found.difference:+.2f}",
            "-" if found.low is None else f"{found.low:+.1f} to {found.high:+.1f}",
            "-" if found.p is None else f"{found.p:.3f}",
            _verdict(found),
        )
        for name, found in differences.items()
    ]
    title = f"{protocol}: {results} against {against}"
    print_table(("", *numbers, "verdict"), rows, numbers=numbers, title=title)


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
