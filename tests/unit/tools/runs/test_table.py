"""`avis runs` on a real sqlite store."""

import csv
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.tracking.run import continue_run, training_run
from pipelines.cli import app, main

COMMIT = "38d1b050f2f6d04ef95655f2ffe5c8551cf803c4"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> Path:
    """A folder with mlflow.db: two models, one of them registered, and a data stage that failed."""
    import mlflow
    from mlflow.entities import Dataset, DatasetInput

    folder = tmp_path_factory.mktemp("store")
    client = mlflow.MlflowClient(new_store(folder))
    models, data = (
        client.create_experiment(name, artifact_location=f"{folder}/mlruns") for name in ("avis", "avis-data")
    )
    code = {"mlflow.source.git.commit": COMMIT, "git.dirty": "true"}
    for place, (name, fsla) in enumerate([("avism", 55.5), ("de\x1b[2Jaf\u202e", 25.2)]):
        start_ms = 1_795_600_000_000 + place * 3_600_000
        run = client.create_run(models, start_time=start_ms, run_name=name, tags=code).info.run_id
        client.log_param(run, "seed", place)
        client.log_metric(run, "corrected/FSLA", fsla)
        client.log_inputs(run, [DatasetInput(Dataset("test", "e361e46be6ae", "dvc", "{}"))])
        client.set_terminated(run, end_time=start_ms + 3_700_000)
        if name == "avism":
            client.create_registered_model("avis")
            client.create_model_version("avis", f"runs:/{run}", run_id=run)
            client.set_registered_model_alias("avis", "champion", "1")
    failed = client.create_run(data, run_name="extract").info.run_id
    client.set_terminated(failed, "FAILED")
    return folder


@pytest.fixture
def workspace(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    return tmp_path


def show_runs(*options: str) -> None:
    app(["runs", *options], standalone_mode=False)


def cells(text: str) -> list[list[str]]:
    """The cells of all rows but the heading's."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()[1:]]


def test_the_newest_run_comes_first_and_names_cannot_move_the_cursor(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_runs()
    deaf, avism = cells(capsys.readouterr().out)
    assert deaf[1] == "de\\x1b[2Jaf\\x202e"
    assert avism[1:3] == ["avism", "finished"]
    assert avism[4:] == [
        *("1 h 01 min", "55.50", "38d1b05*", "test e361e46"),
        "avis@champion, avis version 1",
    ]
    show_runs("--limit", "1")
    said = capsys.readouterr()
    assert len(cells(said.out)) == 1 and "--all" in said.err
    show_runs("--experiment", "avis-data")
    [extract] = cells(capsys.readouterr().out)
    assert extract[1:3] == ["extract", "failed"]


def test_searches_by_name_and_by_filter(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_runs("--search", "params.seed = '0'")
    assert [row[1] for row in cells(capsys.readouterr().out)] == ["avism"]
    show_runs("--search", "best")
    assert [row[1][:2] for row in cells(capsys.readouterr().out)] == ["av", "de"]
    show_runs("--search", "params.seed = '7'")
    assert "No runs in the experiment avis that the search finds" in capsys.readouterr().err
    with pytest.raises(AvisError, match=r"no saved search 'bset'\. There are: scores, best"):
        show_runs("--search", "bset")
    with pytest.raises(AvisError, match="MLflow refuses: Invalid"):
        show_runs("--search", "params.seed =")


def test_a_table_of_everything(workspace: Path) -> None:
    show_runs("--csv", "runs.csv")
    with Path("runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["metrics.corrected/FSLA"] for row in rows] == ["25.2", "55.5"]
    assert rows[1]["tags.mlflow.source.git.commit"] == COMMIT
    with pytest.raises(AvisError, match="there already"):
        show_runs("--csv", "runs.csv")


def test_an_empty_place_and_a_server_that_is_away_are_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    show_runs()
    assert "No runs in the experiment avis. `dvc repro` makes some." in capsys.readouterr().err
    assert not Path("mlflow.db").exists()  # looking makes nothing
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["avis", "runs"])
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr().err
    assert "MLflow cannot be reached: 127.0.0.1:9: Connection refused" in said and "secret" not in said
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    with pytest.raises(AvisError, match="nothing is tracked"):
        show_runs()


@pytest.mark.integration
@pytest.mark.usefixtures("quick_python")
def test_what_could_not_be_sent_is_sent_first(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with training_run(variant="late", params={"seed": 9}) as run:
        Path("run.json").write_text(f'{{"run_id": "{run.run_id}"}}')
    with continue_run(Path("run.json")) as run:
        run.metrics({"corrected/HOTA": 41.0})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    show_runs("--search", "params.seed = '9'")
    [late] = cells(capsys.readouterr().out)
    assert late[1] == "late" and late[5] == "41.00"
