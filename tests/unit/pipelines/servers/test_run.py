"""Servers that do not come up, their logs, their page; real ones: tests/integration/test_servers.py."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from components.core.run.errors import AvisError
from pipelines.cli import app as avis
from pipelines.servers import health, page, postgres, run
from pipelines.servers.health import Disk, Queue, Seen
from pipelines.servers.services import Service, services
from pipelines.servers.setup import FOLDER, LOGS, new_setup, write_setup
from pipelines.servers.supervision import start_supervisor, stop_supervisor, supervisor


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("alembic: Can't locate revision identified by 'f00'\n", "newer version.*make install"),
        ("mlflow: Detected out-of-date database schema (found\n", "older version.*db upgrade"),
        ("[Errno 98] Address already in use\n", "another program took its port.*avis up"),
        ("ImportError: no module\n\n", "Its last words: ImportError: no module"),
        ("", "Its last words: none"),
    ],
)
def test_a_server_that_ends_at_once_is_said_with_its_cause(log: str, said: str, tmp_path: Path) -> None:
    write_setup(tmp_path, new_setup())
    file = tmp_path / LOGS / "mlflow.log"
    file.write_text(log)
    ended = {"name": "mlflow", "statename": "STOPPED"}

    class Calls:
        def startProcess(self, name: str, wait: bool) -> None:
            assert not wait
            ended["statename"] = "BACKOFF"

        def stopProcess(self, name: str) -> None:
            ended["statename"] = "STOPPED"

        def getProcessInfo(self, name: str) -> dict[str, Any]:
            return ended

        def getAllProcessInfo(self) -> list[dict[str, Any]]:
            return [dict(ended)]

    with pytest.raises(AvisError, match=f"mlflow .*{said}"):
        run._start([Service("mlflow", ["no"])], tmp_path, Calls())
    assert ended["statename"] == "STOPPED"  # it is not tried for ever


def test_what_runs_follows_the_setup_and_no_password_stands_in_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = new_setup()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")  # of a shell that uses the servers
    mlflow = next(one for one in services(tmp_path, setup) if one.name == "mlflow")
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/mlflow.db"
    assert [one.name for one in services(tmp_path, setup)] == ["prefect", "mlflow", "worker-cpu", "page"]
    setup = setup.model_copy(update={"s3": True, "pools": ("cpu", "gpu")})
    found = {one.name: one for one in services(tmp_path, setup)}
    assert list(found) == ["s3", "prefect", "mlflow", "worker-cpu", "worker-gpu", "page"]
    words = [word for one in found.values() for word in one.command]
    assert not any(secret in word for word in words for secret in (setup.password, setup.s3_secret))
    (tmp_path / "params.yaml").write_text("tracking: {uri: 'http://mlflow.example:5000'}\n")
    assert "mlflow" not in {one.name for one in services(tmp_path, setup)}
    assert "MLFLOW_TRACKING_URI" not in found["prefect"].environment


def test_postgresql_of_another_version_or_for_root_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "postgres"
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18 (Debian)'\n")
    program.chmod(0o755)
    monkeypatch.setattr(postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(postgres.os, "geteuid", lambda: 0)
    with pytest.raises(AvisError, match=r"does not run as root.*--no-postgres"):
        postgres.make_databases(tmp_path, new_setup())
    folder = tmp_path / FOLDER / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("13\n")
    with pytest.raises(
        AvisError, match=r"files are of PostgreSQL 13, and 15\.18 is installed.*postgresql-13"
    ):
        postgres.make_databases(tmp_path, new_setup())
    (folder / "PG_VERSION").write_text("15\n")
    postgres.make_databases(tmp_path, new_setup())


def test_the_page_shows_links_health_disk_and_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_setup(tmp_path, new_setup())
    monkeypatch.chdir(tmp_path)
    seen = [
        Seen("mlflow", "ready", 7, None, "http://127.0.0.1:5000"),
        Seen("<b>worker", "silent", None, None, None),
    ]
    monkeypatch.setattr(page, "examine", lambda root, setup: seen)
    monkeypatch.setattr(page, "queue", lambda prefect: Queue(running=1, late=23))
    monkeypatch.setattr(page, "disk", lambda root: Disk(12.34, 100.0))
    client = TestClient(page.app, base_url="http://127.0.0.1")
    shown = client.get("/").text
    assert '<a href="http://127.0.0.1:5000">' in shown and "&lt;b&gt;worker" in shown and "silent" in shown
    assert "1 at work, 23 waiting" in shown and "12.3 of 100.0 GB free" in shown
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    monkeypatch.setattr(page, "queue", lambda prefect: None)
    assert "Prefect does not answer" in client.get("/").text


def test_a_supervisor_starts_reports_and_ends(tmp_path: Path) -> None:
    """In a folder whose name means something in its own configuration."""
    root = tmp_path / "50 % ;off"
    root.mkdir()
    setup = run.with_free_ports(new_setup())
    write_setup(root, setup)
    start_supervisor(root, setup, [Service("mlflow", ["no"])])
    calls = supervisor(setup)
    try:
        assert health.look_at(Service("mlflow", ["no"]), calls.getProcessInfo("mlflow")).state == "down"
        assert supervisor(new_setup().model_copy(update={"ports": setup.ports})) is None  # another password
    finally:
        stop_supervisor(root, calls)
    assert supervisor(setup) is None


def test_logs_shows_the_ends_and_names_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".dvc").mkdir()
    write_setup(tmp_path, new_setup())
    monkeypatch.chdir(tmp_path)
    (tmp_path / LOGS / "mlflow.log").write_text("first\nsecond\n\x1b[31mlast\n")
    (tmp_path / LOGS / "prefect.log").write_text("other\n")
    shown = CliRunner().invoke(avis, ["logs", "mlflow", "-n", "2"]).output
    assert shown.splitlines()[0] == "second" and "first" not in shown and "other" not in shown
    assert "other" in CliRunner().invoke(avis, ["logs"]).output
    error = CliRunner().invoke(avis, ["logs", "mflow"]).exception
    assert isinstance(error, AvisError) and "There are: mlflow, prefect" in str(error)


def test_an_up_that_ends_beside_another_says_so(tmp_path: Path) -> None:
    with run._alone(tmp_path), pytest.raises(AvisError, match="another run of avis up"):
        run.up(tmp_path, {})
    assert run.down(tmp_path) is False
