"""`avis results`: what the last run made, and where to look at it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

_SCORES = ("mAP", "HOTA", "FSLA")


def results() -> None:
    """Show the scores and say where to look."""
    from rich.console import Console
    from rich.table import Table

    from components.compare.variants import read_json
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths

    console = Console()
    paths = Paths()
    table = Table(title="Test clips, percent")
    table.add_column("variant")
    table.add_column("protocol")
    for name in _SCORES:
        table.add_column(name, justify="right")
    for variant in read_variant_names():
        file = paths.evaluation(variant) / "metrics.json"
        if not file.exists():
            continue
        for protocol, scores in read_json(file, f"evaluate@{variant}").items():
            if isinstance(scores, dict) and _SCORES[0] in scores:
                table.add_row(variant, protocol, *map(_percent, map(scores.get, _SCORES)))
    if table.row_count:
        console.print(table)
    _point_to(console, "All models side by side:", paths.comparison / "report.html")
    for variant in read_variant_names():
        _point_to(console, f"Films and curves, {variant}:", paths.evaluation(variant) / "report.html")
    _point_to(console, "Annotations and checks:", paths.qa / "report.html")
    console.print("Runs and their history:   make ui")
    console.print("A video of your own:      .venv/bin/avis predict VIDEO")


def _percent(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else "-"  # too few clips to score


def _point_to(console: "Console", what: str, path: "Path") -> None:
    if path.exists():
        console.print(f"{what} {path}", soft_wrap=True)
