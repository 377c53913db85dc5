"""Versions and aliases on a real sqlite registry."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    COMMIT,
    DECISION,
    PREVIOUS,
    REPLACED,
    TRAINING,
    WEIGHTS_MD5,
    Registry,
    RegistryAway,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def registry(tmp_path: Path, new_store: Callable[[Path], str]) -> Iterator[Registry]:
    yield Registry(new_store(tmp_path), tmp_path / "t", model="avis", experiment="runs")


def new_run(registry: Registry) -> str:
    client = registry._store.client
    return client.create_run(client.get_experiment_by_name("runs").experiment_id).info.run_id


def made_of(number: int) -> dict[str, str]:
    return {COMMIT: f"commit{number}", WEIGHTS_MD5: f"md5{number}"}


def test_opening_one_leaves_the_environment_as_it_was(registry: Registry) -> None:
    """MLflow writes its address there, and what comes next in this process would send to it."""
    assert registry.versions() == []
    assert os.environ["MLFLOW_TRACKING_URI"] == "none"


def test_promotion_keeps_the_former_champion_and_rollback_brings_it_back(
    registry: Registry, tmp_path: Path
) -> None:
    assert registry.versions() == [] and registry.with_alias(CHAMPION) is None
    first = registry.register(new_run(registry), tags=made_of(1))
    assert first.aliases == [CHALLENGER] and first.commit == "commit1"
    assert registry.promote(first, "the first") is None
    second = registry.register(new_run(registry), tags=made_of(2))
    assert registry.promote(second, "better").number == 1

    def aliases() -> dict[int, list[str]]:
        return {version.number: version.aliases for version in registry.versions()}

    assert aliases() == {2: [CHAMPION], 1: [PREVIOUS]}
    assert registry.version(2).tags[REPLACED] == "1"
    registry.promote(registry.with_alias(PREVIOUS), "worse in use", decision="rollback")
    assert aliases() == {2: [PREVIOUS], 1: [CHAMPION]}
    assert registry.version(1).tags[DECISION] == "rollback"

    third = registry.register(new_run(registry), tags=made_of(3))
    registry.refuse(third, "noise")
    again = registry.register(new_run(registry), tags=made_of(3))  # a run that was cut off, repeated
    assert again.number == third.number and again.tags[DECISION] == "refused"
    assert aliases() == {3: [CHALLENGER], 2: [PREVIOUS], 1: [CHAMPION]}
    with pytest.raises(AvisError, match=r"no version 9.*There are: 3, 2, 1"):
        registry.version(9)

    # Cut off between the aliases and the tags: the next run ends it, and makes no further version.
    registry._store.client.set_registered_model_alias("avis", CHAMPION, "3")
    registry._store.client.delete_model_version_tag("avis", "3", DECISION)
    again = registry.register(new_run(registry), tags=made_of(3) | {COMMIT: "another", TRAINING: "t"})
    assert again.number == 4  # not known to be the same training
    registry.promote(registry.version(3), "it is the champion")
    assert registry.version(3).tags[DECISION] == "promoted" and registry.version(3).aliases == [CHAMPION]
    same = registry.register(new_run(registry), tags=made_of(3) | {COMMIT: "new", TRAINING: "t"})
    assert same.number == 4  # registered, not decided

    file = tmp_path / "report.html"
    file.write_text("page")
    registry.note_run(
        third, tags={"avis.version": "avis 3"}, metrics={"gain": 1.5}, files={file: "promotion"}
    )
    found = registry.artifact(third, "promotion/report.html", tmp_path / "down")
    assert found is not None and found.read_text() == "page"
    assert registry.artifact(third, "promotion/none.html", tmp_path / "down") is None
    assert registry.run_params(third) == {}
    # beside the database, wherever the process happens to run
    assert (tmp_path / "mlruns" / "runs" / third.run_id / "artifacts/promotion/report.html").is_file()


def test_run_logged_model_and_version_name_each_other(registry: Registry) -> None:
    import mlflow
    from mlflow.entities import LoggedModelOutput

    run = new_run(registry)
    client = registry._store.client
    experiment = client.get_experiment_by_name("runs").experiment_id
    model = mlflow.create_external_model("avism", source_run_id=run, experiment_id=experiment)
    client.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])  # as StoredRun does
    version = registry.register(run, tags=made_of(1))
    known = client.get_model_version("avis", str(version.number))
    assert (known.source, known.run_id) == (f"models:/{model.model_id}", run)
    tag = client.get_logged_model(model.model_id).tags["mlflow.modelVersions"]
    assert json.loads(tag) == [{"name": "avis", "version": version.number}]


def test_a_run_that_nobody_knows_and_a_server_that_is_away(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(AvisError, match="does not know the run"):
        registry.register("pending-0123", tags=made_of(1))
    with pytest.raises(RegistryAway, match="cannot be reached"):
        Registry("http://127.0.0.1:9", tmp_path / "u", model="avis", experiment="runs")
    with pytest.raises(AvisError, match="nothing is tracked"):
        Registry("none", tmp_path / "u", model="avis", experiment="runs")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "disk image is malformed.*Put a copy of it back"),
        (lambda whole: b"something else" * 500, "is not a database.*Put a copy of it back"),
        (lambda whole: bytes([whole[0] ^ 1]) + whole[1:], "is not a database.*Put a copy of it back"),
        (None, "out-of-date database schema.*mlflow db upgrade"),
    ],
)
def test_a_database_that_cannot_be_used_is_not_waited_for(
    tmp_path: Path,
    new_store: Callable[[Path], str],
    content: Callable[[bytes], bytes] | None,
    message: str,
) -> None:
    uri, file = new_store(tmp_path), tmp_path / "mlflow.db"
    if content is not None:
        file.write_bytes(content(file.read_bytes()))
    else:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("update alembic_version set version_num = '867495a8f9d4'")
    with pytest.raises(AvisError, match=f"cannot be used.*{message}") as refused:
        Registry(uri, tmp_path / "t", model="avis", experiment="runs")
    assert not isinstance(refused.value, RegistryAway)
