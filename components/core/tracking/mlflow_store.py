"""All that is written to MLflow. Importing MLflow takes seconds, so only the sender and readers come here."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from components.core.run.errors import AvisError
from components.core.tracking.moved import follow_move
from components.core.tracking.spool import STAND_IN, Operation

_ADDRESS = "MLFLOW_TRACKING_URI"
_LOCKED_S = 60.0  # how long other writers of an sqlite file are waited for
# MLflow: at most 1000 metrics, 100 parameters, 100 tags a request; lengths as the store has them.
METRICS_A_REQUEST, _PARAMS, _TAGS = 1000, 100, 100
_PARAM_CHARACTERS, _TAG_CHARACTERS = 6000, 8000
# MLflow's pages have two kinds of experiments; without this they take these for a language application's.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
REFERENCE, _STAND_IN = "avis.reference", "avis.stand_in"
_TRANSIENT_CLIENT_ERRORS = {401, 403, 408, 429}  # the user or time can mend these: keep and try again
_Entity = TypeVar("_Entity")


_DAMAGED = "Put a copy of it back, or move it away: a new one is begun, and weights and scores are in DVC."
_OTHER_VERSION = "Of an older MLflow? Copy the file, then run: mlflow db upgrade ADDRESS. Else update MLflow."
_LASTING = {
    "database disk image is malformed": _DAMAGED,
    "file is not a database": _DAMAGED,
    "out-of-date database schema": _OTHER_VERSION,
}


class Away(Exception):  # noqa: N818
    """MLflow cannot take anything now.

    fix: what to do where waiting does not help, else empty.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.fix = next((fix for sign, fix in _LASTING.items() if sign in reason), "")


@contextmanager
def _kept_address() -> Iterator[None]:
    """Undo that MLflow writes its address into the environment: there it would win over params.yaml."""
    before = os.environ.get(_ADDRESS)
    try:
        yield
    finally:
        os.environ.pop(_ADDRESS, None)
        if before is not None:
            os.environ[_ADDRESS] = before


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
        follow_move(uri)
        with self.errors(), _kept_address():
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
            raise Away(short(error)) from error
        except (Away, AvisError):
            raise
        except Exception as error:
            raise Away(short(error)) from error

    def experiment(self, name: str) -> str:
        """Return an experiment's id; makes it, and the database, if it is not there."""
        from mlflow.exceptions import MlflowException

        # Two processes that create one sqlite schema at once fail, so they queue up here.
        with self.errors(), (self.folder / "store.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = self.client.get_experiment_by_name(name)
            if found is None:
                place = self._artifacts(name)
                try:
                    made = self.client.create_experiment(name, artifact_location=place, tags={KIND_TAG: KIND})
                    return str(made)
                except MlflowException:  # another machine was quicker
                    return str(self.client.get_experiment_by_name(name).experiment_id)
            if found.lifecycle_stage != "active":
                self.client.restore_experiment(found.experiment_id)
            if KIND_TAG not in found.tags:  # of an older version, or made by hand
                self.client.set_experiment_tag(found.experiment_id, KIND_TAG, KIND)
            return str(found.experiment_id)

    def _artifacts(self, name: str) -> str | None:
        """Where a new experiment keeps its files: beside a database file that lies elsewhere.

        MLflow would take the current folder, which is that of an unattended run and does not last.
        """
        file = Path(self.uri.removeprefix("sqlite:///").partition("?")[0])
        if not self.uri.startswith("sqlite:///") or not file.is_absolute() or file.parent == Path.cwd():
            return None
        return (file.parent / "mlruns" / quote(name, safe="")).as_uri()

    def run(self, start: Operation) -> tuple[str, str]:
        """Return (run id, experiment id) of the run that `start` refers to; begins it if there is none."""
        experiment = self.experiment(start["experiment"])
        reference = start["ref"]
        with self.errors():
            run = self.known_run(reference, experiment)
            if run is None:
                known_by = _STAND_IN if reference.startswith(STAND_IN) else REFERENCE
                run = self.client.create_run(
                    experiment,
                    start_time=start["time_ms"],
                    run_name=start["name"],
                    tags={known_by: reference.removeprefix(STAND_IN), "mlflow.source.type": "LOCAL"},
                )
            run_id, tags = str(run.info.run_id), run.data.tags
            old = tags.get(REFERENCE, STAND_IN)
            if old.startswith(STAND_IN):  # just begun, or by an older version
                stand_in = tags.get(_STAND_IN) or old.removeprefix(STAND_IN)
                self.client.set_tag(run_id, _STAND_IN, stand_in)
                self.client.set_tag(run_id, REFERENCE, run_id)
            return run_id, str(run.info.experiment_id)

    def known_run(self, reference: str, experiment: str) -> Any | None:
        """Return MLflow's run with this id, or begun in place of this reference; None if there is none."""
        from mlflow.exceptions import MlflowException

        stand_in = reference.removeprefix(STAND_IN)
        if stand_in == reference:
            try:
                run = self.client.get_run(reference)
                if run.info.lifecycle_stage == "active":
                    return run
            except MlflowException as error:
                if not 400 <= error.get_http_status_code() < 500:
                    raise
        searches = [f"tags.`{REFERENCE}` = '{reference}'"]  # of a stand-in: by an older version
        if stand_in != reference:
            searches.insert(0, f"tags.`{_STAND_IN}` = '{stand_in}'")
        for search in searches:
            found = self.client.search_runs([experiment], search, max_results=1)
            if found:
                return found[0]
        return None


class StoredRun:
    """One run in MLflow, which does what a stage said."""

    def __init__(self, store: Store, start: Operation, artifacts: Path) -> None:
        """Find or begin the run that `start` refers to; artifacts: where copies of files lie, by number."""
        self.store = store
        self.run_id, self.experiment_id = store.run(start)
        self._start = start
        self._artifacts = artifacts
        self._monitor: Any = None

    def send(self, group: list[Operation]) -> None:
        """Send an operation, or many "metrics".

        Raises:
            Away: if MLflow takes nothing now.
            MlflowException: if it refuses this for good.
        """
        with self.store.errors():
            if group[0]["operation"] == "metrics":
                self._send_metrics(group)
            else:
                for operation in group:
                    getattr(self, f"_send_{operation['operation']}")(operation)

    def _send_start(self, operation: Operation) -> None:
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

    def stop_monitor(self) -> None:
        """End what start_monitor began."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _send_metrics(self, group: list[Operation]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(key, value, operation["time_ms"], operation["step"])
            for operation in group
            for key, value in operation["values"].items()
        ]
        for some in _groups(metrics, METRICS_A_REQUEST):
            self.store.client.log_batch(self.run_id, metrics=some)

    def _send_params(self, operation: Operation) -> None:
        from mlflow.entities import Param

        known = self.store.client.get_run(self.run_id).data.params
        values = {key: str(value)[:_PARAM_CHARACTERS] for key, value in operation["values"].items()}
        new = [Param(key, value) for key, value in values.items() if key not in known]
        for some in _groups(new, _PARAMS):
            self.store.client.log_batch(self.run_id, params=some)
        # A parameter of a run is for ever; a stage repeated with another value says so in a tag.
        changed = {f"changed.{key}": value for key, value in values.items() if known.get(key, value) != value}
        self._send_tags({"values": changed})

    def _send_tags(self, operation: Operation) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(key, value[:_TAG_CHARACTERS]) for key, value in operation["values"].items()]
        for some in _groups(tags, _TAGS):
            self.store.client.log_batch(self.run_id, tags=some)

    def _send_artifact(self, operation: Operation) -> None:
        kept = self._artifacts / str(operation["number"])
        if kept.is_dir():
            self.store.client.log_artifacts(self.run_id, str(kept), operation["folder"] or None)

    def _send_image(self, operation: Operation) -> None:
        from PIL import Image

        kept = self._artifacts / str(operation["number"])
        for file in kept.glob("*"):
            with Image.open(file) as picture:
                self.store.client.log_image(self.run_id, picture, key=operation["key"], synchronous=True)

    def _send_text(self, operation: Operation) -> None:
        self.store.client.log_text(self.run_id, operation["content"], operation["name"])

    def _send_dataset(self, operation: Operation) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        # By the client's own entities: `mlflow.log_input` takes only kinds of sources that are registered
        # with MLflow, and DVC is none. 36 characters are the column's width in its database.
        dataset = Dataset(operation["name"], operation["digest"][:36], "dvc", json.dumps(operation["source"]))
        tag = InputTag(MLFLOW_DATASET_CONTEXT, operation["context"])
        self.store.client.log_inputs(self.run_id, [DatasetInput(dataset, [tag])])

    def _send_model(self, operation: Operation) -> None:
        import mlflow
        from mlflow.entities import LoggedModelOutput, Metric

        model = mlflow.create_external_model(
            operation["name"],
            source_run_id=self.run_id,
            tags=operation["tags"],
            model_type="avis",
            experiment_id=self.experiment_id,
        )
        # The model names its run; without this its run does not name the model.
        self.store.client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step=0)])
        # A model's metric is also a point of its run: under the curve's name it would lie at its beginning.
        metrics = [
            Metric(
                f"final/{key}", value, operation["time_ms"], 0, model_id=model.model_id, run_id=self.run_id
            )
            for key, value in operation["metrics"].items()
        ]
        self.store.client.log_batch(self.run_id, metrics=metrics)

    def _send_end(self, operation: Operation) -> None:
        self.stop_monitor()
        self.terminate(operation["status"], operation["time_ms"])

    def terminate(self, status: str, end_ms: int | None = None) -> None:
        """Say how a run ended, if the session is the one that began it."""
        if self._start["owned"]:
            with self.store.errors():
                self.store.client.set_terminated(self.run_id, status, end_ms)


def _groups(entities: list[_Entity], limit: int) -> Iterator[list[_Entity]]:
    return (entities[begin : begin + limit] for begin in range(0, len(entities), limit))


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """All that a search of MLflow's client finds, page after page."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


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


def short(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"
