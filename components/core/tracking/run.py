"""What a stage tells MLflow: parameters, metrics, files, where its data came from.

A stage appends what it says to a folder of its own under `data/.tracking/`; a process beside it
(components/core/tracking/sender.py) sends it on and serves the next stages too. So not every stage pays for
importing MLflow, none loses what it said when it is killed or the server is away, and none fails because
of it: what could not be sent goes out with the next command.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.core.run.errors import AvisError
from components.core.run.lineage import code_version, data_version, file_md5, uncommitted_changes
from components.core.run.params import PARAMS, Block, read_block, read_dataset
from components.core.run.paths import Paths

STAND_IN = "pending-"  # begins the reference of a run that has no MLflow id yet
FLOW_RUN, TRIGGER = "AVIS_FLOW_RUN", "AVIS_TRIGGER"  # environment variables that a flow sets for its stages
NO_TRACKING = "none"  # as tracking.uri or MLFLOW_TRACKING_URI: nothing is recorded
_LAST_SENDING_S = 120.0  # a stage that is done waits at most this long for its sender
_RUN_ID_S = 60.0
_POLL_S = 0.05
_NAME_CHARACTERS = re.compile(r"[^\w\-. :/]")  # all that MLflow allows in names


class TrackingParams(Block):
    """Where runs are written. The environment variable MLFLOW_TRACKING_URI wins over `uri`."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "avis"
    data_experiment: str = "avis-data"


class Run(Protocol):
    """One row in MLflow."""

    @property
    def run_id(self) -> str:
        """MLflow's id; while MLflow is away a stand-in that later commands resolve."""

    @property
    def experiment_id(self) -> str | None:
        """MLflow's id of the run's experiment, for links; None while MLflow is away."""

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
    run_id = _reference_in(run_file)
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


def send_pending(paths: Paths | None = None, *, uri: str | None = None) -> int:
    """Send what earlier commands could not; return how many runs are still waiting.

    What a stage says that runs just now goes out by itself and is not waited for.
    """
    folder = (paths or Paths()).tracking
    uri = uri or tracking_uri()
    if _left_behind(folder) and uri != NO_TRACKING:
        sender = _start_sender(folder, uri)
        deadline = time.monotonic() + _LAST_SENDING_S
        while _left_behind(folder) and time.monotonic() < deadline:
            if sender.poll() is not None and not _is_served(folder, uri):
                break
            time.sleep(_POLL_S)
    return len(_left_behind(folder))


@dataclass(frozen=True)
class TrackedRun:
    """What MLflow knows of a run; datasets: digest by name."""

    run_id: str
    status: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    datasets: dict[str, str]


def read_tracked_run(run_file: Path, *, paths: Paths | None = None) -> TrackedRun | None:
    """Read back the run of a trained model (takes seconds: it imports MLflow).

    Returns:
        None if MLflow does not know the run, is away, or nothing is tracked.

    Raises:
        AvisError: if `run_file` is missing or malformed.
    """
    reference = _reference_in(run_file)
    settings = tracking_params()
    if settings.uri == NO_TRACKING:
        return None
    from components.core.tracking.sender import find_run

    return find_run(settings.uri, (paths or Paths()).tracking, settings.experiment, reference)


def read_run_files(artifact: str, *, paths: Paths | None = None) -> dict[str, str | None]:
    """A small artifact of every run of the experiment of models, None where a run has none.

    Returns:
        Texts by "<run id> (<name of the run>)"; nothing if MLflow is away or nothing is tracked.
    """
    settings = tracking_params()
    if settings.uri == NO_TRACKING:
        return {}
    from components.core.tracking.sender import run_files

    return run_files(settings.uri, (paths or Paths()).tracking, settings.experiment, artifact)


def pending(folder: Path) -> list[Path]:
    """The sessions under a tracking folder, oldest first."""
    return sorted(path.parent for path in folder.glob("[0-9]*/operations.jsonl"))


def _left_behind(folder: Path) -> list[Path]:
    return [session for session in pending(folder) if not _is_written(session)]


def _is_written(session: Path) -> bool:
    """Whether the stage that began a session still runs: its process is there, and holds the lock."""
    writer = int(session.name.split("-")[1])
    if writer == os.getpid():
        return False
    try:
        os.kill(writer, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    try:
        with (session / "writer.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False  # just sent
    except OSError:
        return True
    return False


def tracking_uri(root: Path | None = None) -> str:
    """Where runs are written: MLFLOW_TRACKING_URI, else `tracking.uri` of params.yaml.

    Args:
        root: a checkout; its params.yaml is read, and a database file that it names relative to it is given
            with its whole path, for processes that run elsewhere.
    """
    if root is None:
        return tracking_params().uri
    uri = tracking_params(root / PARAMS).uri
    file = uri.removeprefix("sqlite:///")
    if file == uri or file.startswith(("/", ":")):
        return uri
    return f"sqlite:///{(root.resolve() / file).as_posix()}"


def store_name(uri: str) -> str:
    """A name for a store that does not give away the password in its address."""
    return hashlib.sha256(uri.encode()).hexdigest()[:12]


def sender_lock(folder: Path, uri: str) -> Path:
    """The file that a store's sender holds locked."""
    return folder / f"sender-{store_name(uri)}.lock"


def tracking_params(path: Path = PARAMS) -> TrackingParams:
    """Read the block `tracking`; the environment variable MLFLOW_TRACKING_URI wins over its address."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    override = {"uri": uri} if uri else {}
    return read_block("tracking", TrackingParams, path=path, override=override, optional=True)


def _origin() -> dict[str, str]:
    """Tags that say which code runs on which dataset, and which flow run (its id) started it, and why."""
    tags = code_version()
    if PARAMS.exists():
        tags["avis.dataset"] = read_dataset()
    for variable, tag in ((FLOW_RUN, "avis.flow_run"), (TRIGGER, "avis.trigger")):
        if os.environ.get(variable):
            tags[tag] = os.environ[variable]
    return tags


def _reference_in(run_file: Path) -> str:
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


class MemoryRun:
    """A Run that keeps everything in memory, for tests and for work without tracking."""

    def __init__(self, run_id: str = "memory") -> None:
        self.run_id = run_id
        self.experiment_id: str | None = None
        self.logged_params: dict[str, object] = {}
        self.logged_metrics: list[tuple[int | None, dict[str, float]]] = []
        self.logged_tags: dict[str, str] = {}
        self.artifacts: list[tuple[Path, str]] = []
        self.images: list[tuple[str, Path]] = []
        self.datasets: list[tuple[str, Path, str]] = []
        self.models: list[tuple[str, Path, dict[str, float]]] = []

    def params(self, values: Mapping[str, object]) -> None:
        self.logged_params.update(flatten(values))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.logged_metrics.append((step, dict(values)))

    def tags(self, values: Mapping[str, str]) -> None:
        self.logged_tags.update(values)

    def artifact(self, path: Path, folder: str = "") -> None:
        self.artifacts.append((path, folder))

    def image(self, key: str, path: Path) -> None:
        self.images.append((key, path))

    def dataset(self, name: str, path: Path, context: str) -> None:
        self.datasets.append((name, path, context))

    def logged_model(self, name: str, weights: Path, metrics: Mapping[str, float] | None = None) -> None:
        self.models.append((name, weights, dict(metrics or {})))


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested mappings into one with dotted names: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


class _SpooledRun:
    """Appends what is said to `operations.jsonl` in a session folder, one line each."""

    def __init__(self, folder: Path, start: Mapping[str, object], uri: str) -> None:
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}"
        new = folder / f".{name}"
        new.mkdir(parents=True)
        self._reference = str(start["ref"])
        self._lock = (new / "writer.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # as long as it is held, no other command sends this session
        with (new / "operations.jsonl").open("w") as file:
            file.write(
                json.dumps({"operation": "start", "store": store_name(uri), "time_ms": _now_ms(), **start})
                + "\n"
            )
        self.folder = new.rename(folder / name)
        self._file = (self.folder / "operations.jsonl").open("a")
        self._artifacts = 0
        self._known: tuple[str, str] | None = None
        self._uri = uri
        self._sender = _start_sender(folder, uri)

    @property
    def run_id(self) -> str:
        return self._identity()[0]

    @property
    def experiment_id(self) -> str | None:
        return self._identity()[1]

    def _identity(self) -> tuple[str, str | None]:
        known = self.folder / "identity.json"
        if self._known is None and self._wait(_RUN_ID_S, known.exists):
            found = json.loads(known.read_text())
            self._known = found["run_id"], found["experiment_id"]
        return self._known or (self._reference, None)

    def params(self, values: Mapping[str, object]) -> None:
        flat = {_NAME_CHARACTERS.sub("_", key): _text(value) for key, value in flatten(values).items()}
        self._say("params", values=flat)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        named = {_NAME_CHARACTERS.sub("_", key): float(value) for key, value in values.items()}
        self._say("metrics", values=named, step=step or 0, time_ms=_now_ms())

    def tags(self, values: Mapping[str, str]) -> None:
        self._say(
            "tags", values={_NAME_CHARACTERS.sub("_", key): str(value) for key, value in values.items()}
        )

    def artifact(self, path: Path, folder: str = "") -> None:
        number = self._keep(path)
        if number is not None:
            self._say("artifact", number=number, folder=folder)

    def image(self, key: str, path: Path) -> None:
        number = self._keep(path)
        if number is not None:
            self._say("image", number=number, key=key)

    def _keep(self, path: Path) -> int | None:
        """Copy a file or folder for the sender; return the copy's number, None if that did not work."""
        if not path.exists():
            _warn(f"{path} is not there and was not kept with the run")
            return None
        self._artifacts += 1
        kept = self.folder / "artifacts" / str(self._artifacts)
        try:
            if path.is_dir():
                shutil.copytree(path, kept)
            else:
                kept.mkdir(parents=True)
                shutil.copy2(path, kept / path.name)
        except OSError as error:
            _warn(f"{path} was not kept with the run: {error}")
            return None
        return self._artifacts

    def text(self, name: str, content: str) -> None:
        """Keep a text as an artifact `folder/file`."""
        self._say("text", name=name, content=content)

    def dataset(self, name: str, path: Path, context: str) -> None:
        version = data_version(path)
        self._say("dataset", name=name, context=context, digest=version.digest, source=version.source)

    def logged_model(self, name: str, weights: Path, metrics: Mapping[str, float] | None = None) -> None:
        try:
            tags = {"dvc.path": weights.as_posix(), "dvc.md5": file_md5(weights)}
            tags["size_bytes"] = str(weights.stat().st_size)
        except OSError as error:
            _warn(f"the model {name} was not recorded: {error}")
            return
        named = {_NAME_CHARACTERS.sub("_", key): float(value) for key, value in (metrics or {}).items()}
        self._say("model", name=name, tags=tags, metrics=named, time_ms=_now_ms())

    def finish(self, status: str) -> None:
        """Wait until all is sent; say so if it could not be."""
        self._say("end", status=status, time_ms=_now_ms())
        self._file.close()
        sent = self._wait(_LAST_SENDING_S, lambda: not self.folder.exists())
        self._lock.close()
        if sent:
            return
        away = self.folder / "away"
        reason = away.read_text() if away.exists() else f"see {self.folder.parent / 'sender.log'}"
        _warn(
            f"MLflow at {_without_password(self._uri)} could not be reached ({reason})."
            f" What this run logged is kept in {self.folder.parent} and sent by the next command"
        )

    def _wait(self, limit_s: float, done: Callable[[], bool]) -> bool:
        """Wait for the sender; give up when it says that MLflow is away."""
        deadline = time.monotonic() + limit_s
        starts = 0
        while not done():
            if (self.folder / "away").exists() or time.monotonic() > deadline:
                return False
            if self._sender.poll() is not None and not _is_served(self.folder.parent, self._uri):
                starts += 1  # the sender of an earlier stage ended just when ours began, or it was killed
                if starts > 3:
                    return False
                self._sender = _start_sender(self.folder.parent, self._uri)
            time.sleep(_POLL_S)
        return True

    def _say(self, operation: str, **values: object) -> None:
        try:
            self._file.write(json.dumps({"operation": operation, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            _warn(f"{operation} was not recorded: {error}")


@contextmanager
def _run(settings: TrackingParams, start: Mapping[str, object], paths: Paths) -> Iterator[Run]:
    if settings.uri == NO_TRACKING:
        yield MemoryRun(str(start["ref"]))
        return
    try:
        run = _SpooledRun(paths.tracking, start, settings.uri)
    except OSError as error:
        _warn(f"nothing is recorded: {error}")
        yield MemoryRun(str(start["ref"]))
        return
    try:
        yield run
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
        run.tags({"failure": "stopped" if stopped else f"{type(error).__name__}: {error}"})
        run.finish("KILLED" if stopped else "FAILED")
        raise
    run.finish("FINISHED")


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


def _is_served(folder: Path, uri: str) -> bool:
    with sender_lock(folder, uri).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (TypeError, ValueError):
        return str(value)


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//", uri)


def _warn(message: str) -> None:
    print(f"tracking: {message}.", file=sys.stderr, flush=True)
