"""What a study will compute: its cells, which of them are there already, and how long the others take."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from components.core.run.errors import AvisError
from components.core.run.files import scratch_folder, write_text
from components.core.run.params import PARAMS, parse_params
from components.core.run.paths import Paths
from components.tools.parameters.profiles import EXTENDS, files_of_profile
from components.tools.studies.definition import (
    Cell,
    StudyParams,
    parameters_of,
    read_study,
    study_names,
    study_path,
    variant_of,
)
from components.tools.studies.results import Result, measured, read_result
from pipelines.dvc.workspace_lock import hold_workspace
from pipelines.studies.ingredients import Ingredients
from pipelines.studies.workspace import PLACE, prepare, refuse_other_places, write_parameters

# Parameters that name a stage's files in dvc.yaml: with others of these the graph is another.
_OF_THE_GRAPH = ("sample.kit", "ingest.manifest", "annotate.source")


@dataclass(frozen=True)
class Trial:
    """One training of a cell, to be scored.

    seed: 0 for the first. values: its params.yaml. key: of all that decides its scores; training: … its
    weights; data: … its clips.
    """

    cell: Cell
    seed: int
    values: dict[str, Any]
    key: str
    training: str
    data: str

    @property
    def name(self) -> str:
        return f"{self.cell.name}, seed {self.seed + 1}" if self.seed else self.cell.name


@dataclass
class Plan:
    """All trials of a study, those with the same clips and the same training beside each other.

    results: by key, of those that are there.
    """

    name: str
    study: StudyParams
    variant: str
    trials: list[Trial]
    results: dict[str, Result]
    rate: tuple[float, float] | None = None
    """Seconds a step of training, and of all the rest of a trial, as measured; None before the first."""

    def missing(self) -> list[Trial]:
        """Tasks without a result, each key once."""
        return list({trial.key: trial for trial in self.trials if trial.key not in self.results}.values())

    def trainings(self) -> dict[str, Trial]:
        """Those of the missing trials that need a training of their own, by what decides it."""
        known = {result.about.get("training") for result in self.results.values()}
        return {trial.training: trial for trial in self.missing() if trial.training not in known}

    def __str__(self) -> str:
        missing, trainings = self.missing(), self.trainings()
        cells = len({trial.cell.name for trial in self.trials})
        seeds = f" with {self.study.seeds} seeds each" if self.study.seeds > 1 else ""
        there = len(self.trials) - len(missing)
        lines = [
            f"{self.name}: {cells} cells{seeds}; {there} of {len(self.trials)} results are there,"
            f" {len(missing)} are to be computed, with {len(trainings)} trainings."
        ]
        if missing and self.rate is None:
            lines.append("How long that takes is not known yet: nothing of its kind was trained here.")
        elif missing and self.rate is not None:
            steps = sum(_steps(trial.values) for trial in trainings.values())
            seconds = steps * self.rate[0] + len(missing) * self.rate[1]
            lines.append(
                f"About {duration(seconds)} one after the other: {steps} steps of {self.rate[0]:.2f} s"
                f" and {len(missing)} times {self.rate[1]:.0f} s for the rest, as measured here."
            )
        return "\n".join(lines)


def make_plan(base: Path, name: str, *, profile: str | None = None, seeds: int | None = None) -> Plan:
    """Read a study, check every cell's parameters, and look what is there.

    Args:
        base: the checkout, which is the current folder.
        name: of the study.
        profile: in the place of the study's own.
        seeds: likewise.

    Raises:
        AvisError: the study's file, a cell's parameters or the repository are wrong; all mistakes at once.
    """
    refuse_other_places(base)
    study, variant, cells = _cells(name, profile, seeds)
    _check(name, [(cell, one) for cell, seed, one in cells if seed == 0])
    with hold_workspace(base / PLACE / "holds" / "plan", purpose="study", wait=True):
        trials = _trials(cells, prepare(base, "plan", data=False), variant, {})
    plan = _plan(base, name, study, variant, trials)
    plan.rate = _rate(list(plan.results.values()), Paths(base / "data"), variant)
    return plan


def plan_all(base: Path) -> dict[str, Plan | AvisError]:
    """Look what is there of every study, by its name, or what is wrong with its file.

    Cells' parameters are not checked, and what decides a cell's bytes is read once for all: it takes seconds.

    Raises:
        AvisError: the repository is wrong.
    """
    found: dict[str, Plan | AvisError] = {}
    refuse_other_places(base)
    with hold_workspace(base / PLACE / "holds" / "plan", purpose="study", wait=True):
        workspace, graphs = prepare(base, "plan", data=False), dict[str, Ingredients]()
        for name in study_names():
            try:
                study, variant, cells = _cells(name, None, None)
                found[name] = _plan(base, name, study, variant, _trials(cells, workspace, variant, graphs))
            except AvisError as error:
                found[name] = error
    return found


def _cells(
    name: str, profile: str | None, seeds: int | None
) -> tuple[StudyParams, str, list[tuple[Cell, int, dict[str, Any]]]]:
    """A study, its variant, and each cell with each seed and its params.yaml."""
    study = read_study(name, profile)
    if seeds is not None:
        study = study.model_copy(update={"seeds": seeds})
    values = dict(parse_params().values)
    for path in files_of_profile(study.profile) if study.profile else ():
        values |= {key: value for key, value in parse_params(path).values.items() if key != EXTENDS}
    cells = [
        (cell, seed, parameters_of(study, cell, values, seed=seed))
        for cell in study.all_cells()
        for seed in range(study.seeds)
    ]
    return study, variant_of(study, values), cells


def _plan(base: Path, name: str, study: StudyParams, variant: str, trials: list[Trial]) -> Plan:
    """Sort the trials, and look which have results."""
    places = {
        kind: list(dict.fromkeys(getattr(trial, kind) for trial in trials)) for kind in ("data", "training")
    }
    trials.sort(
        key=lambda trial: (places["data"].index(trial.data), places["training"].index(trial.training))
    )
    paths = Paths(base / "data")
    results = {trial.key: found for trial in trials if (found := read_result(paths, trial.key))}
    return Plan(name, study, variant, trials, results)


def _trials(
    cells: list[tuple[Cell, int, dict[str, Any]]],
    workspace: Path,
    variant: str,
    graphs: dict[str, Ingredients],
) -> list[Trial]:
    """What decides the bytes of each cell's training and scores, in the cells' order.

    graphs: what was read of the workspace before, by what makes its graph.
    """
    trials = []
    for cell, seed, values in cells:
        shape = str([variant, *(_value(values, address) for address in _OF_THE_GRAPH)])
        if shape not in graphs:
            write_parameters(workspace, values)
            graphs[shape] = Ingredients(workspace)
        key, training, data = (
            graphs[shape].digest(values, target)
            for target in (f"evaluate@{variant}", f"train@{variant}", "qa")
        )
        trials.append(Trial(cell, seed, values, key, training, data))
    return trials


def _check(name: str, cells: list[tuple[Cell, dict[str, Any]]]) -> None:
    """Say what is wrong with the parameters of cells, as the check before the first stage would."""
    from components.tools.parameters.check import find_mistakes  # and with it the settings of all stages

    wrong: dict[str, str] = {}
    with scratch_folder() as folder:
        path = folder / PARAMS.name
        for cell, values in cells:
            write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
            for mistake in find_mistakes(path=path):
                fix = f" {mistake.fix}" if mistake.fix else ""
                wrong.setdefault(f"{mistake.what}.{fix}", cell.name)
    if wrong:
        listed = [f"cell {cell!r}: {what}" for what, cell in wrong.items()]
        what = "one mistake" if len(listed) == 1 else f"{len(listed)} mistakes"
        raise AvisError("\n".join([what, *listed]), where=str(study_path(name)))


def _value(values: Mapping[str, Any], address: str) -> Any:
    first, _, last = address.partition(".")
    return (values.get(first) or {}).get(last)


def _steps(values: Mapping[str, Any]) -> int:
    (settings,) = values["variants"].values()
    return 0 if settings.get("checkpoint") else int(settings.get("steps", values["train"].get("steps", 0)))


def _rate(results: list[Result], paths: Paths, variant: str) -> tuple[float, float] | None:
    """Seconds a step, and for all but the training: of this study, else of others, else of the checkout."""
    for kept in ([(result.about, result.training) for result in results], measured(paths)):
        trained = [
            training["seconds"] / training["steps"]
            for about, training in kept
            if training.get("steps") and "train" in about["seconds"]
        ]
        if trained:
            others = [
                sum(s for stage, s in about["seconds"].items() if stage != "train") for about, _ in kept
            ]
            return median(trained), median(others)
    try:
        training = json.loads((paths.model(variant) / "metrics.json").read_text())
        timing = json.loads((paths.predictions(variant) / "timing.json").read_text())
        return float(training["seconds"] / training["steps"]), float(timing["seconds"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None


def duration(seconds: float) -> str:
    """A time for people: minutes, or hours from two on."""
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
