"""Reads tracked runs back from MLflow, for tables and comparisons. Importing MLflow takes seconds."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.text.redaction import redact
from components.core.tracking.address import NO_TRACKING, tracking_params
from components.core.tracking.mlflow_store import Away, Store, pages
from components.core.tracking.run import read_run_id
from components.core.tracking.spool import warn

_PAGE = 1000  # runs that MLflow hands out at a time


@dataclass(frozen=True)
class RunRecord:
    """What MLflow knows of a run.

    start_s, end_s: seconds since 1970, None while it is not so. datasets: digests by name; a run that was
    evaluated again on other data has several. models: "name@alias" or "name version 3" of what is registered.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    start_s: float | None
    end_s: float | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    datasets: Mapping[str, Sequence[str]]
    models: Sequence[str]


class TrackedRuns:
    """The runs of an MLflow server or database."""

    def __init__(self, uri: str, folder: Path) -> None:
        """Connect.

        Args:
            uri: of MLflow.
            folder: for what is to be sent (`Paths.tracking`).

        Raises:
            AvisError: MLflow cannot be reached, or nothing is tracked here.
        """
        if uri == NO_TRACKING:
            raise AvisError(
                "nothing is tracked here",
                where="tracking.uri in params.yaml, or MLFLOW_TRACKING_URI",
                fix="Name a database or a server there.",
            )
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self._shown = redact(uri)
        self._store: Store | None = None
        if not _is_missing(uri):  # reading must not make a database
            with self._errors():
                self._store = Store(uri, folder)

    def search(
        self,
        experiments: Sequence[str],
        *,
        where: str = "",
        order: Sequence[str] = ("attributes.start_time DESC",),
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Return runs, the newest first unless `order` says otherwise.

        Args:
            experiments: names; of one that is not there no run is found.
            where: in MLflow's search language; empty for all.
            order: what MLflow calls order_by.
            limit: at most so many.

        Raises:
            AvisError: MLflow cannot be reached, or does not understand the search.
        """
        if self._store is None:
            return []
        with self._asking() as client:
            known = {name: client.get_experiment_by_name(name) for name in experiments}
            names = {found.experiment_id: name for name, found in known.items() if found is not None}
            found = pages(
                client.search_runs,
                experiment_ids=list(names),
                filter_string=where,
                max_results=min(_PAGE, limit or _PAGE),
                order_by=list(order),
            )
            runs: list[Any] = list(islice(found, limit)) if names else []
            models = self._models() if runs else {}
        return [_record(run, names[run.info.experiment_id], models) for run in runs]

    def of_id(self, run_id: str) -> RunRecord | None:
        """Return the run with this id, None if there is none.

        Raises:
            AvisError: MLflow cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        if self._store is None:
            return None
        with self._asking() as client:
            try:
                run = client.get_run(run_id)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            experiment = client.get_experiment(run.info.experiment_id).name
            return _record(run, experiment, self._models())

    def model(self, name: str, alias_or_version: str) -> str:
        """Return the id of the run that a registered model comes from.

        Raises:
            AvisError: there is no such model, alias or version, or MLflow cannot be reached.
        """
        known: list[str] = []
        if self._store is not None:
            with self._asking():
                for run_id, labels in self._models().items():
                    known += labels
                    if {f"{name}@{alias_or_version}", f"{name} version {alias_or_version}"} & set(labels):
                        return run_id
        raise AvisError(
            f"no model {name}@{alias_or_version} is registered",
            fix=f"There are: {', '.join(sorted(known)) or 'none'}.",
        )

    def file(self, run_id: str, artifact: str) -> bytes | None:
        """Return a small file that is kept with a run, None if there is none.

        Raises:
            AvisError: MLflow cannot be reached.
        """
        from mlflow.exceptions import MlflowException

        if self._store is None:
            return None
        folder = artifact.rpartition("/")[0]
        with self._asking() as client, TemporaryDirectory() as temporary:
            try:
                files = client.list_artifacts(run_id, folder or None)
                if artifact not in {entry.path for entry in files}:
                    return None
                return Path(client.download_artifacts(run_id, artifact, temporary)).read_bytes()
            except (MlflowException, OSError) as error:
                raise Away(f"{artifact} of run {run_id[:8]}: {error}") from error

    def image_keys(self, run_id: str) -> list[str]:
        """Return the keys of the pictures that a run logged (Run.image).

        Raises:
            AvisError: MLflow cannot be reached.
        """
        if self._store is None:
            return []
        with self._asking() as client:
            files = [Path(entry.path).name for entry in client.list_artifacts(run_id, "images")]
        keys = {name.partition("+step+")[0].replace("~", "/") for name in files if "+step+" in name}
        return sorted(keys)

    def tag_experiment(self, name: str, key: str, value: str) -> str | None:
        """Set a tag of an experiment; return the experiment's id, None if there is no such experiment.

        Raises:
            AvisError: MLflow cannot be reached.
        """
        if self._store is None:
            return None
        with self._asking() as client:
            found = client.get_experiment_by_name(name)
            if found is None:
                return None
            client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _models(self) -> dict[str, list[str]]:
        """Registered models by run: "name@alias" where a version has aliases, else "name version 3"."""
        assert self._store is not None  # noqa: S101 (the callers have asked)
        found: dict[str, list[str]] = {}
        client = self._store.client
        for model in pages(client.search_registered_models):
            aliases: dict[str, list[str]] = {}
            for alias, version in dict(model.aliases).items():
                aliases.setdefault(str(version), []).append(alias)
            name = model.name.replace("'", "\\'")
            for version in pages(client.search_model_versions, filter_string=f"name = '{name}'"):
                labels = [f"{model.name}@{alias}" for alias in sorted(aliases.get(str(version.version), []))]
                found.setdefault(str(version.run_id), []).extend(
                    [*labels, f"{model.name} version {version.version}"]
                )
        return found

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """MLflow's client; what it raises becomes one message."""
        assert self._store is not None  # noqa: S101 (the callers have asked)
        with self._errors(), self._store.errors():
            yield self._store.client

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except Away as error:
            raise AvisError(
                f"MLflow cannot be reached: {error}",
                where=self._shown,
                fix=error.fix or "Start it, or name another in MLFLOW_TRACKING_URI.",
            ) from None
        except MlflowException as error:
            raise AvisError(
                f"MLflow refuses: {str(error).splitlines()[0]}",
                where=self._shown,
                fix="Its search language: https://mlflow.org/docs/latest/search-runs",
            ) from None


def _record(run: Any, experiment: str, models: Mapping[str, Sequence[str]]) -> RunRecord:
    datasets: dict[str, list[str]] = {}
    for entry in run.inputs.dataset_inputs if run.inputs else []:
        digests = datasets.setdefault(entry.dataset.name, [])
        if entry.dataset.digest not in digests:
            digests.append(entry.dataset.digest)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment=experiment,
        status=run.info.status,
        start_s=None if run.info.start_time is None else run.info.start_time / 1000,
        end_s=None if not run.info.end_time else run.info.end_time / 1000,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        tags=dict(run.data.tags),
        datasets=datasets,
        models=list(models.get(run.info.run_id, [])),
    )


def _is_missing(uri: str) -> bool:
    """Whether the address is of an sqlite file that is not there."""
    parts = urlsplit(uri)
    return parts.scheme == "sqlite" and bool(parts.path) and not Path(unquote(parts.path)[1:]).exists()


def read_tracked_run(run_file: Path, *, paths: Paths | None = None) -> RunRecord | None:
    """Read back the run of a trained model; of registered models it says nothing.

    Returns:
        None if MLflow does not know the run, is away, or nothing is tracked.

    Raises:
        AvisError: if `run_file` is missing or malformed.
    """
    reference = read_run_id(run_file)
    run: Any = None
    with _models_experiment(paths) as found:
        if found is not None:
            store, experiment = found
            with store.errors():
                run = store.known_run(reference, experiment)
    return None if run is None else _record(run, tracking_params().experiment, {})


def read_run_files(artifact: str, *, paths: Paths | None = None) -> dict[str, str | None]:
    """A small artifact of every run of the experiment of models, None where a run has none.

    Returns:
        Texts by "<run id> (<name of the run>)"; nothing if MLflow is away or nothing is tracked.
    """
    texts: dict[str, str | None] = {}
    with _models_experiment(paths) as found:
        if found is None:
            return {}
        store, experiment = found
        with store.errors():
            runs = store.client.search_runs([experiment], max_results=_PAGE)
        for run in runs:
            texts[f"{run.info.run_id} ({run.info.run_name})"] = _text(store, run.info.run_id, artifact)
    return texts


def _text(store: Store, run_id: str, artifact: str) -> str | None:
    from mlflow.exceptions import MlflowException

    with TemporaryDirectory() as temporary:
        try:
            return Path(store.client.download_artifacts(run_id, artifact, temporary)).read_text()
        except (MlflowException, OSError):
            return None


@contextmanager
def _models_experiment(paths: Paths | None) -> Iterator[tuple[Store, str] | None]:
    """The store and the experiment of models, None if nothing is tracked; a failure is only a warning."""
    settings = tracking_params()
    if settings.uri == NO_TRACKING:
        yield None
        return
    from mlflow.exceptions import MlflowException

    folder = (paths or Paths()).tracking
    folder.mkdir(parents=True, exist_ok=True)
    try:
        store = Store(settings.uri, folder)
        yield store, store.experiment(settings.experiment)
    except (Away, MlflowException) as error:
        warn(str(error))
