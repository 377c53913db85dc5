"""The files of a registered version, out of DVC's cache by the lock of its commit."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from components.core.run.errors import AvisError
from components.core.tracking.registry import COMMIT, WEIGHTS_MD5, Registry, Version
from pipelines.commands.options import model_path
from pipelines.flows.champion_model import FILES, fetch_version


def cached(root: Path, content: str, suffix: str = "") -> str:
    """Put a file into DVC's cache; returns its MD5."""
    md5 = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest() + suffix
    file = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return md5


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def version(tmp_path: Path) -> Version:
    """Registered from a commit whose variant was trained with two seeds."""
    git(tmp_path, "init", "-q")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("")
    place = "data/model/avism"
    first = {name: cached(tmp_path, f"first {name}") for name in FILES}
    second = {f"2/{name}": cached(tmp_path, f"second {name}") for name in (*FILES, "history.csv")}
    listed = [{"md5": md5, "relpath": name} for name, md5 in {**second, "further.json": "0" * 32}.items()]
    outs = [
        *({"path": f"{place}/{name}", "md5": md5} for name, md5 in first.items()),
        {"path": f"{place}/seeds", "md5": cached(tmp_path, json.dumps(listed), ".dir")},
    ]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": {"train@avism": {"outs": outs}}}))
    git(tmp_path, "add", "dvc.lock")
    git(tmp_path, "commit", "-qm", "lock")
    tags = {COMMIT: git(tmp_path, "rev-parse", "HEAD"), "avis.variant": "avism", WEIGHTS_MD5: first[FILES[0]]}
    return Version(3, "run", 0.0, tags, [])


def test_a_version_comes_with_its_seeds_where_they_are_asked_for(tmp_path: Path, version: Version) -> None:
    folder = tmp_path / "fetched"
    fetch_version(tmp_path, version, folder, seeds=True)
    assert (folder / "model.safetensors").read_text() == "first model.safetensors"
    assert sorted(file.name for file in (folder / "seeds").iterdir()) == ["2"]
    assert {file.name: file.read_text() for file in (folder / "seeds" / "2").iterdir()} == {
        name: f"second {name}" for name in FILES
    }
    fetch_version(tmp_path, version, folder)
    assert not (folder / "seeds").exists() and (folder / "run.json").read_text() == "first run.json"


def test_other_weights_than_those_that_were_registered_are_refused(tmp_path: Path, version: Version) -> None:
    version.tags[WEIGHTS_MD5] = "0" * 32
    with pytest.raises(AvisError, match="not those that were registered"):
        fetch_version(tmp_path, version, tmp_path / "fetched")


@pytest.mark.integration
def test_an_address_is_fetched_through_a_server(
    tmp_path: Path, version: Version, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`avis predict --model models:/avis@champion`, with a server of MLflow, a commit and a cache of DVC."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", new_store(tmp_path), "--artifacts-destination", str(tmp_path / "kept")),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(3000):
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port}"
        registry = Registry(address, tmp_path / "t", model="avis", experiment="runs")
        client = registry._store.client
        run = client.create_run(client.get_experiment_by_name("runs").experiment_id).info.run_id
        registry.promote(registry.register(run, tags=version.tags), "the first")
        (tmp_path / "params.yaml").write_text(
            f"tracking:\n  uri: {address}\nvariants:\n  avism:\n    seed: 1\n", encoding="utf-8"
        )
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
        monkeypatch.chdir(tmp_path)
        folder = model_path("models:/avis@champion")
        assert folder.is_relative_to(tmp_path / "own")
        assert {file.name: file.read_text() for file in folder.iterdir()} == {
            name: f"first {name}" for name in FILES
        }
        assert model_path("models:/avis/1") == folder
        with pytest.raises(AvisError, match="avis has no version 'best'"):
            model_path("models:/avis@best")
    finally:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in family:
            process.terminate()
        psutil.wait_procs(family, timeout=600)
        server.wait()
