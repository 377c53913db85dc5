"""`avis up` with all it can start: each server is killed, then the supervisor, as when the machine ends."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from components.core.run.errors import AvisError
from pipelines.servers.health import Seen, examine
from pipelines.servers.postgres import programs
from pipelines.servers.services import shared_environment
from pipelines.servers.setup import FOLDER, setup_of
from tests.support.prefect_server import wait_until

pytestmark = pytest.mark.timeout(1200)
ROOT = Path(__file__).parents[2]
# PostgreSQL does not run as root: in this name space we are somebody else.
SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []


def avis(root: Path, *arguments: str, code: int = 0) -> str:
    command = [*SOMEBODY, sys.executable, "-m", "pipelines.cli", *arguments]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW"))
    }
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    try:
        programs()
    except AvisError:
        pytest.skip("PostgreSQL is not installed")
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(ROOT / "prefect.yaml", root)
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    yield root
    if supervisor := _supervisor(root):
        supervisor.kill()


def _supervisor(root: Path) -> psutil.Process | None:
    try:
        return psutil.Process(int((root / FOLDER / "supervisor.pid").read_text()))
    except (OSError, psutil.NoSuchProcess):
        return None


def test_servers_that_are_killed_come_back_with_what_they_held(project: Path) -> None:
    said = avis(project, "up", "--s3", "--postgres")
    assert "source .avis/environment" in said
    setup = setup_of(project)

    def seen() -> list[Seen]:
        return examine(project, setup)

    names = ["postgres", "s3", "prefect", "mlflow", "worker-cpu", "page"]
    assert [(one.name, one.state) for one in seen()] == [(name, "ready") for name in names]
    addresses = shared_environment(project, setup)
    mlflow, prefect = addresses["MLFLOW_TRACKING_URI"], addresses["PREFECT_API_URL"]
    made = httpx.post(f"{mlflow}/api/2.0/mlflow/experiments/create", json={"name": "kept"}, timeout=60)
    file = f"{mlflow}/api/2.0/mlflow-artifacts/artifacts/folder/kept.txt"
    assert httpx.put(file, content=b"kept", timeout=60).status_code == 200

    processes = [psutil.Process(one.pid) for one in seen()]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=600)
    gone = {process.pid for process in processes}
    wait_until(
        lambda: all(one.state == "ready" and one.pid not in gone for one in seen()),
        900,
        f"not back: {seen()}",
    )
    path = "api/2.0/mlflow/experiments/get-by-name"
    found = httpx.get(f"{mlflow}/{path}", params={"experiment_name": "kept"}, timeout=60).json()
    assert found["experiment"]["experiment_id"] == made.json()["experiment_id"]
    assert httpx.get(file, timeout=60).content == b"kept"
    assert httpx.get(f"{prefect}/deployments/name/rebuild/cpu", timeout=60).status_code == 200
    assert "0 runs at work" in avis(project, "status")

    supervisor = _supervisor(project)
    assert supervisor is not None
    theirs = supervisor.children(recursive=True)
    supervisor.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(theirs, timeout=600)[1] == []  # no port stays taken
    assert "avis up starts them again" in avis(project, "status", code=1)
    assert "No servers run here" in avis(project, "down")
