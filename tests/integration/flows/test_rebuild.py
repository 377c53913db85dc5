"""`avis rebuild` against `dvc repro` on a small project with stages that cost nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from pipelines.dvc.workspace_lock import hold_workspace
from pipelines.flows.rebuild import rebuild
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_api", "quick_python"),
    pytest.mark.timeout(1200),
]

GRAPH = """
stages:
  first:
    cmd: echo made > first.txt && echo first speaks
    deps: [source.txt]
    outs: [first.txt]
  train:
    foreach: ${variants}
    do:
      cmd: sleep 0.2 && cat first.txt > ${key}.txt && echo ${item.seed} >> ${key}.txt
      params:
        - variants.${key}
      deps: [first.txt]
      outs:
        - ${key}.txt
  last:
    cmd: cat a.txt b.txt > last.txt
    deps: [a.txt, b.txt]
    outs: [last.txt]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump({"variants": {k: {"seed": 1} for k in "ba"}}))
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "source.txt").write_text("source\n")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    dvc(root, "init", "-q")
    return root


def dvc(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


def run(root: Path, **options: object) -> tuple[str, dict[str, str]]:
    """Run the flow; return its message and the state of every stage from the table it leaves."""
    state = rebuild(root=root, train_jobs=2, **options, return_state=True)
    return state.message or "", {row["stage"]: row["state"] for row in last_table()}


def last_table() -> list[dict[str, str | float]]:
    table: list[dict[str, str | float]] = yaml.safe_load(artifact("stages"))
    return table


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={}).json()
    return next(str(one["data"]) for one in found if one["key"] == key)


def test_same_lock_as_repro(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(project, twin)
    dvc(twin, "repro")
    report = project / "data" / "qa" / "report.html"
    report.parent.mkdir(parents=True)
    report.touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:5000")
    _, states = run(project)
    assert set(states.values()) == {"Completed"}
    assert float(artifact("progress")) == 100.0
    assert artifact("links").splitlines() == [
        "- [MLflow: the runs](http://127.0.0.1:5000/#/experiments)",
        f"- `{report}`",
    ]
    assert (project / "dvc.lock").read_bytes() == (twin / "dvc.lock").read_bytes()
    assert "up to date" in dvc(project, "repro")

    _, states = run(project)
    assert set(states.values()) == {"Skipped"}
    assert {row["seconds"] for row in last_table()} == {0.0}, "a process was started for nothing"
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT")}
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "rebuild"]
    done = subprocess.run(command, cwd=project, env=alone, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, "0 of 4 stages ran, the others were up to date\n")
    assert "server" not in done.stderr, "Prefect was started for nothing"

    params = project / "params.yaml"
    params.write_text(params.read_text().replace("a:\n    seed: 1", "a:\n    seed: 2"))
    _, states = run(project)
    assert states == {"first": "Skipped", "train@a": "Completed", "train@b": "Skipped", "last": "Completed"}


def test_failure_stops_only_what_depends_on_it(project: Path) -> None:
    graph = project / "dvc.yaml"
    graph.write_text(
        graph.read_text().replace("sleep 0.2", "if test ${key} = b; then cat ill.txt; exit 1; fi")
    )
    (project / "ill.txt").write_text("train: b is ill.\n")
    message, states = run(project)
    assert states["train@b"] == "Failed"
    assert states["train@a"] == "Completed"
    assert states["last"] == "Not run"
    assert message == "train: b is ill."
    assert not (project / "last.txt").exists()


FAILING = """
stages:
  away:
    cmd: |-
      echo x >> tries-away && echo 'away: S3 is away.' && test $(wc -l < tries-away) = 2 || exit 75
    always_changed: true
  killed:
    cmd: echo x >> tries-killed && if test $(wc -l < tries-killed) = 1; then kill -9 $$; fi
    always_changed: true
  without-dvc:
    cmd: echo x >> tries-without-dvc && if test $(wc -l < tries-without-dvc) = 1; then kill -9 $PPID; fi
    always_changed: true
  wrong:
    cmd: |-
      echo x >> tries-wrong && echo 'wrong: row 2 is wrong.' && exit 1
    always_changed: true
  hangs:
    cmd: echo x >> tries-hangs && if test $(wc -l < tries-hangs) = 1; then sleep 100; fi
    always_changed: true
"""


def test_only_what_may_pass_is_tried_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.flows.rebuild.RETRY_DELAYS_S", (0.1,))
    (project / "dvc.yaml").write_text(FAILING)
    message, states = run(project, retries=3, timeouts_s={"hangs": 20.0, "default": 200.0})
    passing = {"away", "killed", "without-dvc", "hangs"}
    assert states == {"wrong": "Failed", **dict.fromkeys(passing, "Completed")}, message
    tries = {name: len((project / f"tries-{name}").read_text().split()) for name in states}
    assert tries.pop("hangs") >= 2  # beside much other work even to begin may take longer than its limit
    assert tries == {"wrong": 1, **dict.fromkeys(passing - {"hangs"}, 2)}
    assert message == "wrong: row 2 is wrong."
    assert "hangs: took longer than its limit of 20 s and was ended" in caplog.text


def test_a_second_run_waits_or_says_who_is_first(project: Path) -> None:
    with hold_workspace(project, purpose="retrain", wait=False):
        state = rebuild(root=project, wait=False, return_state=True)
    assert state.is_failed()
    assert f"in use by retrain (process {os.getpid()}" in (state.message or "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_lives_on_when_the_run_ends(project: Path, number: signal.Signals) -> None:
    stage = dedent("""
        import os, time, sys
        from components.core.run.process import run_stage
        def work():
            open("pid", "w").write(str(os.getpid()))
            time.sleep(120)
        run_stage("first", work)
    """)
    (project / "slow.py").write_text(stage)
    graph = project / "dvc.yaml"
    graph.write_text(
        graph.read_text().replace("echo made > first.txt && echo first speaks", f"exec {REAL_PYTHON} slow.py")
    )
    code = "from pathlib import Path; from pipelines.flows.rebuild import rebuild; rebuild(root=Path.cwd())"
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    log = (project / "log").open("wb")
    run = subprocess.Popen([REAL_PYTHON, "-c", code], cwd=project, stdout=log, stderr=log, env=environment)
    try:
        pid = int(wait_for(project / "pid"))
        run.send_signal(number)
        run.wait(300)
        assert gone(pid, 120), "the stage goes on after its run ended"
    finally:
        run.kill()
        run.wait()


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
