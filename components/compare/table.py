"""table.csv: one row per model, the protocol in each score's column name."""

from collections.abc import Mapping, Sequence

from components.compare.differences import Differences
from components.compare.gains import Gain
from components.compare.variants import Model
from components.core.metrics.protocols import PROTOCOLS
from components.core.reports.tables import csv_text


def table_csv(
    models: Sequence[Model],
    answers: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, Differences],
    gains: Sequence[Gain],
) -> str:
    """The table as CSV text; cells without a value are empty.

    Args:
        models: the variants, in their order; the first is the one that the others are compared with.
        answers: source -> metric of data/mllm/metrics.json; other sources than variants get own rows.
        differences: variant -> how its scores differ from the first variant's.
        gains: of each model over its start.
    """
    rows: list[dict[str, object]] = []
    for model, gain in zip(models, gains, strict=True):
        rows.append(
            {
                "model": model.name,
                "kind": "masks",
                **{
                    f"{protocol}_{metric}": value
                    for protocol in PROTOCOLS
                    for metric, value in model.scores[protocol].items()
                },
                **{
                    f"corrected_{metric}_{bound}": value
                    for metric, bounds in model.intervals.items()
                    for bound, value in zip(("low", "high"), bounds, strict=True)
                },
                **_seeds(model),
                **_differences(differences.get(model.name, {})),
                **_gained(gain),
                **_prefixed(answers.get(model.name, {})),
                "parameters": model.parameters,
                "seconds_per_frame": model.seconds_per_frame,
                "training_s": model.training_s,
                "mlflow_run_id": model.run_id,
            }
        )
    variants = {model.name for model in models}
    for source, values in answers.items():
        if source not in variants:
            kind = "baseline" if source.startswith("baseline/") else "language model"
            rows.append({"model": source, "kind": kind, **_prefixed(values)})
    return csv_text(rows)


def _seeds(model: Model) -> dict[str, object]:
    """How many seeds, and how far their scores lie apart; nothing with one."""
    if not model.further:
        return {}
    columns = {
        f"{protocol}_{metric}_deviation": value
        for protocol, found in model.deviations.items()
        for metric, value in found.items()
    }
    return {"seeds": len(model.trainings), **columns}


def _gained(gain: Gain) -> dict[str, object]:
    columns: dict[str, object] = {}
    for metric, (start, kept) in gain.validated.items():
        columns |= {f"validation_{metric}_start": start, f"validation_{metric}_kept": kept}
    if gain.start is not None:
        columns |= {"start": gain.start, **{f"start_{name}": x for name, x in gain.numbers().items()}}
    return columns


def _differences(differences: Differences) -> dict[str, object]:
    columns: dict[str, object] = {}
    for protocol, found in differences.items():
        for metric, difference in found.items():
            if difference is not None:
                name = f"{protocol}_{metric}_difference"
                columns[name] = difference.difference
                columns |= {f"{name}_{part}": getattr(difference, part) for part in ("low", "high", "p")}
    return columns


def _prefixed(values: Mapping[str, float]) -> dict[str, object]:
    """Scores of masks that boxes became are in the columns of the mask models' scores."""
    of_masks = tuple(f"{protocol}_" for protocol in PROTOCOLS)
    return {
        metric if metric.startswith(of_masks) else f"mllm_protocol_{metric}": value
        for metric, value in values.items()
    }
