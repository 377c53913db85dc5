"""The saved searches on a real sqlite store: each finds what it is for and leaves out what it is not."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from components.tools.runs.searches import read_searches
from pipelines.cli import app
from pipelines.commands.runs.runs import searches

FALSE = "corrected/failures/false_sound_percent_of_predicted_masks"
MISSED = "corrected/failures/missed_sound_percent_of_truth_masks"
# By name: experiment, status, metrics, params, tags.
RUNS = {
    "good": (
        "avis",
        "FINISHED",
        {"corrected/FSLA": 55.5, "predict/seconds_per_frame": 0.05, FALSE: 14.7, MISSED: 2.3},
        {"model.audio": "vggish", "steps": "150"},
        {"git.dirty": "false"},
    ),
    "poor": (
        "avis",
        "FINISHED",
        {"corrected/FSLA": 25.2, "predict/seconds_per_frame": 0.04, FALSE: 39.1, MISSED: 2.0},
        {"model.audio": "none", "steps": "150"},
        {"git.dirty": "true", "avis.flow_run": "0b6f", "avis.trigger": "schedule"},
    ),
    "broken": (
        "avis",
        "FAILED",
        {},
        {"model.audio": "vggish"},
        {"git.dirty": "false", "failure": "no space"},
    ),
    "stopped": ("avis", "KILLED", {}, {}, {}),
    "going": ("avis", "RUNNING", {}, {}, {}),
    "chat": ("avis", "FINISHED", {}, {}, {"avis.kind": "language model"}),
    "ingest": ("avis-data", "FINISHED", {"failed": 3, "videos": 9}, {}, {"avis.stage": "ingest"}),
    "extract": ("avis-data", "FINISHED", {"failed": 0, "videos": 9}, {}, {"avis.stage": "extract"}),
    "qa": ("avis-data", "FINISHED", {"findings_warning": 2}, {}, {"avis.stage": "qa"}),
    "clean qa": ("avis-data", "FINISHED", {"findings_warning": 0}, {}, {"avis.stage": "qa"}),
    "annotate": ("avis-data", "FAILED", {}, {}, {"avis.stage": "annotate", "failure": "AvisError: no file"}),
}
FOUND = {
    "scores": ["good", "chat", "going", "stopped", "broken", "poor"],  # begun at 0: now
    "best": ["good", "poor"],
    "speed": ["poor", "good"],
    "hearing": ["poor", "good"],
    "deaf": ["poor"],
    "committed": ["good"],
    "unattended": ["poor"],
    "failed": ["stopped", "broken"],
    "unfinished": ["going"],
    "language-models": ["chat"],
    "lost-videos": ["ingest"],
    "findings": ["qa"],
    "failed-stages": ["annotate"],
}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> str:
    import mlflow
    from PIL import Image

    folder = tmp_path_factory.mktemp("searched")
    uri = new_store(folder)
    client = mlflow.MlflowClient(uri)
    ids = {
        name: client.create_experiment(name, artifact_location=f"{folder}/mlruns")
        for name in ("avis", "avis-data")
    }
    for second, (name, (experiment, status, metrics, params, tags)) in enumerate(RUNS.items()):
        run = client.create_run(
            ids[experiment], start_time=1000 * second, run_name=name, tags=tags
        ).info.run_id
        for key, value in metrics.items():
            client.log_metric(run, key, value)
        for key, value in params.items():
            client.log_param(run, key, value)
        if name == "good":
            client.log_image(run, Image.new("RGB", (8, 8)), key="clips/one", synchronous=True)
        if status != "RUNNING":
            client.set_terminated(run, status)
    return uri


@pytest.fixture(autouse=True)
def workspace(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def test_every_search_finds_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(read_searches()) == list(FOUND)
    for name, expected in FOUND.items():
        app(["runs", "--search", name], standalone_mode=False)
        lines = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()[1:]]
        assert [line[1] for line in lines] == expected, name


def test_a_searches_own_columns_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    app(["runs", "--search", "unattended"], standalone_mode=False)
    heading, row = (re.split(" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines())
    assert dict(zip(heading, row, strict=True))["avis.trigger"] == "schedule"


def test_views_are_put_into_mlflow(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow

    searches()
    said = capsys.readouterr().out
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("avis")
    assert (
        f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=avis-best&"
        in said
    )
    listed = json.loads(experiment.tags["mlflow.sharedViewState.avis-best"])  # in the page's menu "Views"
    assert listed["name"] == "best" and listed["createdAt"] > 0
    view = json.loads(listed["state"])
    assert view["searchFilter"] == read_searches()["best"].filter
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`corrected/FSLA`", False)
    assert "params.`steps`" in view["selectedColumns"]
    parallel, images = view["compareRunCharts"]
    assert parallel["selectedParams"] == ["model.audio", "steps"]
    assert images["imageKeys"] == ["clips/one"]
    assert parallel["metricSectionId"] == view["compareRunSections"][0]["uuid"]
    data = client.get_experiment_by_name("avis-data")
    assert "mlflow.sharedViewState.avis-findings" in data.tags
    assert all(
        len(value) < 5000 for value in (*experiment.tags.values(), *data.tags.values())
    )  # MLflow's limit


def test_runs_are_compared_on_their_scores(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    import mlflow

    app(["runs", "compare", "good", "poor"], standalone_mode=False)
    said = capsys.readouterr().out
    experiment = mlflow.MlflowClient(uri).get_experiment_by_name("avis")
    ids = [
        mlflow.MlflowClient(uri)
        .search_runs([experiment.experiment_id], f"run_name = '{name}'")[0]
        .info.run_id
        for name in ("good", "poor")
    ]
    key = f"avis-compare-{ids[0][:8]}-{ids[1][:8]}"
    assert said.startswith(
        f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={key}&"
    )
    assert "workflowType=machine_learning&compareRunsMode=CHART" in said
    view = json.loads(experiment.tags[f"mlflow.sharedViewState.{key}"])
    assert view["searchFilter"] == f"attributes.run_id IN ('{ids[0]}', '{ids[1]}')"
    bars = [chart["metricKey"] for chart in view["compareRunCharts"]]
    assert bars[:3] == ["corrected/FSLA", "corrected/HOTA", "corrected/mAP"]
    assert all(chart["type"] == "BAR" for chart in view["compareRunCharts"])
