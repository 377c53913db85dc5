"""A study's report: data/studies/NAME/report.html, and its table as CSV, LaTeX and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from components.annotate.categories import read_category_map
from components.compare.params import CompareParams
from components.core.reports import charts
from components.core.reports.page import DASH, render_page
from components.core.reports.tables import csv_text
from components.core.run.files import write_text
from components.core.run.params import read_block
from components.tools.studies.curves import charts_along_axes, learning_curves, until_where
from components.tools.studies.definition import StudyParams
from components.tools.studies.effects import Effect, Effects, draws_for, effects_of, in_words
from components.tools.studies.results import Result


@dataclass(frozen=True)
class Findings:
    """What a study came to.

    effects: by cell and metric. sentences: what can be said of each difference, the clear ones first.
    """

    effects: Effects
    sentences: list[str]


def write_report(
    folder: Path,
    name: str,
    study: StudyParams,
    results: Mapping[str, Sequence[Result]],
    failures: Mapping[str, str],
) -> Findings:
    """Write the report of what is there.

    Args:
        folder: where to.
        name: of the study.
        study: its file.
        results: of each cell that was computed, in the study's order, one a seed.
        failures: what went wrong, by task.
    """
    cells = study.all_cells()
    reference = study.reference or cells[0].name
    settings = read_block("compare", CompareParams, optional=True)
    counts = {cell: [result.counts for result in found] for cell, found in results.items()}
    comparisons = (len(results) - 1) * len(study.metrics)
    draw = partial(
        effects_of,
        counts,
        resamples=max(settings.bootstrap_samples, draws_for(comparisons)),
        seed=settings.seed,
    )
    effects = draw(reference=reference, metrics=study.metrics)
    sentences = _sentences(effects, study, reference)
    if study.floor is not None:
        to_floor = draw(reference=study.floor, metrics=study.metrics[:1], scored=effects)
        sentences += until_where(to_floor, study)
    findings = Findings(effects, sentences)
    rows = [
        _row(cell.name, cell.changes, results.get(cell.name, ()), effects.get(cell.name), study, reference)
        for cell in cells
    ]
    page = render_page(
        "tools/studies/report.html",
        name=name,
        study=study,
        reference=reference,
        rows=rows,
        sentences=findings.sentences,
        charts=[*charts_along_axes(effects, study, reference), *_intervals(effects, study, reference)],
        learning=learning_curves(results, study) if study.learning_curves else [],
        renamed=_renamed_categories(study),
        failures=failures,
        clips=len(next((found[0].counts.videos for found in results.values() if found), [])),
        comparisons=sum(one.p is not None for row in effects.values() for one in row.values()),
        cells_missing=[cell.name for cell in cells if cell.name not in effects],
    )
    flat = [_flat(row, study) for row in rows]
    write_text(folder / "report.html", page)
    write_text(folder / "table.csv", csv_text(flat, decimals=4))
    write_text(folder / "table.tex", _latex(rows, study))
    write_text(folder / "table.md", _markdown(rows, study))
    return findings


def _sentences(effects: Effects, study: StudyParams, reference: str) -> list[str]:
    said = [
        (not effect.is_clear, in_words(name, metric, effect, reference))
        for name, row in effects.items()
        if name != reference and reference in effects
        for metric in study.metrics
        if (effect := row[metric]).value is not None
    ]
    return [sentence for _, sentence in sorted(said, key=lambda one: one[0])]


def _row(
    name: str,
    changes: Mapping[str, Any],
    results: Sequence[Result],
    effects: Mapping[str, Effect] | None,
    study: StudyParams,
    reference: str,
) -> dict[str, Any]:
    return {
        "name": name,
        "changes": ", ".join(f"{key}: {value}" for key, value in changes.items()),
        "is_reference": name == reference,
        "seeds": len(results),
        "effects": {metric: effects[metric] if effects else None for metric in study.metrics},
        "official": {
            metric: _mean([r.scores["official"].get(metric) for r in results]) for metric in study.metrics
        },
        "published": study.published.get(name, {}),
        "flops_per_frame": _mean([r.about.get("flops_per_frame") for r in results]),
        "parameters": _mean([r.training.get("parameters") for r in results]),
        "training_s": _mean([r.training.get("seconds") for r in results]),
        "seconds_per_frame": _mean([r.timing.get("seconds_per_frame") for r in results]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return mean(found) if found else None


def _intervals(effects: Effects, study: StudyParams, reference: str) -> list[tuple[str, str]]:
    """A chart a metric: the differences to the reference."""
    drawn = []
    for metric in study.metrics:
        rows = {
            name: (found.difference, found.low, found.high)
            for name, row in effects.items()
            if (found := row[metric].difference) is not None
        }
        if rows:
            title = f"{metric}: difference to {reference}"
            label = "percentage points, 95 % interval"
            drawn.append((title, charts.interval_chart(rows, title=title, x_label=label)))
    return drawn


def _renamed_categories(study: StudyParams) -> list[tuple[str, dict[str, str | None], list[str]]]:
    """The maps of categories that cells use: the file, what it says, and whose it is."""
    users: dict[str, list[str]] = {}
    for cell in study.all_cells():
        file = {**study.base, **cell.changes}.get("annotate.category_map")
        if isinstance(file, str) and Path(file).is_file():
            users.setdefault(file, []).append(cell.name)
    return [(file, read_category_map(Path(file)), cells) for file, cells in users.items()]


def _flat(row: Mapping[str, Any], study: StudyParams) -> dict[str, object]:
    flat: dict[str, object] = {"cell": row["name"], "changes": row["changes"], "seeds": row["seeds"]}
    for metric in study.metrics:
        effect = row["effects"][metric]
        found = effect.difference if effect else None
        flat |= {
            metric: effect.value if effect else None,
            f"{metric}_deviation": effect.deviation if effect else None,
            f"{metric}_low": effect.low if effect else None,
            f"{metric}_high": effect.high if effect else None,
            f"{metric}_difference": found.difference if found else None,
            f"{metric}_difference_low": found.low if found else None,
            f"{metric}_difference_high": found.high if found else None,
            f"{metric}_p": found.p if found else None,
            f"{metric}_p_corrected": effect.p if effect else None,
            f"official_{metric}": row["official"][metric],
        }
    return flat | {
        name: row[name] for name in ("parameters", "flops_per_frame", "training_s", "seconds_per_frame")
    }


def _cells_of(row: Mapping[str, Any], study: StudyParams, *, sign: str) -> list[str]:
    shown = []
    for metric in study.metrics:
        effect = row["effects"][metric]
        if effect is None or effect.value is None:
            shown.append(DASH)
            continue
        text = f"{effect.value:.1f}"
        if effect.deviation is not None:
            text += f" {sign} {effect.deviation:.1f}"
        if effect.difference is not None and effect.difference.low is not None:
            found = effect.difference
            star = "*" if effect.is_clear else ""
            text += f" ({found.difference:+.1f} [{found.low:+.1f}, {found.high:+.1f}]{star})"
        shown.append(text)
    return shown


_TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\^{}", "\\": r"\textbackslash{}"}
)


def _latex(rows: Sequence[Mapping[str, Any]], study: StudyParams) -> str:
    lines = [
        rf"\begin{{tabular}}{{l{'l' * len(study.metrics)}}}",
        " & ".join(["cell", *study.metrics]) + r" \\ \hline",
    ]
    for row in rows:
        lines.append(
            " & ".join([str(row["name"]).translate(_TEX), *_cells_of(row, study, sign=r"$\pm$")]) + r" \\"
        )
    return "\n".join([*lines, r"\end{tabular}", ""])


def _markdown(rows: Sequence[Mapping[str, Any]], study: StudyParams) -> str:
    lines = [" | ".join(["cell", *study.metrics]), " | ".join(["---"] * (len(study.metrics) + 1))]
    for row in rows:
        name = str(row["name"]).replace("|", "\\|")
        lines.append(" | ".join([name, *_cells_of(row, study, sign="±")]))
    return "\n".join(f"| {line} |" for line in lines) + "\n"
