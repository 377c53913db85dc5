"""What a stage tells MLflow: parameters, metrics, files, where its data came from.

A stage appends what it says to a folder of its own under `data/.tracking/`; a process beside it
(components/core/tracking/sender.py) sends it on and serves the next stages too. So not every stage pays for
importing MLflow, none loses what it said when it is killed or the server is away, and none fails because
of it: what could not be sent goes out with the next command.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.lineage import code_version, data_version, file_md5, uncommitted_changes
from components.core.run.params import PARAMS, read_dataset
from components.core.run.paths import Paths
from components.core.tracking.address import (
    NO_TRACKING,
    TrackingParams,
    tracking_params,
    tracking_uri,
)
from components.core.tracking.spool import (
    STAND_IN,
    WrittenSession,
    is_locked,
    left_behind,
    now_ms,
    sender_lock,
    warn,
)

STUDY = "avis.study"
"""Tag: which study a run is of, or is a cell of."""

FLOW_RUN, TRIGGER = "AVIS_FLOW_RUN", "AVIS_TRIGGER"  # environment variables that a flow sets for its stages
_LAST_SENDING_S = 120.0  # a stage that is done waits at most this long for its sender
_RUN_ID_S = 60.0  # the sender first imports MLflow; after this a stage goes on with the stand-in
_POLL_S = 0.05
_NAME_CHARACTERS = re.compile(r"[^\w\-. :/]")  # all that MLflow allows in names
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Run:
    """One row in MLflow. A plain Run records nothing: for `tracking.uri: none` and read-only disks."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    @property
    def run_id(self) -> str:
        """MLflow's id; while MLflow is away a stand-in that later commands resolve."""
        return self._run_id

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the run's experiment, for links; None while MLflow is away."""
        return None

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters; nested ones get names with dots."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers, as points of a curve if a step is given."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file, or all files of a folder, with the run."""

    def image(self, key: str, path: Path) -> None:
        """Keep a picture, shown beside those of other runs with this key (letters, digits, blanks, /-_.)."""

    def dataset(self, name: str, path: Path, context: str) -> None:
        """Note which data was used, by the DVC hash of `path`; context: "training", "evaluation"…"""

    def logged_model(self, name: str, weights: Path, metrics: Mapping[str, float] | None = None) -> None:
        """Add a model page that points to weights which stay in DVC."""


@contextmanager
def training_run(
    *, variant: str, params: Mapping[str, object], run_id: str | None = None, paths: Paths | None = None
) -> Iterator[Run]:
    """The one run of a trained model, with code version, data version, environment and system metrics.

    Args:
        variant: the run's name.
        params: all that decides the training.
        run_id: of an interrupted training that goes on; None starts a run.
    """
    settings = tracking_params()
    start = {
        "ref": run_id or _stand_in(),
        "experiment": settings.experiment,
        "name": variant,
        "tags": {**_origin(), "avis.variant": variant, "mlflow.source.name": "components.train"},
        "owned": True,
        "system_metrics": True,
    }
    with _run(settings, start, paths or Paths()) as run:
        run.params(params)
        difference = uncommitted_changes()
        if difference and isinstance(run, _SpooledRun):
            run.text("code/uncommitted.diff", difference)
        yield run


@contextmanager
def continue_run(run_file: Path, *, paths: Paths | None = None) -> Iterator[Run]:
    """The run of a trained model, for the stages after `train`.

    Args:
        run_file: data/model/<variant>/run.json, {"run_id": …}. A run that this MLflow does not know (the file
            came from another machine) is begun anew under the same reference.

    Raises:
        AvisError: if the file is missing or malformed.
    """
    run_id = read_run_id(run_file)
    settings = tracking_params()
    start = {
        "ref": run_id,
        "experiment": settings.experiment,
        "name": run_file.parent.name,
        "tags": {},
        "owned": False,
        "system_metrics": False,
    }
    with _run(settings, start, paths or Paths()) as run:
        yield run


@contextmanager
def study_run(study: str, run_file: Path, *, params: Mapping[str, object], paths: Paths) -> Iterator[Run]:
    """The run of a study, which the runs of its cells are children of; a study that goes on has the same one.

    Args:
        study: its name.
        run_file: where its run id is kept.
        params: the study's file.
        paths: where the files are.
    """
    settings = tracking_params()
    known = _stand_in()
    if run_file.exists():
        try:
            known = read_run_id(run_file)
        except AvisError as error:
            print(f"Study {study} gets another run in MLflow: {error.what} ({error.where}).")
    start = {
        "ref": known,
        "experiment": settings.experiment,
        "name": f"study {study}",
        "tags": {**_origin(), STUDY: study, "mlflow.source.name": "avis study"},
        "owned": True,
        "system_metrics": False,
    }
    with _run(settings, start, paths) as run:
        run.params(params)
        write_json(run_file, {"run_id": run.run_id})
        yield run


@contextmanager
def data_run(stage: str, *, params: Mapping[str, object], paths: Paths | None = None) -> Iterator[Run]:
    """A run of a data stage, in the data experiment, with its duration and, if it fails, the reason."""
    settings = tracking_params()
    start = {
        "ref": _stand_in(),
        "experiment": settings.data_experiment,
        "name": stage,
        "tags": {**_origin(), "avis.stage": stage, "mlflow.source.name": f"components.{stage}"},
        "owned": True,
        "system_metrics": False,
    }
    with _run(settings, start, paths or Paths()) as run:
        run.params(params)
        begin = time.monotonic()
        try:
            yield run
        finally:
            run.metrics({"duration_s": time.monotonic() - begin})


@contextmanager
def _run(settings: TrackingParams, start: Mapping[str, object], paths: Paths) -> Iterator[Run]:
    if settings.uri == NO_TRACKING:
        yield Run(str(start["ref"]))
        return
    try:
        run = _SpooledRun(paths.tracking, start, settings.uri)
    except OSError as error:
        warn(f"nothing is recorded: {error}")
        yield Run(str(start["ref"]))
        return
    try:
        yield run
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        run.tags({"failure": "stopped" if stopped else f"{type(error).__name__}: {error}"})
        run.finish("KILLED" if stopped else "FAILED")
        raise
    run.finish("FINISHED")


def _origin() -> dict[str, str]:
    """Tags that say which code runs on which dataset, and which flow run (its id) started it, and why."""
    tags = code_version()
    if PARAMS.exists():
        tags["avis.dataset"] = read_dataset()
    for variable, tag in ((FLOW_RUN, "avis.flow_run"), (TRIGGER, "avis.trigger")):
        if os.environ.get(variable):
            tags[tag] = os.environ[variable]
    return tags


def read_run_id(run_file: Path) -> str:
    """Return the run id, or the stand-in, that `train` wrote.

    Raises:
        AvisError: if the file is missing or malformed.
    """
    try:
        run_id = json.loads(run_file.read_text())["run_id"]
    except FileNotFoundError:
        raise AvisError(
            "there is no trained model", where=str(run_file), fix="Run the train stage first."
        ) from None
    except (ValueError, KeyError, TypeError):
        run_id = None
    if not isinstance(run_id, str) or not run_id:
        raise AvisError(
            "the run id is missing", where=f"{run_file}, field run_id", fix="Run the train stage again."
        )
    return run_id


def _stand_in() -> str:
    return f"{STAND_IN}{secrets.token_hex(12)}"


class _SpooledRun(Run):
    """Appends what is said to a session folder, and starts the process that sends it."""

    def __init__(self, folder: Path, start: Mapping[str, object], uri: str) -> None:
        super().__init__(str(start["ref"]))
        self._session = WrittenSession(folder, start, uri)
        self._known: tuple[str, str | None] | None = None
        self._folder = folder
        self._uri = uri
        self._sender = _start_sender(folder, uri)

    @property
    def run_id(self) -> str:
        return self._identity()[0]

    @property
    def experiment_id(self) -> str | None:
        return self._identity()[1]

    def _identity(self) -> tuple[str, str | None]:
        if self._known is None:
            self._wait(_RUN_ID_S, lambda: self._session.identity() is not None)
            self._known = self._session.identity()
        return self._known or (super().run_id, None)

    def params(self, values: Mapping[str, object]) -> None:
        self._session.append("params", values=_named(flatten(values), _text))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self._session.append("metrics", values=_named(values, float), step=step or 0, time_ms=now_ms())

    def tags(self, values: Mapping[str, str]) -> None:
        self._session.append("tags", values=_named(values, str))

    def artifact(self, path: Path, folder: str = "") -> None:
        number = self._session.keep(path)
        if number is not None:
            self._session.append("artifact", number=number, folder=folder)

    def image(self, key: str, path: Path) -> None:
        number = self._session.keep(path)
        if number is not None:
            self._session.append("image", number=number, key=key)

    def text(self, name: str, content: str) -> None:
        """Keep a text as an artifact `folder/file`."""
        self._session.append("text", name=name, content=content)

    def dataset(self, name: str, path: Path, context: str) -> None:
        version = data_version(path)
        self._session.append(
            "dataset", name=name, context=context, digest=version.digest, source=version.source
        )

    def logged_model(self, name: str, weights: Path, metrics: Mapping[str, float] | None = None) -> None:
        try:
            tags = {"dvc.path": weights.as_posix(), "dvc.md5": file_md5(weights)}
            tags["size_bytes"] = str(weights.stat().st_size)
        except OSError as error:
            warn(f"the model {name} was not recorded: {error}")
            return
        named = _named(metrics or {}, float)
        self._session.append("model", name=name, tags=tags, metrics=named, time_ms=now_ms())

    def finish(self, status: str) -> None:
        """Wait until all is sent; say so if it could not be."""
        ended = self._session.append("end", status=status, time_ms=now_ms())
        sent = ended and self._wait(_LAST_SENDING_S, self._session.is_sent)
        self._session.close()
        if sent:
            return
        reason = self._session.away() or f"see {self._folder / 'sender.log'}"
        warn(
            f"MLflow at {self._uri} could not be reached ({reason})."
            f" What this run logged is kept in {self._folder} and sent by the next command"
        )

    def _wait(self, limit_s: float, done: Callable[[], bool]) -> bool:
        """Wait for the sender; give up when it says that MLflow is away."""
        deadline = time.monotonic() + limit_s
        starts = 0
        while not done():
            if self._session.away() is not None or time.monotonic() > deadline:
                return False
            # Only when ours is gone: asking takes the lock for a moment, and a sender that begins then ends.
            if self._sender.poll() is not None and not is_locked(sender_lock(self._folder, self._uri)):
                starts += 1  # the sender of an earlier stage ended just when ours began, or it was killed
                if starts > 3:
                    return False
                self._sender = _start_sender(self._folder, self._uri)
            time.sleep(_POLL_S)
        return True


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested mappings into one with dotted names: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _named(values: Mapping[str, _In], convert: Callable[[_In], _Out]) -> dict[str, _Out]:
    return {_NAME_CHARACTERS.sub("_", key): convert(value) for key, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError):
        return str(value)


def send_pending(paths: Paths | None = None, *, uri: str | None = None) -> int:
    """Send what earlier commands could not; return how many runs are still waiting.

    What a stage says that runs just now goes out by itself and is not waited for.
    """
    folder = (paths or Paths()).tracking
    uri = uri or tracking_uri()
    if left_behind(folder) and uri != NO_TRACKING:
        sender = _start_sender(folder, uri)
        deadline = time.monotonic() + _LAST_SENDING_S
        while left_behind(folder) and time.monotonic() < deadline:
            if sender.poll() is not None and not is_locked(sender_lock(folder, uri)):
                break
            time.sleep(_POLL_S)
    return len(left_behind(folder))


def _start_sender(folder: Path, uri: str) -> "subprocess.Popen[bytes]":
    code = str(Path(__file__).resolve().parents[3])
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [code, environment.get("PYTHONPATH")]))
    environment["MLFLOW_TRACKING_URI"] = uri  # by the environment: an address may hold a password
    with (folder / "sender.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "components.core.tracking.sender", str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the stage, which says how the run ended
        )
