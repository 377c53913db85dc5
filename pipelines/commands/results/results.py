"""`avis results`: what the last run made, and where to look at it."""

from pathlib import Path

_SCORES = ("mAP", "HOTA", "FSLA")


def results() -> None:
    """Show the scores and say where to look."""
    from components.compare.variants import read_json
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths
    from components.core.text.terminal import print_table

    paths = Paths()
    rows = []
    for variant in read_variant_names():
        file = paths.evaluation(variant) / "metrics.json"
        if not file.exists():
            continue
        for protocol, scores in read_json(file, f"evaluate@{variant}").items():
            if isinstance(scores, dict) and _SCORES[0] in scores:
                rows.append((variant, protocol, *map(_percent, map(scores.get, _SCORES))))
    if rows:
        columns = ("variant", "protocol", *_SCORES)
        print_table(columns, rows, numbers=_SCORES, title="Test clips, percent")
    _point_to("All models side by side:", paths.comparison / "report.html")
    for variant in read_variant_names():
        _point_to(f"Films and curves, {variant}:", paths.evaluation(variant) / "report.html")
    _point_to("Annotations and checks:", paths.qa / "report.html")
    print("Runs and their history:   make ui")
    print("A video of your own:      .venv/bin/avis predict VIDEO")


def _percent(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, int | float) else "-"  # too few clips to score


def _point_to(what: str, path: Path) -> None:
    if path.exists():
        print(f"{what} {path}")
