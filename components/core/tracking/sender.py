"""Sends what stages said (components/core/tracking/run.py) to MLflow. The only module that imports MLflow.

    python -m components.core.tracking.sender FOLDER     (MLFLOW_TRACKING_URI is set)

One process serves all stages that run beside or soon after each other: importing MLflow takes seconds, and
one writer needs no luck with sqlite's locks. It sends the sessions below FOLDER, oldest first: those that
earlier commands left, and those that stages are writing. A session that is sent to its end is removed. When
there has been nothing to do for a while, or MLflow is away and no stage is running, it ends.
"""

import fcntl
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, urlsplit

from components.core.run.errors import AvisError
from components.core.run.process import disable_telemetry
from components.core.tracking.run import STAND_IN, TrackedRun, pending, sender_lock, store_name

_POLL_S = 0.3
_RETRY_S = 2.0
_IDLE_S = 20.0  # long enough to bridge the time between two stages
_LOCKED_S = 60.0  # how long other writers of an sqlite file are waited for
# MLflow: at most 1000 metrics, 100 parameters, 100 tags a request; lengths as the store has them.
_METRICS, _PARAMS, _TAGS = 1000, 100, 100
_PARAM_CHARACTERS, _TAG_CHARACTERS = 6000, 8000
_TRANSIENT_CLIENT_ERRORS = {401, 403, 408, 429}  # the user or time can mend these: keep and try again


class Away(Exception):  # noqa: N818
    """MLflow cannot take anything now."""


class Store:
    """An MLflow server or database."""

    def __init__(self, uri: str, folder: Path) -> None:
        host = urlsplit(uri)
        if host.scheme in ("http", "https"):
            _knock(host.hostname or "", host.port or (443 if host.scheme == "https" else 80))
        if uri.startswith("sqlite:") and "timeout=" not in uri:
            uri += f"{'&' if '?' in uri else '?'}timeout={_LOCKED_S:.0f}"
        # Waiting is our business (the stage goes on meanwhile), so MLflow itself gives up soon.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.uri = uri
        self.folder = folder
        with self.errors():
            mlflow.set_tracking_uri(uri)
            self.client = mlflow.MlflowClient(uri)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what means "not now" into Away; a refusal of the request itself passes as MlflowException."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            status = error.get_http_status_code()
            if 400 <= status < 500 and status not in _TRANSIENT_CLIENT_ERRORS and "locked" not in str(error):
                raise
            raise Away(_short(error)) from error
        except AvisError:
            raise
        except Exception as error:
            raise Away(_short(error)) from error

    def experiment(self, name: str) -> str:
        """Return an experiment's id; makes it, and the database, if it is not there."""
        from mlflow.exceptions import MlflowException

        # Two processes that create one sqlite schema at once fail, so they queue up here.
        with self.errors(), (self.folder / "store.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.client.get_experiment_by_name(name)
            if found is not None and found.lifecycle_stage == "active":
                return str(found.experiment_id)
            if found is not None:
                self.client.restore_experiment(found.experiment_id)
                return str(found.experiment_id)
            try:
                return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))
            except MlflowException:  # another machine was quicker
                return str(self.client.get_experiment_by_name(name).experiment_id)

    def _artifacts(self, name: str) -> str | None:
        """Where a new experiment keeps its files: beside a database file that lies elsewhere.

        MLflow would take the current folder, which is that of an unattended run and does not last.
        """
        file = Path(self.uri.removeprefix("sqlite:///").partition("?")[0])
        if not self.uri.startswith("sqlite:///") or not file.is_absolute() or file.parent == Path.cwd():
            return None
        return (file.parent / "mlruns" / quote(name, safe="")).as_uri()

    def run(self, start: dict[str, Any]) -> tuple[str, str]:
        """Return (run id, experiment id) of the run that `start` refers to; begins it if there is none."""
        experiment = self.experiment(start["experiment"])
        reference = start["ref"]
        with self.errors():
            run = self.known_run(reference, experiment)
            if run is not None:
                return str(run.info.run_id), str(run.info.experiment_id)
            run = self.client.create_run(
                experiment,
                start_time=start["time_ms"],
                run_name=start["name"],
                tags={"avis.reference": reference, "mlflow.source.type": "LOCAL"},
            )
            return str(run.info.run_id), experiment

    def known_run(self, reference: str, experiment: str) -> Any | None:
        """Return MLflow's run with this id, or begun in place of this reference; None if there is none."""
        from mlflow.exceptions import MlflowException

        if not reference.startswith(STAND_IN):
            try:
                run = self.client.get_run(reference)
                if run.info.lifecycle_stage == "active":
                    return run
            except MlflowException as error:
                if not 400 <= error.get_http_status_code() < 500:
                    raise
        found = self.client.search_runs([experiment], f"tags.`avis.reference` = '{reference}'", max_results=1)
        return found[0] if found else None


def find_run(uri: str, folder: Path, experiment: str, reference: str) -> TrackedRun | None:
    """Return what MLflow knows of a run, None if it does not know it or is away."""
    from mlflow.exceptions import MlflowException

    folder.mkdir(parents=True, exist_ok=True)
    try:
        store = Store(uri, folder)
        identity = store.experiment(experiment)
        with store.errors():
            run = store.known_run(reference, identity)
    except (Away, MlflowException) as error:
        _say(f"tracking: {error}.")
        return None
    if run is None:
        return None
    return TrackedRun(
        run_id=run.info.run_id,
        status=run.info.status,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        datasets={entry.dataset.name: entry.dataset.digest for entry in run.inputs.dataset_inputs},
    )


def run_files(uri: str, folder: Path, experiment: str, artifact: str) -> dict[str, str | None]:
    """An artifact of each run of an experiment, None where there is none; nothing if MLflow is away."""
    from mlflow.exceptions import MlflowException

    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, str | None] = {}
    try:
        store = Store(uri, folder)
        identity = store.experiment(experiment)
        with store.errors():
            runs = store.client.search_runs([identity], max_results=1000)
        for run in runs:
            name = f"{run.info.run_id} ({run.info.run_name})"
            with TemporaryDirectory() as temporary:
                try:
                    file = store.client.download_artifacts(run.info.run_id, artifact, temporary)
                    found[name] = Path(file).read_text()
                except (MlflowException, OSError):
                    found[name] = None
    except (Away, MlflowException) as error:
        _say(f"tracking: {error}.")
    return found


class Session:
    """One stage's folder: sends its operations in order and remembers how far it came."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.ended = False
        self._lines = (folder / "operations.jsonl").open("rb")
        offset = folder / "offset"
        self._position = int(offset.read_text()) if offset.exists() else 0
        self._start = start_of(folder)
        self.run_id, self._experiment = store.run(self._start)
        self._monitor: Any = None
        identity = {"run_id": self.run_id, "experiment_id": self._experiment}
        _put(folder / "identity.json", json.dumps(identity))
        (folder / "away").unlink(missing_ok=True)

    def send(self) -> None:
        """Send all that was said until now.

        Raises:
            Away: if MLflow takes nothing now; what is sent is remembered.
        """
        from mlflow.exceptions import MlflowException

        while not self.ended:
            group, end = self._next_group()
            if not group:
                return
            try:
                with self.store.errors():
                    self._send_group(group)
            except MlflowException as error:  # refused for good: say so and go on
                _say(f"{group[0]['operation']} refused: {_short(error)}")
            self._position = end
            _put(self.folder / "offset", str(end))

    def finish(self) -> None:
        """Remove the session after its last operation; a stage that was killed said none."""
        self.stop_monitor()
        if not self.ended and self._start["owned"]:
            with self.store.errors():
                self.store.client.set_terminated(self.run_id, "KILLED")
        self._lines.close()
        shutil.rmtree(self.folder)

    def stop_monitor(self) -> None:
        """End what start_monitor began."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _next_group(self) -> tuple[list[dict[str, Any]], int]:
        """Return the next operation (neighbouring metrics together) and where the one after it begins."""
        group: list[dict[str, Any]] = []
        end = self._position
        self._lines.seek(end)
        for line in self._lines:
            if not line.endswith(b"\n"):
                break  # it is just being written
            operation = json.loads(line)
            if group and not operation["operation"] == group[0]["operation"] == "metrics":
                break
            group.append(operation)
            end += len(line)
            if len(group) == _METRICS:
                break
        return group, end

    def _send_group(self, group: list[dict[str, Any]]) -> None:
        first = group[0]
        send = getattr(self, f"_send_{first['operation']}")
        if first["operation"] == "metrics":
            send(group)
        else:
            for operation in group:
                send(operation)

    def _send_start(self, operation: dict[str, Any]) -> None:
        self._send_tags({"values": operation["tags"]})
        if operation["owned"]:
            self.store.client.update_run(self.run_id, status="RUNNING")
        if operation["system_metrics"]:
            self._send_text({"name": "environment/requirements.txt", "content": _environment()})

    def start_monitor(self) -> None:
        """Log the machine's load (CPU, memory, GPU) until stop_monitor, if the run asks for it."""
        if not self._start["system_metrics"]:
            return
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self.run_id, resume_logging=True, tracking_uri=self.store.uri)
        self._monitor.start()

    def _send_metrics(self, group: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, operation["time_ms"], operation["step"])
            for operation in group
            for key, value in operation["values"].items()
        ]
        for begin in range(0, len(metrics), _METRICS):
            self.store.client.log_batch(self.run_id, metrics=metrics[begin : begin + _METRICS])

    def _send_params(self, operation: dict[str, Any]) -> None:
        from mlflow.entities import Param

        known = self.store.client.get_run(self.run_id).data.params
        values = {key: str(value)[:_PARAM_CHARACTERS] for key, value in operation["values"].items()}
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for begin in range(0, len(new), _PARAMS):
            self.store.client.log_batch(self.run_id, params=new[begin : begin + _PARAMS])
        # A parameter of a run is for ever; a stage repeated with another value says so in a tag.
        changed = {f"changed.{key}": value for key, value in values.items() if known.get(key, value) != value}
        self._send_tags({"values": changed})

    def _send_tags(self, operation: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value[:_TAG_CHARACTERS]) for key, value in operation["values"].items()]
        for begin in range(0, len(tags), _TAGS):
            self.store.client.log_batch(self.run_id, tags=tags[begin : begin + _TAGS])

    def _send_artifact(self, operation: dict[str, Any]) -> None:
        kept = self.folder / "artifacts" / str(operation["number"])
        if kept.is_dir():
            self.store.client.log_artifacts(self.run_id, str(kept), operation["folder"] or None)

    def _send_image(self, operation: dict[str, Any]) -> None:
        from PIL import Image

        kept = self.folder / "artifacts" / str(operation["number"])
        for file in kept.glob("*"):
            with Image.open(file) as picture:
                self.store.client.log_image(self.run_id, picture, key=operation["key"], synchronous=True)

    def _send_text(self, operation: dict[str, Any]) -> None:
        self.store.client.log_text(self.run_id, operation["content"], operation["name"])

    def _send_dataset(self, operation: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # What MLflow makes of a MetaDataset; made directly, since DVC is none of its kinds of sources.
        dataset = Dataset(operation["name"], operation["digest"][:36], "dvc", json.dumps(operation["source"]))
        tag = InputTag("mlflow.data.context", operation["context"])
        self.store.client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def _send_model(self, operation: dict[str, Any]) -> None:
        import mlflow
        from mlflow.entities import Metric

        model = mlflow.create_external_model(
            operation["name"],
            source_run_id=self.run_id,
            tags=operation["tags"],
            model_type="avis",
            experiment_id=self._experiment,
        )
        # A model's metric is also a point of its run: under the curve's name it would lie at its beginning.
        metrics = [
            Metric(
                f"final/{key}", value, operation["time_ms"], 0, model_id=model.model_id, run_id=self.run_id
            )
            for key, value in operation["metrics"].items()
        ]
        self.store.client.log_batch(self.run_id, metrics=metrics)

    def _send_end(self, operation: dict[str, Any]) -> None:
        self.stop_monitor()
        if self._start["owned"]:
            self.store.client.set_terminated(self.run_id, operation["status"], operation["time_ms"])
        self.ended = True


def _environment() -> str:
    import platform
    from importlib.metadata import distributions

    packages = sorted(
        {f"{package.metadata['Name']}=={package.version}" for package in distributions()}, key=str.lower
    )
    return "\n".join([f"# Python {platform.python_version()}, {platform.platform()}", *packages, ""])


def _knock(host: str, port: int) -> None:
    import socket

    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        raise Away(f"{host}:{port}: {error.strerror or error}") from error


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _put(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def start_of(session: Path) -> dict[str, Any]:
    """Return a session's first operation: which run it belongs to."""
    with (session / "operations.jsonl").open("rb") as file:
        start: dict[str, Any] = json.loads(file.readline())
    return start


def _take(lock_file: Path) -> Any | None:
    """Return the open, locked file, None if another process holds the lock."""
    file = lock_file.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


class Sender:
    """Sends all sessions below a folder to one store."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.uri = uri
        self._store: Store | None = None
        self._sessions: dict[Path, Session] = {}
        self._damaged: set[Path] = set()

    def serve(self) -> None:
        """Send until there has been nothing to do for a while, or MLflow is away and nobody waits for it."""
        last_work = time.monotonic()
        while self.folder.exists() and time.monotonic() < last_work + _IDLE_S:
            try:
                if self._send_all():
                    last_work = time.monotonic()
            except Away as error:
                _say(str(error))
                self._disconnect()
                waiting = self._running_stages()
                for session in waiting:
                    _put(session / "away", str(error))
                if not waiting:
                    return
                time.sleep(_RETRY_S)
                last_work = time.monotonic()
            time.sleep(_POLL_S)

    def _send_all(self) -> bool:
        """One round; return whether there was any session to send."""
        if self._store is None:
            self._store = Store(self.uri, self.folder)
        mine = [path for path in pending(self.folder) if path not in self._damaged and self._is_mine(path)]
        for path in mine:
            try:
                self._send(path, self._store)
            except Away:
                raise
            except Exception as error:  # a damaged folder must not keep the others from being sent
                _say(f"{path}: {_short(error)}")
                self._damaged.add(path)
        return bool(mine)

    def _send(self, path: Path, store: Store) -> None:
        gone = _take(
            path / "writer.lock"
        )  # the stage holds it while it runs; asked before the last lines are read
        session = self._sessions.get(path)
        if session is None:
            session = self._sessions[path] = Session(path, store)
            if gone is None:
                session.start_monitor()
        session.send()
        if session.ended or gone is not None:
            del self._sessions[path]
            session.finish()
        if gone is not None:
            gone.close()

    def _is_mine(self, path: Path) -> bool:
        """Another sender serves running stages with another store; what is left behind is anybody's."""
        if path in self._sessions or start_of(path)["store"] == store_name(self.uri):
            return True
        return not _is_running(path)

    def _running_stages(self) -> list[Path]:
        return [path for path in pending(self.folder) if _is_running(path)]

    def _disconnect(self) -> None:
        for session in self._sessions.values():
            session.stop_monitor()
        self._sessions.clear()
        self._store = None


def _is_running(path: Path) -> bool:
    lock = _take(path / "writer.lock")
    if lock is not None:
        lock.close()
    return lock is None


def main(folder: Path) -> None:
    """Serve a folder, unless another process does so already."""
    disable_telemetry()
    uri = os.environ["MLFLOW_TRACKING_URI"]
    lock = _take(sender_lock(folder, uri))
    if lock is not None:
        with lock:
            Sender(folder, uri).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
