"""A real Prefect server and a real worker: schedules, cancelled and killed runs, and one GPU for two runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.prefect_server import Server, started, wait_until
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[3]
GRAPH = f"""
stages:
  first:
    cmd: exec {REAL_PYTHON} slow.py
    deps: [slow.py]
    outs: [first.txt]
  last:
    cmd: cat first.txt > last.txt
    deps: [first.txt]
    outs: [last.txt]
"""
SLOW = """
import os, subprocess, sys, time
from components.core.run.process import run_stage
def work():
    child = subprocess.Popen(["sleep", "300"]) if os.path.exists("with-child") else None
    with open("pids.new", "w") as file:
        print(os.getpid(), *([child.pid] if child else []), file=file)
    os.rename("pids.new", "pids")
    while not os.path.exists("go"):
        time.sleep(0.05)
    open("first.txt", "w").write("made\\n")
run_stage("first", work)
"""


def make_project(root: Path, graph: str) -> Path:
    root.mkdir()
    (root / "dvc.yaml").write_text(graph)
    (root / "slow.py").write_text(SLOW)
    shutil.copy(ROOT / "prefect.yaml", root)
    (root / "pipelines").symlink_to(ROOT / "pipelines")
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)
    return root


def avis(server: Server, root: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=root, env=server.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Deployed:
    """The deployment rebuild/cpu of a project, and the worker that runs it."""

    def __init__(self, server: Server, root: Path) -> None:
        self.server = server
        self.root = root
        self.deployment = server.request("GET", "/deployments/name/rebuild/cpu")

    def worker(self) -> Any:
        command = [REAL_PYTHON, "-m", "prefect", "worker", "start", "--pool", "cpu", "--name", "only"]
        return started(command, self.server, self.root, "worker.log")

    def run(self) -> str:
        path = f"/deployments/{self.deployment['id']}/create_flow_run"
        return str(self.server.request("POST", path, state={"type": "SCHEDULED"})["id"])

    def state(self, run_id: str) -> str:
        return str(self.server.request("GET", f"/flow_runs/{run_id}")["state"]["name"])

    def wait_for(self, run_id: str, state: str) -> None:
        log = self.root / "worker.log"
        wait_until(lambda: self.state(run_id) == state, 300, f"no {state}: {log.read_text()[-3000:]}")

    def stage_pids(self) -> list[int]:
        path = self.root / "pids"
        log = self.root / "worker.log"
        wait_until(path.exists, 300, f"the stage does not start: {log.read_text()[-3000:]}")
        pids = [int(pid) for pid in path.read_text().split()]
        path.unlink()
        return pids


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_scheduled_run_is_killed_its_worker_is_killed_a_run_is_cancelled(
    prefect: Server, tmp_path: Path
) -> None:
    server, root = prefect, make_project(tmp_path / "project", GRAPH)
    table = avis(server, root, "deploy", "--pool", "cpu").splitlines()
    [starts_by_itself] = [row.split()[0] for row in table if "avis.data.changed" in row]
    assert starts_by_itself == "retrain/cpu"  # in both pools it would train twice
    here = Deployed(server, root)
    soon = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    with ExitStack() as first, ExitStack() as second:
        worker = first.enter_context(here.worker())
        [schedule] = here.deployment["schedules"]
        server.request(
            "PATCH",
            f"/deployments/{here.deployment['id']}/schedules/{schedule['id']}",
            active=True,
            parameters={"revision": None},  # in this folder, not in a clone
            schedule={"interval": 86400, "anchor_date": soon},
        )
        [stage] = here.stage_pids()  # the schedule has fired
        engine = psutil.Process(stage).parent().parent()  # type: ignore[union-attr]
        assert engine.parent().pid == worker.pid  # type: ignore[union-attr]
        engine.kill()
        wait_until(lambda: not alive(stage), 300, "the stage goes on after its run was killed")
        own = {"id": {"any_": [here.deployment["id"]]}}
        runs = server.request("POST", "/flow_runs/filter", sort="EXPECTED_START_TIME_ASC", deployments=own)
        here.wait_for(runs[0]["id"], "Crashed")

        again = here.run()
        [stage] = here.stage_pids()
        worker.kill()  # alone: what it started goes on
        (root / "go").touch()
        here.wait_for(again, "Completed")

        twin = make_project(tmp_path / "twin", GRAPH)
        (twin / "go").touch()
        subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=twin, check=True)
        for name in ("dvc.lock", "last.txt"):
            assert (root / name).read_bytes() == (twin / name).read_bytes()

        (root / "go").unlink()
        (root / "with-child").touch()
        (root / "slow.py").write_text(SLOW + "# changed\n")
        second.enter_context(here.worker())
        cancelled = here.run()
        stage, child = here.stage_pids()
        dvc = psutil.Process(stage).ppid()
        server.request("POST", f"/flow_runs/{cancelled}/set_state", state={"type": "CANCELLING"})
        here.wait_for(cancelled, "Cancelled")
        wait_until(lambda: not any(map(alive, (stage, child, dvc))), 300, "a process outlives its run")
        told = server.request("POST", "/logs/filter", logs={"flow_run_id": {"any_": [cancelled]}})
        assert not [line for line in told if "Retry" in line["message"]], "a cancelled stage is tried again"


TRAINS = """
stages:
  train:
    cmd: date +%s%N > began && sleep 1 && date +%s%N > ended && touch trained
    outs: [trained]
"""
ON_GPU = """
import sys
from pathlib import Path
import pipelines.flows.gpu, pipelines.flows.rebuild
pipelines.flows.rebuild.count_gpus = lambda: 1
pipelines.flows.gpu.ASK_EVERY_S = 1
state = pipelines.flows.rebuild.rebuild(root=Path.cwd(), return_state=True)
sys.exit(not state.is_completed())
"""
HOLDS = """
import time
from pipelines.flows.gpu import gpu_slot, make_limit
make_limit()
with gpu_slot(stopped=lambda: False, say=print):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_runs_on_one_gpu_train_one_after_the_other_also_after_a_holder_was_killed(
    prefect: Server, tmp_path: Path
) -> None:
    server, environment = prefect, prefect.environment
    with subprocess.Popen(
        [REAL_PYTHON, "-c", HOLDS], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    with ExitStack() as stack:
        roots = [make_project(tmp_path / name, TRAINS) for name in ("one", "two")]
        runs = [
            stack.enter_context(started([sys.executable, "-c", ON_GPU], server, root, "log"))
            for root in roots
        ]
        wait_until(
            lambda: all("Waits for the GPU" in (root / "log").read_text() for root in roots),
            300,
            "a run trains although the slot is taken",
        )
        assert not any((root / "began").exists() for root in roots)
        pass_time(server)
        assert [run.wait(300) for run in runs] == [0, 0], [(root / "log").read_text() for root in roots]
    times = sorted((int((root / "began").read_text()), int((root / "ended").read_text())) for root in roots)
    assert times[0][1] < times[1][0], "both trained at the same time"


def pass_time(server: Server) -> None:
    """Let the leases of today be those of an hour ago."""
    folder = server.home / "concurrency_leases"
    before = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    index = json.loads((folder / "expirations.json").read_text())
    assert len(index) == 1
    for lease in index:
        path = folder / f"{lease}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "expiration": before}))
        index[lease] = before
    (folder / "expirations.json").write_text(json.dumps(index))
    os.sync()
