"""Faults of the servers and stores that are set up here. What is written there is removed again."""

import os
import secrets
import socket
from pathlib import Path

from components.core.run.params import PARAMS
from components.core.run.paths import Paths
from components.core.storage.choice import StorageParams, open_store, read_storage
from components.core.text.redaction import redacted_address
from components.core.tracking.address import NO_TRACKING, tracking_uri
from components.core.tracking.mlflow_store import Store
from components.core.tracking.run import data_run, send_pending
from components.core.tracking.spool import left_behind
from pipelines.selftest.verdict import NotSetUp, hold

EXPERIMENT = "avis-selftest"


def tracked_run(folder: Path) -> str:
    """A run at the address of MLflow, written, read, and removed with its experiment's other traces."""
    uri = tracking_uri()
    if uri == NO_TRACKING:
        raise NotSetUp(f"tracking.uri is {NO_TRACKING}: nothing is recorded")
    store = Store(uri, folder)
    experiment = store.experiment(EXPERIMENT)
    with store.errors():
        run_id = store.client.create_run(experiment, run_name="selftest").info.run_id
        store.client.log_metric(run_id, "probe", 0.5)
        read = store.client.get_run(run_id).data.metrics
        store.client.delete_run(run_id)
        store.client.delete_experiment(experiment)
    hold(f"a metric of 0.5 came back as {read}", is_so=read == {"probe": 0.5})
    return f"{redacted_address(uri)}: written, read, removed"


def tracking_away(folder: Path) -> str:
    """What a run says while MLflow is away is kept, and arrives later."""
    with socket.socket() as taken:  # an address at which nobody answers: bound, not listening
        taken.bind(("127.0.0.1", 0))
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{taken.getsockname()[1]}"
        paths = Paths(folder)
        with data_run("selftest", params={}, paths=paths) as run:
            run.metrics({"probe": 0.5})
        kept = len(left_behind(paths.tracking))
    hold("what was said is lost", is_so=kept == 1)
    waiting = send_pending(paths, uri=f"sqlite:///{folder.resolve()}/mlflow.db")
    hold(f"{waiting} runs were not sent when MLflow was back", is_so=waiting == 0)
    return "the run went on; what it said arrived when MLflow was back"


def raw_store(folder: Path) -> str:
    """See `_store`."""
    return _store(read_storage().raw if PARAMS.exists() else StorageParams().raw, folder)


def media_store(folder: Path) -> str:
    """See `_store`."""
    return _store(read_storage().media if PARAMS.exists() else StorageParams().media, folder)


def _store(url: str | None, folder: Path) -> str:
    """A file goes there, comes back the same, and is removed."""
    store = open_store(url, folder / "store")
    store.check()
    name, content = f"selftest-{secrets.token_hex(8)}.bin", secrets.token_bytes(100_000)
    try:
        with store.workspace() as workspace:
            (workspace / name).write_bytes(content)
            digest_here = open_store(None, workspace).sha256(name)
            store.put(workspace, name)
        (folder / "back").mkdir()
        back = store.get(name, folder / "back").read_bytes()
        hold("the file came back changed", is_so=back == content and store.sha256(name) == digest_here)
    finally:
        store.remove([name])
    hold("a removed file is still there", is_so=store.sha256(name) is None)
    return f"{url or 'a folder of this machine'}: written, read, removed"


def dvc_remote(folder: Path) -> str:
    """A file goes to DVC's default remote and comes back."""
    from pipelines.dvc.repository import open_repo

    with open_repo(Path.cwd()) as repo:
        name = repo.config["core"].get("remote")
        if name is None:
            raise NotSetUp("no default remote: `dvc remote add -d NAME ADDRESS` shares data and models")
        remote = repo.cloud.get_remote_odb(name)
        content = secrets.token_bytes(1000)
        path = remote.fs.join(remote.path, f"selftest-{secrets.token_hex(8)}")
        remote.fs.makedirs(remote.path, exist_ok=True)
        remote.fs.pipe_file(path, content)
        try:
            hold("the file came back changed", is_so=remote.fs.cat_file(path) == content)
        finally:
            remote.fs.remove(path)
    return f"{name}: written, read, removed"


def prefect(folder: Path) -> str:
    """The server that flows are told to use answers."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        raise NotSetUp("no PREFECT_API_URL: flows run by themselves, without schedules")
    with get_client(sync_client=True) as client:
        client.raise_for_api_version_mismatch()
    return f"{redacted_address(url)} answers"
