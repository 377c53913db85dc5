"""table.csv: one row per model, the protocol in each score's column name."""

import csv
import io
from collections.abc import Mapping, Sequence

from components.compare.differences import Difference
from components.compare.models import PROTOCOLS, Model


def table_csv(
    models: Sequence[Model],
    answers: Mapping[str, Mapping[str, float]],
    differences: Mapping[str, Difference | None],
) -> str:
    """The table as CSV text; cells without a value are empty.

    Args:
        models: the variants, in their order; the first is the one that the others are compared with.
        answers: source -> metric of data/mllm/metrics.json; other sources than variants get own rows.
        differences: variant -> difference of its FSLA (corrected) to the first variant's.
    """
    rows: list[dict[str, object]] = []
    for model in models:
        difference = differences.get(model.name)
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
                "corrected_FSLA_difference": difference.value if difference else None,
                "corrected_FSLA_difference_low": difference.low if difference else None,
                "corrected_FSLA_difference_high": difference.high if difference else None,
                "corrected_FSLA_difference_p": difference.p if difference else None,
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
            rows.append({"model": source, "kind": "language model", **_prefixed(values)})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _prefixed(values: Mapping[str, float]) -> dict[str, object]:
    return {f"mllm_protocol_{metric}": value for metric, value in values.items()}
