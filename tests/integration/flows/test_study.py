"""`avis study` with a real repository, DVC, Prefect server and MLflow, on stages that cost nothing."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import mlflow
import pytest
import yaml
from prefect.settings import PREFECT_API_URL

from components.core.run.errors import AvisError
from components.tools.studies.definition import study_path
from pipelines.cli import app
from pipelines.studies.flow import study
from pipelines.studies.plan import make_plan
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_api", "quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[3]
GRAPH = """
stages:
  qa:
    cmd: exec python make.py qa
    params: [dataset]
    deps: [labels.txt]
    outs: [data/qa]
  train:
    foreach: ${variants}
    do:
      cmd: exec python make.py train
      params: [train, "variants.${key}"]
      deps: [data/qa]
      outs: ["data/model/${key}/model.txt", "data/model/${key}/run.json"]
      metrics: ["data/model/${key}/metrics.json": {cache: false}]
  predict:
    foreach: ${variants}
    do:
      cmd: exec python make.py predict
      params: [predict]
      deps: ["data/model/${key}/model.txt"]
      outs: ["data/predictions/${key}/timing.json"]
  evaluate:
    foreach: ${variants}
    do:
      cmd: exec python make.py evaluate
      params: [evaluate]
      deps: ["data/model/${key}/model.txt", "data/predictions/${key}/timing.json"]
      outs: ["data/evaluation/${key}/counts.safetensors"]
      metrics: ["data/evaluation/${key}/metrics.json": {cache: false}]
"""
# How many frames are found is how many steps were trained; every word that a stage was asked is written down.
MAKE = """
    import sys, time
    from pathlib import Path
    import yaml
    from components.core.run.errors import AvisError
    from components.core.run.files import write_json
    from components.core.run.process import run_stage
    from components.core.tracking.run import training_run

    params = yaml.safe_load(Path("params.yaml").read_text())
    settings = {{**params["train"], **params["variants"]["avism"]}}
    model, evaluation = Path("data/model/avism"), Path("data/evaluation/avism")
    predictions, signs = Path("data/predictions/avism"), Path({signs!r})

    def note(word):
        with (signs / "ran").open("a") as file:
            file.write(f"{{word}}\\n")

    def qa():
        note("qa")
        Path("data/qa").mkdir(parents=True, exist_ok=True)
        Path("data/qa/labels").write_text(Path("labels.txt").read_text())

    def train():
        note(f"train {{settings['steps']}} {{settings['seed']}}")
        while (signs / "hold").exists():
            time.sleep(0.05)
        if settings["steps"] == 13:
            raise AvisError("the loss is no number", fix="Lower train.learning_rate.")
        model.mkdir(parents=True, exist_ok=True)
        with training_run(variant="avism", params=settings) as run:
            (model / "model.txt").write_text(str(settings["steps"]))
            write_json(model / "run.json", {{"run_id": run.run_id}})
        write_json(model / "metrics.json", {{"seconds": 4.0, "steps": settings["steps"], "parameters": 10}})

    def predict():
        note(f"predict {{params['predict']['precision']}}")
        predictions.mkdir(parents=True, exist_ok=True)
        write_json(predictions / "timing.json", {{"seconds_per_frame": 0.1, "seconds": 1.0}})

    def evaluate():
        from tests.support.promotion_scores import counts_of, scores_of, write_scores

        found = {{n: int((model / "model.txt").read_text()) for n in range(1, 9)}}
        evaluation.mkdir(parents=True, exist_ok=True)
        write_scores(evaluation, counts_of(found, clips=8))
        values = scores_of(found, clips=8).protocols
        write_json(evaluation / "metrics.json", {{name: part.values for name, part in values.items()}})

    stages = {{"qa": qa, "train": train, "predict": predict, "evaluate": evaluate}}
    run_stage(sys.argv[1], stages[sys.argv[1]])
"""
STUDY = {
    "title": "How many steps?",
    "metrics": ["FSLA"],
    "cells": {
        "one": {"train.steps": 1},
        "three": {"train.steps": 3},
        "three, half precision": {"train.steps": 3, "predict.precision": "bf16"},
    },
}


class Place:
    """A checkout, and a folder for signs between the test and the stages."""

    def __init__(self, folder: Path) -> None:
        self.base, self.signs, self.remote = folder / "base", folder / "signs", folder / "store"

    def ran(self) -> list[str]:
        return (self.signs / "ran").read_text().splitlines()

    def study(self, **changes: object) -> None:
        path = self.base / study_path("steps")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))

    def run(self, *words: str, folder: Path | None = None) -> str:
        done = subprocess.run(words, cwd=folder or self.base, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "-m", "more")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: Callable[[Path], str]) -> Place:
    found = Place(tmp_path)
    found.signs.mkdir()
    found.base.mkdir()
    (found.base / "dvc.yaml").write_text(GRAPH)
    (found.base / "make.py").write_text(dedent(MAKE).format(signs=str(found.signs)))
    (found.base / "labels.txt").write_text("labels\n")
    (found.base / ".gitignore").write_text("mlflow.db*\nmlruns\n__pycache__\ndata/.tracking\ndata/.checked\n")
    params = {
        "dataset": "own",
        "engine": {},
        "tracking": {"uri": "sqlite:///mlflow.db"},
        "train": {"steps": 2, "seed": 1, "warmup_steps": 0, "model": {"backbone_pretrained": False}},
        "variants": {"avism": {"seed": 5}, "other": {}},
        "predict": {"precision": "fp32"},
        "evaluate": {},
        "compare": {"bootstrap_samples": 200},
    }
    (found.base / "params.yaml").write_text(yaml.safe_dump(params))
    new_store(found.base)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(found.base)
    found.run("git", "init", "--quiet", "-b", "main")
    found.run(sys.executable, "-m", "dvc", "init", "--quiet")
    with (found.base / ".dvc/config").open("a") as config:
        config.write(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {found.remote}\n")
    found.study()
    found.commit()
    return found


def compute(place: Place, **how: object):
    return study("steps", root=place.base, return_state=True, **how)


def test_a_study_is_killed_goes_on_and_computes_nothing_twice(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.signs / "hold").touch()
    code = (
        "import sys; from pathlib import Path; from pipelines.studies.flow import study;"
        "study('steps', root=Path(sys.argv[1]), return_state=True)"
    )
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    with (place.signs / "log").open("wb") as log:
        first = subprocess.Popen(
            [REAL_PYTHON, "-c", code, place.base], cwd=place.base, stdout=log, stderr=log, env=environment
        )
    deadline_s = time.monotonic() + 600
    while not ((place.signs / "ran").exists() and any("train" in line for line in place.ran())):
        assert first.poll() is None and time.monotonic() < deadline_s, (place.signs / "log").read_text()
        time.sleep(0.1)
    refused = compute(place)
    assert refused.name == "Failed" and f"process {first.pid}" in refused.message
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    (place.signs / "hold").unlink()
    (place.signs / "ran").unlink()
    # whoever adds all to git now does not take the cells from DVC
    assert (place.base / "data/studies/.gitignore").read_text().splitlines() == ["/cells", "run.json"]

    state = compute(place)
    assert state.is_completed(), state.message
    assert state.message.startswith("3 of 3 computed")
    # Each training once, for both precisions.
    assert [line for line in place.ran() if "train" in line] == ["train 1 5", "train 3 5"]
    assert not list((place.base / ".dvc/tmp/studies").glob("[0-9]*"))
    assert place.run("git", "diff", "--name-only").split() == [], "nobody's checkout is touched"
    table = (place.base / "data/studies/steps/table.csv").read_text().splitlines()
    assert [line.split(",")[0].strip('"') for line in table] == ["cell", "one", "three", "three"]
    assert "three: FSLA is higher than one's (+50.0 points" in "".join(
        (place.base / "data/studies/steps/report.html").read_text().replace("&#39;", "'")
    )

    client = mlflow.MlflowClient(f"sqlite:///{place.base}/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "avis"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "study steps"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["study.train.steps"] for run in children) == ["1", "3"]
    assert parent.data.metrics["FSLA/one"] == 25.0 and parent.data.metrics["FSLA/three"] == 75.0

    # Another clone, with what the first one pushed, computes nothing.
    place.commit()
    place.run(sys.executable, "-m", "dvc", "push", "--quiet")
    other = place.signs / "other"
    place.run("git", "clone", "--quiet", str(place.base), str(other))
    place.run(sys.executable, "-m", "dvc", "pull", "--quiet", "--allow-missing", folder=other)
    shutil.copy(place.base / "mlflow.db", other)
    with contextlib.chdir(other):
        assert "3 of 3 results are there, 0 are to be computed" in str(make_plan(other, "steps"))

    # A second seed and one more cell: only these; with half an eye on what they will cost.
    place.study(cells={"one": {"train.steps": 1}, "slipped": {"train.steps": 13}}, seeds=2)
    plan = str(make_plan(place.base, "steps"))
    assert "1 of 4 results are there, 3 are to be computed, with 3 trainings" in plan
    assert "27 steps of" in plan and "as measured here" in plan
    (place.signs / "ran").unlink()
    state = compute(place)
    assert state.name == "Failed" and "2 of 3 could not be computed" in state.message
    assert "slipped, seed 2: train: the loss is no number. Lower train.learning_rate." in state.message
    assert "Without a result: slipped" in (place.base / "data/studies/steps/report.html").read_text()
    assert [line for line in place.ran() if "train 1 " in line] == ["train 1 6"]

    assert list((place.base / ".dvc/tmp/studies").glob("[0-9]*")), "it goes on there, once it is mended"
    app(["gc", "--free"], standalone_mode=False)
    assert "1 workspaces of studies that did not end well" in capsys.readouterr().out
    assert not list((place.base / ".dvc/tmp/studies").glob("[0-9]*"))
    assert "2 of 4 results are there" in str(make_plan(place.base, "steps"))


def test_wrong_cells_are_named_before_anything_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.study(cells={"a": {"train.stepz": 1}, "b": {"train.warmup_steps": 9}, "c": {"sample.x": 1}})
    with pytest.raises(AvisError) as error:
        make_plan(place.base, "steps")
    said = str(error.value)
    assert "params/studies/steps.yaml" in said and "cell 'a': variants.avism.stepz is no known" in said
    assert "cell 'b': variants.avism.warmup_steps: a warm-up of 9 steps is longer than the training" in said
    assert "cell 'c': sample.x is no known parameter" in said
    with pytest.raises(AvisError, match="no profile 'nowhere'"):
        make_plan(place.base, "steps", profile="nowhere")
    monkeypatch.setattr("pipelines.studies.flow.study", None)  # no flow is started for it
    with pytest.raises(AvisError, match=r"no study 'other'.*avis study new other"):
        app(["study", "other"], standalone_mode=False)


def test_a_cell_is_of_the_files_as_they_are(place: Place) -> None:
    def keys() -> list[str]:
        return [trial.key for trial in make_plan(place.base, "steps").trials]

    before, labels = keys(), place.base / "labels.txt"
    labels.write_text("others, and not committed\n")
    assert set(keys()).isdisjoint(before)
    labels.write_text("labels\n")
    assert keys() == before and len(set(before)) == 3


def test_new_and_list(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    app(["study", "new", "mine"], standalone_mode=False)
    with pytest.raises(AvisError, match="there is such a study"):
        app(["study", "new", "mine"], standalone_mode=False)
    app(["study", "mine", "--dry-run", "--seeds", "2"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "2 cells with 2 seeds each; 0 of 4 results are there, 4 are to be computed, with 4 train" in said
    app(["study"], standalone_mode=False)
    listed = capsys.readouterr().out
    assert "mine" in listed and "How many steps?" in listed and "0 of 3" in listed
