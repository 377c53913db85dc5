"""What is known of one trained variant, gathered from the files of the stages before."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from components.compare.origins import Origin, read_origin
from components.compare.params import CompareParams
from components.core.metrics.accumulate import add_up, category_values
from components.core.metrics.counts_file import CountsFile, read_counts
from components.core.metrics.protocols import PROTOCOLS, Protocol
from components.core.metrics.seeds import spreads
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.tracking.run import Run


@dataclass(frozen=True)
class Model:
    """One variant and its results."""

    name: str
    run_id: str
    experiment_id: str | None
    """MLflow's; None while MLflow has not seen the run."""
    scores: Mapping[str, Mapping[str, float]]
    """Protocol -> metric -> percent."""
    intervals: Mapping[str, tuple[float, float]]
    """Headline metric, corrected protocol -> bounds of its 95 % interval over the test clips."""
    clip_scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Protocol -> video name -> column of per_clip.csv -> value."""
    category_scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    """Protocol -> category -> column of per_category.csv -> percent; None where there is nothing to score."""
    origin: Origin
    training: Mapping[str, float]
    """Numbers of the training: of a model that was not trained only what was measured of it."""
    parameters: int | None
    training_s: float | None
    seconds_per_frame: float | None
    history: tuple[Mapping[str, float], ...]
    """Rows of history.csv: step, losses…"""
    counts: CountsFile
    """What the scores are made of, clip by clip: for paired tests."""
    further: tuple[CountsFile, ...] = ()
    """The same of trainings with further seeds: scores, of categories too, intervals, training: means."""
    deviations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Protocol -> metric -> standard deviation over seeds, percent; empty with one seed."""
    disturbed: str = ""
    """What was done to the test clips before it got them (predict.disturb)."""

    @property
    def trainings(self) -> list[CountsFile]:
        """The counts of all seeds, the first one's first."""
        return [self.counts, *self.further]


def read_model(variant: str, run: Run, paths: Paths, params: CompareParams) -> Model:
    """Gathers a variant's files.

    Args:
        variant: its name.
        run: its MLflow run.
        paths: where the files are.
        params: how often to draw for the intervals over seeds.

    Raises:
        AvisError: one is missing or malformed.
    """
    model = _read_first(variant, run, paths)
    names = paths.seeds(variant)
    if not names:
        return model
    stage = f"evaluate@{variant}"
    scores = [_scores(paths.evaluation(name), stage) for name in names]
    trained = [_numbers(read_json(paths.model(name) / "metrics.json", f"train@{variant}")) for name in names]
    further = tuple(read_counts(paths.evaluation(name) / "counts.safetensors", stage=stage) for name in names)
    over = {
        protocol: _over_seeds([model.scores[protocol], *(one[protocol] for one in scores)])
        for protocol in PROTOCOLS
    }
    corrected = [counts.counts["corrected"] for counts in (model.counts, *further)]
    found = spreads(corrected, resamples=params.bootstrap_samples, seed=params.seed)
    return replace(
        model,
        scores={protocol: means for protocol, (means, _) in over.items()},
        deviations={protocol: deviations for protocol, (_, deviations) in over.items()},
        intervals={
            name: (max(one.low, 0.0), min(one.high, 100.0))
            for name, one in found.items()
            if one.low is not None and one.high is not None
        },
        category_scores={protocol: _categories([model.counts, *further], protocol) for protocol in PROTOCOLS},
        training=_over_seeds([model.training, *trained])[0],
        further=further,
    )


def _categories(trainings: Sequence[CountsFile], protocol: Protocol) -> dict[str, dict[str, float]]:
    """Category -> means over seeds of what each training has a number for, percent."""
    added = [add_up(training.counts[protocol]) for training in trainings]
    return {
        name: _over_seeds([_numbers(category_values(one, place)) for one in added])[0]
        for place, name in enumerate(trainings[0].categories)
    }


def _over_seeds(each: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Means and standard deviations, with two decimals, of what all seeds have."""
    columns = {name: [one[name] for one in each] for name in each[0] if all(name in one for one in each)}
    return (
        {name: round(mean(values), 2) for name, values in columns.items()},
        {name: round(stdev(values), 2) for name, values in columns.items()},
    )


def _read_first(variant: str, run: Run, paths: Paths) -> Model:
    folder, evaluation = paths.model(variant), paths.evaluation(variant)
    training = read_json(folder / "metrics.json", f"train@{variant}")
    timing = read_json(paths.predictions(variant) / "timing.json", f"predict@{variant}")
    return Model(
        name=variant,
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        scores=_scores(evaluation, f"evaluate@{variant}"),
        intervals=_intervals(evaluation / "intervals.json", f"evaluate@{variant}"),
        clip_scores=_by_protocol(evaluation / "per_clip.csv", "video", f"evaluate@{variant}"),
        category_scores=_by_protocol(evaluation / "per_category.csv", "category", f"evaluate@{variant}"),
        origin=read_origin(folder),
        training=_numbers(training),
        parameters=_whole(training.get("parameters")),
        training_s=_number(training.get("seconds")),
        seconds_per_frame=_number(timing.get("seconds_per_frame")),
        disturbed=str(timing.get("disturbed", "")),
        history=tuple(
            {name: value for name, text in row.items() if (value := _parsed(text)) is not None}
            for row in _rows(folder / "history.csv", f"train@{variant}")
        ),
        counts=read_counts(evaluation / "counts.safetensors", stage=f"evaluate@{variant}"),
    )


def _scores(evaluation: Path, stage: str) -> dict[str, dict[str, float]]:
    """Protocol -> metric -> percent of an evaluation's folder."""
    scores = read_json(evaluation / "metrics.json", stage)
    for protocol in PROTOCOLS:
        if not isinstance(scores.get(protocol), dict):
            raise AvisError(
                f"the protocol {protocol!r} is missing",
                where=str(evaluation / "metrics.json"),
                fix=f"Run: dvc repro --force --single-item {stage}",
            )
    return {protocol: _numbers(scores[protocol]) for protocol in PROTOCOLS}


def read_json(path: Path, stage: str) -> dict[str, Any]:
    """A JSON object that a stage has written.

    Raises:
        AvisError: it is missing or none; it names the stage that makes it.
    """
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise AvisError("a result is missing", where=str(path), fix=f"Run: dvc repro {stage}") from None
    except ValueError as error:
        raise AvisError(f"not valid JSON: {error}", where=str(path), fix=f"Run: dvc repro {stage}") from None
    if not isinstance(document, dict):
        raise AvisError("not a JSON object", where=str(path), fix=f"Run: dvc repro {stage}")
    return document


def _rows(path: Path, stage: str) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise AvisError("a result is missing", where=str(path), fix=f"Run: dvc repro {stage}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise AvisError(f"not valid CSV: {error}", where=str(path), fix=f"Run: dvc repro {stage}") from None


def _by_protocol(path: Path, key: str, stage: str) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {protocol: {} for protocol in PROTOCOLS}
    for number, row in enumerate(_rows(path, stage), start=2):
        if row.get("protocol") not in found or not row.get(key):
            raise AvisError(
                f"the columns 'protocol' and {key!r} are not filled", where=f"{path}, row {number}"
            )
        found[row["protocol"]][row[key]] = {
            name: _parsed(text) for name, text in row.items() if name not in ("protocol", key)
        }
    return found


def _intervals(path: Path, stage: str) -> dict[str, tuple[float, float]]:
    bounds = read_json(path, stage).get("corrected")
    if not isinstance(bounds, dict) or any(
        not isinstance(pair, list) or len(pair) != 2 or None in map(_number, pair) for pair in bounds.values()
    ):
        raise AvisError(
            "the intervals of the corrected protocol are no pairs of numbers",
            where=str(path),
            fix=f"Run: dvc repro {stage}",
        )
    return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: number for name, value in values.items() if (number := _number(value)) is not None}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _parsed(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
