import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.tracking.reader import read_tracked_run
from components.core.tracking.run import (
    continue_run,
    data_run,
    flatten,
    send_pending,
    study_run,
    training_run,
)
from components.core.tracking.spool import pending
from tests.support.zygote import REAL_PYTHON

ROOT = Path(__file__).parents[4]
quick_senders = pytest.mark.usefixtures("quick_python")  # each imports MLflow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; senders that still linger there are ended."""
    monkeypatch.chdir(tmp_path)
    for limit in ("_RUN_ID_S", "_LAST_SENDING_S"):  # a sender on a busy machine imports MLflow for a minute
        monkeypatch.setattr(f"components.core.tracking.run.{limit}", 280.0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    for process in psutil.process_iter(["cmdline"]):
        sender = "components.core.tracking.sender" in (process.info["cmdline"] or [])
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if sender and process.cwd() == str(tmp_path):
                process.kill()
                process.wait(10)


def client(uri: str | None = None):
    import mlflow

    # MLflow keeps stores by address for the life of a process, so the address must not depend on the folder.
    return mlflow.MlflowClient(uri or f"sqlite:///{Path.cwd()}/mlflow.db")


def runs(experiment: str, uri: str | None = None) -> list:
    found = client(uri).get_experiment_by_name(experiment)
    return client(uri).search_runs([found.experiment_id]) if found else []


def test_without_tracking_nothing_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": [1]}) == {"a.b.c": 1, "d": [1]}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    with data_run("qa", params={"a": {"b": 1}}) as run:
        run.metrics({"videos": 3})
        assert run.run_id.startswith("pending-") and run.experiment_id is None
    assert list(folder.iterdir()) == []


def test_a_bad_run_file_is_one_message(folder: Path) -> None:
    with pytest.raises(AvisError, match=r"no trained model.*run\.json"), continue_run(folder / "run.json"):
        pass
    (folder / "run.json").write_text("{}")
    with pytest.raises(AvisError, match="field run_id"), continue_run(folder / "run.json"):
        pass


@pytest.mark.integration
@quick_senders
@pytest.mark.parametrize("damaged", ["", "{", "5", '{"run_id": 7}'])
def test_a_study_whose_run_file_is_damaged_gets_another_run(
    damaged: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    file = folder / "run.json"
    with study_run("s", file, params={}, paths=Paths(folder)) as run:
        first = run.run_id
    with study_run("s", file, params={}, paths=Paths(folder)) as run:
        assert run.run_id == first
    assert not capsys.readouterr().out
    file.write_text(damaged)
    with study_run("s", file, params={}, paths=Paths(folder)) as run:
        assert run.run_id != first and json.loads(file.read_text()) == {"run_id": run.run_id}
    assert str(file) in capsys.readouterr().out


def test_one_model_is_one_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, new_store: Callable[[Path], str]
) -> None:
    """Training, an interruption, its continuation and a later stage: one row, on a real sqlite store."""
    new_store(folder)
    model = folder / "data/model/avism"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (folder / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  extract:\n    cmd: x\n    outs:\n    - path: data/media\n      hash: md5\n"
        "      md5: 0123456789abcdef0123456789abcdef.dir\n      size: 5\n      nfiles: 2\n"
    )
    (folder / "data/media/frames").mkdir(parents=True)
    overlay = folder / "overlay.mp4"
    overlay.write_bytes(b"video")
    (folder / "params.yaml").write_text("dataset: mine\n")
    monkeypatch.setenv("AVIS_FLOW_RUN", "0b6f")
    monkeypatch.setenv("AVIS_TRIGGER", "schedule")
    many = {f"p{number}": number for number in range(230)}
    try:
        with training_run(variant="avism", params={"seed": 1, "model": many, "text": "x" * 7000}) as run:
            run_id = run.run_id
            for step in range(1300):
                run.metrics({"loss": 1 / (step + 1)}, step=step)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not run_id.startswith("pending")
    assert client().get_run(run_id).info.status == "KILLED"
    with training_run(variant="avism", params={"seed": 1}, run_id=run_id) as run:
        assert run.run_id == run_id
        experiment_id = run.experiment_id
        run.metrics({"loss": 0.0}, step=1300)
        run.dataset("frames", Path("data/media/frames"), "training")
        run.logged_model("avism", model / "model.safetensors", {"loss": 0.0})
        (model / "run.json").write_text(json.dumps({"run_id": run.run_id}))
    with continue_run(model / "run.json") as run:
        run.metrics({"corrected/mAP": 33.0, "odd%name": float("nan")})
        run.params({"predict": {"threshold": 0.5}, "seed": 2})
        run.artifact(overlay, "overlays")
    [row] = runs("avis")
    assert (row.info.run_id, row.info.status, row.info.run_name) == (run_id, "FINISHED", "avism")
    assert row.info.experiment_id == experiment_id
    assert row.data.params["model.p229"] == "229"
    assert len(row.data.params["text"]) == 6000
    assert row.data.params["predict.threshold"] == "0.5"
    assert (row.data.params["seed"], row.data.tags["changed.seed"]) == ("1", "2")
    assert row.data.metrics["corrected/mAP"] == 33.0
    assert len(client().get_metric_history(run_id, "loss")) == 1301
    assert len(row.data.tags["dvc.lock.md5"]) == 32
    origin = [row.data.tags[f"avis.{name}"] for name in ("dataset", "flow_run", "trigger", "variant")]
    assert origin == ["mine", "0b6f", "schedule", "avism"]
    [dataset] = row.inputs.dataset_inputs
    assert dataset.dataset.digest == "0123456789abcdef0123456789abcdef.dir"
    assert (dataset.dataset.name, dataset.tags[0].value) == ("frames", "training")
    assert [file.path for file in client().list_artifacts(run_id, "overlays")] == ["overlays/overlay.mp4"]
    [page] = client().search_logged_models([row.info.experiment_id])
    assert page.tags["dvc.path"].endswith("data/model/avism/model.safetensors")
    assert page.source_run_id == run_id
    assert [output.model_id for output in row.outputs.model_outputs] == [page.model_id]
    assert row.data.tags["avis.reference"] == run_id
    assert client().get_experiment_by_name("avis").tags["mlflow.experimentKind"] == "custom_model_development"
    assert [(metric.key, metric.value) for metric in page.metrics] == [("final/loss", 0.0)]
    read = read_tracked_run(model / "run.json")
    assert read is not None
    assert (read.run_id, read.params["seed"], read.metrics["corrected/mAP"]) == (run_id, "1", 33.0)
    assert read.datasets == {"frames": [dataset.dataset.digest]}
    assert pending(Path("data/.tracking")) == []


STAGE = """
import sys, time
from components.core.tracking.run import data_run
with data_run(sys.argv[1], params={"a": 1}) as run:
    run.metrics({"videos": 3})
    print("said", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def stage(name: str, seconds: float, python: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [python, "-c", STAGE, name, str(seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
@quick_senders
def test_siblings_share_a_database_that_is_not_there_yet_and_a_killed_one_is_noted(folder: Path) -> None:
    siblings = [stage(name, 0, sys.executable) for name in ("a", "b", "c")]
    victim = stage("victim", 600, REAL_PYTHON)
    assert victim.stdout is not None
    victim.stdout.readline()
    begin = time.monotonic()
    for sibling in siblings:
        sibling.wait(timeout=600)
    assert send_pending() == 0  # nobody waits for a stage that runs
    assert time.monotonic() - begin < 60 and victim.poll() is None
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    for sibling in siblings:
        assert sibling.communicate(timeout=600)[1] == ""
        assert sibling.returncode == 0
    assert send_pending() == 0
    rows = {row.info.run_name: row for row in runs("avis-data")}
    assert {name: row.info.status for name, row in rows.items()} == {
        "a": "FINISHED",
        "b": "FINISHED",
        "c": "FINISHED",
        "victim": "KILLED",
    }
    assert rows["victim"].data.metrics["videos"] == 3
    assert all(row.info.end_time >= row.info.start_time for row in rows.values())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(url)


@pytest.mark.integration
@quick_senders
def test_a_server_that_is_away_gets_everything_when_it_is_back(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    new_store: Callable[[Path], str],
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with training_run(variant="avism", params={"seed": 1}) as run:
        run.metrics({"loss": 1.0}, step=0)
        reference = run.run_id
    run_file = folder / "data/model/avism/run.json"
    run_file.parent.mkdir(parents=True)
    run_file.write_text(json.dumps({"run_id": reference}))
    with pytest.raises(ValueError, match="no clips"), data_run("extract", params={}):
        raise ValueError("no clips")
    said = capfd.readouterr().err
    assert said.count("\n") == 2
    assert f"MLflow at {uri} could not be reached" in said
    assert "sent by the next command" in said
    assert len(pending(Path("data/.tracking"))) == 2
    server = subprocess.Popen(
        [
            *(REAL_PYTHON, "-m", "mlflow", "server", "--port", uri.rsplit(":", 1)[1], "--workers", "1"),
            *("--backend-store-uri", new_store(folder), "--artifacts-destination", "./kept"),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # seven processes we do not need
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"{uri}/health")
        with continue_run(run_file) as run:
            run.metrics({"mAP": 30.0})
            assert run.run_id != reference
        assert capfd.readouterr().err == ""
        [row] = runs("avis", uri)
        assert row.data.metrics["mAP"] == 30.0
        assert row.data.metrics["loss"] == 1.0
        assert row.info.status == "FINISHED"
        assert row.data.tags["avis.reference"] == row.info.run_id
        [failed] = runs("avis-data", uri)
        assert (failed.info.status, failed.data.tags["failure"]) == ("FAILED", "ValueError: no clips")
        assert pending(Path("data/.tracking")) == []
    finally:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in family:
            process.terminate()
        psutil.wait_procs(family, timeout=600)
        server.wait()
