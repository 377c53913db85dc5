"""A checkout that is moved: its runs' files are found beside the database."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.tracking.mlflow_store import Store
from components.core.tracking.moved import follow_move

NewStore = Callable[[Path], str]


def log(uri: str, experiment: str, place: str | None) -> str:
    import mlflow

    client = mlflow.MlflowClient(uri)
    run_id = client.create_run(client.create_experiment(experiment, artifact_location=place)).info.run_id
    client.log_text(run_id, "kept", "folder/text.txt")
    return str(run_id)


def test_files_beside_a_moved_database_are_found_and_it_is_said_once(
    new_store: NewStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after, elsewhere = tmp_path / "be fore", tmp_path / "after", tmp_path / "elsewhere" / "mlruns"
    before.mkdir()
    uri = new_store(before)
    runs = [
        log(uri, "as an address", (before / "mlruns/avis").as_uri()),
        log(uri, "as a path", f"{before}/mlruns/1"),
    ]
    apart = log(uri, "apart", str(elsewhere))
    before.rename(after)

    store = Store(f"sqlite:///{after}/mlflow.db", tmp_path)
    said = capsys.readouterr().err
    assert said.count("was moved: ") == 2 and f"now to {after}/mlruns" in said
    for run_id in runs:
        assert [file.path for file in store.client.list_artifacts(run_id, "folder")] == ["folder/text.txt"]
        uri = store.client.get_run(run_id).info.artifact_uri
        assert uri.removeprefix("file://").startswith(f"{after}/mlruns/")
    assert store.client.get_run(apart).info.artifact_uri.startswith(str(elsewhere))  # not ours to move
    follow_move(f"sqlite:///{after}/mlflow.db")
    assert capsys.readouterr().err == ""


def test_what_is_no_database_of_mlflow_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    for uri in ("http://127.0.0.1:5000", f"sqlite:///{tmp_path}/none.db", "sqlite:///:memory:"):
        follow_move(uri)
    assert list(tmp_path.iterdir()) == [tmp_path / "mlruns"]
    (tmp_path / "text.db").write_text("no database, but long enough to be looked into\n" * 20)
    follow_move(f"sqlite:///{tmp_path}/text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE runs (artifact_uri TEXT)")
    follow_move(f"sqlite:///{tmp_path}/other.db")
