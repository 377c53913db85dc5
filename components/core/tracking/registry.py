"""MLflow's model registry: which versions of a model there are, and which one is the champion.

A version is a page of the registry that points to the run of its training; its weights stay in DVC. What a
version is made of stands in its tags, so that it can be traced and made again: the commit (`avis.commit`),
the hash of all that decides its training (`avis.training`), the weights' MD5 (`avis.weights.md5`).
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.files import hold
from components.core.text.redaction import redact, redact_all
from components.core.tracking.address import NO_TRACKING, server_of
from components.core.tracking.mlflow_store import Away, Store, pages
from components.core.tracking.turns import turn

_VERSIONS_OF_MODEL = "mlflow.modelVersions"  # tag of a logged model by which its page names its versions
_REASON_CHARACTERS = 150  # the libraries below tell their whole story in one line
CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
COMMIT, TRAINING, WEIGHTS_MD5 = "avis.commit", "avis.training", "avis.weights.md5"
DECISION, REASON, DECIDED, REPLACED = "avis.decision", "avis.reason", "avis.decided", "avis.replaced"
WAITING = "waiting"  # for a person
_BEGUN = "promotion begun"  # what follows the champion's alias is not done yet


@dataclass(frozen=True)
class Version:
    """One version of the registered model: its number, the run of its training, its tags and aliases."""

    number: int
    run_id: str
    created_s: float
    tags: dict[str, str]
    aliases: list[str]

    @property
    def commit(self) -> str:
        """The commit that has its data, code and parameters; empty if it was registered by other means."""
        return self.tags.get(COMMIT, "")

    @property
    def decision(self) -> str:
        """What was decided about it, WAITING, or empty: nothing yet, or a promotion was cut off."""
        found = self.tags.get(DECISION, "")
        return "" if found == _BEGUN or (found == WAITING and CHAMPION in self.aliases) else found


class RegistryAway(AvisError):  # noqa: N818
    """MLflow cannot be reached now; a second try may."""


class Registry:
    """The versions of one registered model."""

    def __init__(self, uri: str, folder: Path, *, model: str, experiment: str) -> None:
        """Connect.

        Args:
            uri: of MLflow.
            folder: for what is to be sent (`Paths.tracking`).
            model: the registered name; made with the first version.
            experiment: where the runs of trainings are.

        Raises:
            RegistryAway: MLflow cannot be reached.
            AvisError: nothing is tracked here.
        """
        if uri == NO_TRACKING:
            raise AvisError(
                "models are kept in MLflow's registry, and nothing is tracked here",
                where="tracking.uri in params.yaml, or MLFLOW_TRACKING_URI",
                fix="Name a database or a server there.",
            )
        self.model = model
        self._experiment = experiment
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with _errors():
            self._store = Store(uri, folder)
            self._store.experiment(experiment)  # made here, so that its files are kept beside the database

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other decision, from whatever checkout, come between what is read and what is written."""
        with hold(self._folder, wait=True), ExitStack() as stack:
            with _errors(), self._store.errors():
                stack.enter_context(turn(self._store.client, self.model))
            yield

    def versions(self) -> list[Version]:
        """Return all versions, the newest first."""
        from mlflow.exceptions import MlflowException

        with _errors(), self._store.errors():
            client = self._store.client
            try:
                aliases = client.get_registered_model(self.model).aliases
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return []
                raise
            found = list(pages(client.search_model_versions, filter_string=f"name = '{self.model}'"))
            names: dict[int, list[str]] = {}
            for alias, number in aliases.items():
                names.setdefault(int(number), []).append(alias)
        versions = [
            Version(
                int(entry.version),
                str(entry.run_id or ""),
                entry.creation_timestamp / 1000,
                dict(entry.tags),
                sorted(names.get(int(entry.version), [])),
            )
            for entry in found
        ]
        return sorted(versions, key=lambda version: -version.number)

    def with_alias(self, alias: str) -> Version | None:
        """Return the version with an alias, None if none has it."""
        return next((version for version in self.versions() if alias in version.aliases), None)

    def version(self, number: int) -> Version:
        """Return one version.

        Raises:
            AvisError: there is none with this number; it lists those there are.
        """
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(str(version.number) for version in versions) or "none"
        raise AvisError(f"{self.model} has no version {number}", fix=f"There are: {known}.")

    def register(self, reference: str, *, tags: Mapping[str, str], description: str = "") -> Version:
        """Add a trained model as the newest version, and as the challenger.

        A model that was registered before, with the same weights from the same commit, or of the same
        training and not decided on, is not registered again: so a run that was cut off can be repeated.

        Args:
            reference: the run id of run.json, a stand-in too.
            tags: what it is made of, COMMIT and WEIGHTS_MD5 among them.
            description: for the registry's page.

        Raises:
            AvisError: MLflow does not know the run.
        """

        def is_same(version: Version) -> bool:
            same = [name for name in (COMMIT, TRAINING) if version.tags.get(name) == tags.get(name)]
            return version.tags.get(WEIGHTS_MD5) == tags.get(WEIGHTS_MD5) and (
                COMMIT in same or (TRAINING in same and not version.decision)
            )

        known = next(filter(is_same, self.versions()), None)
        number = known.number if known else self._add(reference, tags, description)
        if known is None or not (known.decision or CHAMPION in known.aliases):
            with _errors(), self._store.errors():
                self._store.client.set_registered_model_alias(self.model, CHALLENGER, str(number))
        return self.version(number)

    def _add(self, reference: str, tags: Mapping[str, str], description: str) -> int:
        from mlflow.exceptions import MlflowException

        with _errors(), self._store.errors():
            client = self._store.client
            run = self._store.known_run(reference, self._store.experiment(self._experiment))
        if run is None:
            raise AvisError(
                "MLflow does not know the run of this training",
                where=reference,
                fix="Was it deleted there, or is this another MLflow? `dvc repro --force` trains anew.",
            )
        model = self._logged_model(run)
        with _errors(), self._store.errors():
            try:
                client.create_registered_model(self.model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            added = client.create_model_version(
                self.model,
                source=f"models:/{model}" if model is not None else f"runs:/{run.info.run_id}",
                run_id=run.info.run_id,
                tags=redact_all(dict(tags)),
                description=redact(description),
            )
            if model is not None:  # MLflow's own `register_model` does this, the client's call does not
                known = client.get_logged_model(model).tags.get(_VERSIONS_OF_MODEL, "[]")
                versions = [*json.loads(known), {"name": self.model, "version": int(added.version)}]
                client.set_logged_model_tags(model, {_VERSIONS_OF_MODEL: json.dumps(versions)})
        return int(added.version)

    def _logged_model(self, run: Any) -> str | None:
        """The id of the model that the training logged, whose page points to the weights."""
        outputs = getattr(run.outputs, "model_outputs", None) or []
        return str(outputs[-1].model_id) if outputs else None

    def tag(self, version: Version, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with _errors(), self._store.errors():
            for name, value in tags.items():
                self._store.client.set_model_version_tag(
                    self.model, str(version.number), name, redact(value)[:5000]
                )

    def refuse(self, version: Version, reason: str) -> None:
        """Note why a challenger does not become the champion; it stays the challenger until the next one."""
        self.tag(version, {REASON: reason, DECIDED: _now(), DECISION: "refused"})

    def promote(self, version: Version, reason: str, *, decision: str = "promoted") -> Version | None:
        """Make a version the champion; the former one is kept as PREVIOUS.

        What is meant stands in the version's tags before its alias is set, and there is a champion at every
        moment: after a kill, `promote` or `finish` does what is left.

        Returns:
            the former champion, None if there was none.
        """
        former = self.with_alias(CHAMPION)
        if former is None or former.number != version.number:
            replaced = {REPLACED: str(former.number)} if former is not None else {}
            self.tag(version, {REASON: reason, **replaced, DECISION: _BEGUN})
            with _errors(), self._store.errors():
                self._store.client.set_registered_model_alias(self.model, CHAMPION, str(version.number))
        self.finish(decision)
        return former

    def finish(self, decision: str = "promoted") -> None:
        """Do what a promotion left undone that was cut off after it had set the champion's alias."""
        champion = self.with_alias(CHAMPION)
        if champion is None or champion.decision:
            return
        with _errors(), self._store.errors():
            client = self._store.client
            if REPLACED in champion.tags:
                client.set_registered_model_alias(self.model, PREVIOUS, champion.tags[REPLACED])
            if CHALLENGER in champion.aliases:
                client.delete_registered_model_alias(self.model, CHALLENGER)
        self.tag(champion, {DECIDED: _now(), DECISION: decision})

    def note_run(
        self,
        version: Version,
        *,
        tags: Mapping[str, str],
        metrics: Mapping[str, float] | None = None,
        files: Mapping[Path, str] | None = None,
    ) -> None:
        """Add to the run of a version's training.

        Args:
            version: whose run.
            tags, metrics: to set.
            files: a file and the artifact folder it goes to.
        """
        with _errors(), self._store.errors():
            client = self._store.client
            for name, value in tags.items():
                client.set_tag(version.run_id, name, redact(value))
            for name, number in (metrics or {}).items():
                client.log_metric(version.run_id, name, number)
            for file, place in (files or {}).items():
                client.log_artifact(version.run_id, str(file), place)

    def artifact(self, version: Version, name: str, folder: Path) -> Path | None:
        """Download a file of a version's run; None if it has none of this name."""
        with _errors(), self._store.errors():
            try:
                return Path(self._store.client.download_artifacts(version.run_id, name, str(folder)))
            except Exception as error:
                if not _says_missing(error):
                    raise
                return None

    def run_params(self, version: Version) -> dict[str, str]:
        """Return the parameters of a version's training; nothing if its run is gone."""
        with _errors(), self._store.errors():
            try:
                return dict(self._store.client.get_run(version.run_id).data.params)
            except Exception as error:
                if not _says_missing(error):
                    raise
                return {}

    def run_address(self, version: Version) -> str | None:
        """The page of a version's run, where MLflow is a server."""
        server = server_of(self._store.uri)
        if server is None:
            return None
        with _errors(), self._store.errors():
            experiment = self._store.client.get_run(version.run_id).info.experiment_id
        return f"{server}/#/experiments/{experiment}/runs/{version.run_id}"


def _says_missing(error: Exception) -> bool:
    """Whether MLflow answered that there is no such thing, and did not fail to answer."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
    response = getattr(error, "response", None)  # of requests
    return type(error) in (OSError, FileNotFoundError) or getattr(response, "status_code", None) == 404


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except Away as error:
        if error.fix:
            raise AvisError(f"MLflow's database cannot be used: {error}", fix=error.fix) from error
        raise RegistryAway(
            f"MLflow cannot be reached: {str(error)[:_REASON_CHARACTERS]}",
            fix="Start it, then run this again: nothing is lost.",
        ) from error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
