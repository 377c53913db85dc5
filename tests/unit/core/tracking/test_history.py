"""Runs and registry leave one database for another: all that was kept, under the same names and numbers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.core.run.errors import AvisError
from components.core.tracking.history import export_history, import_history
from components.core.tracking.mlflow_store import REFERENCE, Store
from components.core.tracking.registry import CHALLENGER, CHAMPION, COMMIT, WEIGHTS_MD5, Registry

NewStore = Callable[[Path], str]


def add_run(store: Store, folder: Path, name: str, **tags: str) -> str:
    """A run as the stages leave it: with a curve, a dataset, files and a model with a score."""
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric

    client = store.client
    experiment = store.experiment("runs")
    run_id = str(client.create_run(experiment, 1_700_000_000_000, tags, name).info.run_id)
    client.set_tag(run_id, REFERENCE, run_id)
    for step, value in enumerate((3.0, 2.5, math.nan)):
        client.log_metric(run_id, "train/loss", value, 1_700_000_000_000 + step, step)
    client.log_param(run_id, "model.audio", "vggish")
    data = Dataset("train", "abc", "dvc", json.dumps({"path": "data"}))
    client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])])
    client.log_text(run_id, "report", "evaluation/report.html")
    model = mlflow.create_external_model(
        "model", source_run_id=run_id, tags={"md5": name}, experiment_id=experiment
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    score = Metric("final/FSLA", 55.5, 1_700_000_000_000, 0, model_id=model.model_id, run_id=run_id)
    client.log_batch(run_id, metrics=[score])
    client.set_terminated(run_id, "FINISHED", 1_700_000_100_000)
    return run_id


@pytest.fixture
def exported(tmp_path: Path, new_store: NewStore) -> tuple[Path, list[str]]:
    (tmp_path / "here" / "t").mkdir(parents=True)
    store = Store(new_store(tmp_path / "here"), tmp_path / "here" / "t")
    first = add_run(store, tmp_path, "first")
    second = add_run(store, tmp_path, "second", parent=first)
    store.client.create_run(store.experiment("runs"))  # still at work
    registry = Registry(store.uri, tmp_path / "here" / "t", model="avis", experiment="runs")
    for number, run_id in enumerate((first, first, second)):
        registry.register(run_id, tags={COMMIT: f"commit{number}", WEIGHTS_MD5: f"md5{number}"})
    registry.promote(registry.version(1), "the first")
    store.client.delete_model_version("avis", "2")
    found = export_history(store.uri, tmp_path / "history", ["runs", "none"], tmp_path / "t")
    assert found == {"runs": 2, "files": 2, "versions": 2, "at work": 1}
    return tmp_path / "history", [first, second]


def test_everything_arrives_once_under_its_names_and_numbers(
    exported: tuple[Path, list[str]], tmp_path: Path, new_store: NewStore
) -> None:
    folder, (first, second) = exported
    (tmp_path / "there").mkdir()
    uri = new_store(tmp_path / "there")
    found = import_history(uri, folder, tmp_path / "there" / "t")
    assert found == {"runs": 2, "versions": 2, "known": 0}

    store = Store(uri, tmp_path / "there" / "t")
    experiment = store.experiment("runs")
    runs = {run_id: store.known_run(run_id, experiment) for run_id in (first, second)}
    one, other = runs[first], runs[second]
    assert (one.info.status, one.info.start_time, one.info.end_time, one.info.run_name) == (
        "FINISHED", 1_700_000_000_000, 1_700_000_100_000, "first",
    )  # fmt: skip
    assert one.data.params == {"model.audio": "vggish"} and other.data.tags["parent"] == one.info.run_id
    assert "avis.importing" not in one.data.tags
    curve = store.client.get_metric_history(one.info.run_id, "train/loss")
    assert [(point.step, point.timestamp % 100) for point in curve] == [(0, 0), (1, 1), (2, 2)]
    assert [point.value for point in curve][:2] == [3.0, 2.5] and math.isnan(curve[2].value)
    assert one.inputs.dataset_inputs[0].dataset.digest == "abc"
    text = store.client.download_artifacts(one.info.run_id, "evaluation/report.html", str(tmp_path))
    assert Path(text).read_text() == "report"
    model = store.client.get_logged_model(one.outputs.model_outputs[0].model_id)
    assert model.tags["md5"] == "first" and model.source_run_id == one.info.run_id
    assert [(score.key, score.value) for score in model.metrics] == [("final/FSLA", 55.5)]

    registry = Registry(uri, tmp_path / "there" / "t", model="avis", experiment="runs")
    versions = {version.number: version for version in registry.versions()}
    assert {number: (version.commit, version.aliases) for number, version in versions.items()} == {
        1: ("commit0", [CHAMPION]), 3: ("commit2", [CHALLENGER]),
    }  # fmt: skip
    assert versions[3].run_id == other.info.run_id and versions[1].decision == "promoted"
    shown = json.loads(model.tags["mlflow.modelVersions"])
    assert shown == [{"name": "avis", "version": 1}]

    assert import_history(uri, folder, tmp_path / "there" / "t") == {"runs": 0, "versions": 0, "known": 4}


def test_an_import_that_was_cut_off_goes_on(
    exported: tuple[Path, list[str]], tmp_path: Path, new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = exported
    (tmp_path / "there").mkdir()
    uri = new_store(tmp_path / "there")

    class Killed(Exception): ...

    def cut_off(model: Any, *rest: Any) -> Any:
        raise Killed

    monkeypatch.setattr("mlflow.MlflowClient.set_terminated", cut_off)
    with pytest.raises((Killed, AvisError)):
        import_history(uri, folder, tmp_path / "there" / "t")
    monkeypatch.undo()
    assert import_history(uri, folder, tmp_path / "there" / "t")["runs"] == 2
    store = Store(uri, tmp_path / "there" / "t")
    assert len(store.client.search_runs([store.experiment("runs")])) == 2


def test_other_versions_of_the_model_and_other_folders_are_refused(
    exported: tuple[Path, list[str]], tmp_path: Path, new_store: NewStore
) -> None:
    folder, _ = exported
    (tmp_path / "there").mkdir()
    uri = new_store(tmp_path / "there")
    registry = Registry(uri, tmp_path / "there" / "t", model="avis", experiment="runs")
    client = registry._store.client
    run_id = client.create_run(registry._store.experiment("runs")).info.run_id
    registry.register(run_id, tags={COMMIT: "other", WEIGHTS_MD5: "other"})
    with pytest.raises(AvisError, match=r"avis version 1 is another one there.*new database"):
        import_history(uri, folder, tmp_path / "there" / "t")
    with pytest.raises(AvisError, match="no folder that avis runs export wrote"):
        import_history(uri, tmp_path, tmp_path / "there" / "t")
    with pytest.raises(AvisError, match=r"there already.*new folder"):
        export_history(uri, folder, ["runs"], tmp_path / "there" / "t")
