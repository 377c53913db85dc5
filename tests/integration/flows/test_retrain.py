"""`retrain` with a real repository, DVC remote, registry and Prefect server, on stages that cost nothing.

What a stage makes is a number of found frames, so that it is known which model is better; scoring it with a
network is replaced by scoring that number (tests/integration/test_repro.py retrains with the network).
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_API_URL

from components.core.run.errors import AvisError
from components.core.run.lineage import file_md5
from components.core.tracking.registry import CHALLENGER, CHAMPION, COMMIT, PREVIOUS, Registry
from pipelines.cli import app
from pipelines.commands.models import champion as versions
from pipelines.flows import announcement, contest, registry_access
from pipelines.flows import champion as checking
from pipelines.flows import retrain as retraining
from pipelines.flows.champion import settle_champion
from pipelines.flows.champion_model import fetch_version
from pipelines.flows.clones import remove_kept
from pipelines.flows.rebuild import rebuild
from tests.support.promotion_scores import counts_of
from tests.support.zygote import REAL_PYTHON

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_api", "quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[3]
CLIPS = 12
GRAPH = """
stages:
  annotate:
    cmd: exec python make.py annotate
    deps: [labels.txt]
    outs: [data/annotations/test.json]
  train:
    foreach: ${variants}
    do:
      cmd: exec python make.py train
      params: [variants.avism]
      deps: [data/annotations/test.json]
      outs:
        - data/model/avism/model.safetensors
        - data/model/avism/config.json
        - data/model/avism/clips.json
        - data/model/avism/run.json
  evaluate:
    foreach: ${variants}
    do:
      cmd: exec python make.py evaluate
      deps: [data/model/avism/model.safetensors]
      outs: [data/evaluation/avism/counts.safetensors, data/evaluation/avism/per_clip.csv]
      metrics:
        - data/evaluation/avism/metrics.json:
            cache: false
  later:                      # fails when it is asked for: nothing here does
    cmd: exit 1
    deps: [data/evaluation/avism/counts.safetensors]
    outs: [data/later]
"""
MAKE = """
    import json, sys, time
    from pathlib import Path
    import yaml
    from components.core.run.files import write_json
    from components.core.run.process import run_stage
    from components.core.tracking.run import continue_run, training_run

    model, evaluation = Path("data/model/avism"), Path("data/evaluation/avism")
    signs = Path({signs!r})

    def annotate():
        Path("data/annotations").mkdir(parents=True, exist_ok=True)
        Path("data/annotations/test.json").write_text(Path("labels.txt").read_text())

    def train():
        frames = yaml.safe_load(Path("params.yaml").read_text())["variants"]["avism"]["frames"]
        with (signs / "trained").open("a") as file:
            file.write(f"{{frames}}\\n")
        with training_run(variant="avism", params={{"frames": frames}}) as run:
            run.metrics({{"loss": 1.5}}, step=1)
            while (signs / "hold").exists():
                time.sleep(0.05)
            model.mkdir(parents=True, exist_ok=True)
            (model / "model.safetensors").write_text(str(frames))
            write_json(model / "config.json", {{}})
            write_json(model / "clips.json", [])
            write_json(model / "run.json", {{"run_id": run.run_id}})

    def evaluate():
        from tests.support.promotion_scores import clip_name, counts_of, scores_of, write_scores

        frames = int((model / "model.safetensors").read_text())
        found = {{n: frames for n in range(1, {clips} + 1)}}
        evaluation.mkdir(parents=True, exist_ok=True)
        write_scores(evaluation, counts_of(found, clips={clips}))
        values = scores_of(found, clips={clips}).protocols
        write_json(evaluation / "metrics.json", {{name: part.values for name, part in values.items()}})
        (evaluation / "per_clip.csv").write_text("\\n".join(["video", *map(clip_name, found), ""]))
        with continue_run(model / "run.json") as run:
            run.artifact(evaluation / "per_clip.csv", "evaluation")

    run_stage(sys.argv[1], {{"annotate": annotate, "train": train, "evaluate": evaluate}}[sys.argv[1]])
"""


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: Callable[[Path], str]
) -> SimpleNamespace:
    """An origin, a checkout of it (base), a DVC remote, and a folder for signs between test and stages."""
    base, origin, signs = tmp_path / "base", tmp_path / "origin.git", tmp_path / "signs"
    signs.mkdir()
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    subprocess.run(["git", "clone", "-q", origin, base], check=True, capture_output=True)
    (base / "dvc.yaml").write_text(GRAPH)
    (base / "make.py").write_text(dedent(MAKE).format(signs=str(signs), clips=CLIPS))
    (base / "labels.txt").write_text("labels\n")
    (base / ".gitignore").write_text("mlflow.db*\nmlruns\n__pycache__\ndata/.tracking\n")
    (base / "data").mkdir()
    new_store(base)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("AVIS_NOTIFY", raising=False)
    monkeypatch.setattr(contest, "measure_version", measure)
    dvc(base, "init", "-q")
    with (base / ".dvc/config").open("a") as config:
        config.write(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {tmp_path}/store\n")
    found = SimpleNamespace(base=base, origin=origin, signs=signs, tmp=tmp_path)
    change(found, frames=2)
    return found


def measure(root, version, scratch, log, *, timeouts_s, seeds=False, clips=CLIPS):
    """As pipelines.flows.champion_model does it, with a number in the place of a network."""
    fetch_version(root, version, scratch / "model", seeds=seeds)
    frames = int((scratch / "model/model.safetensors").read_text())
    return [counts_of(dict.fromkeys(range(1, CLIPS + 1), frames), clips=clips)]


def change(place, *, frames: int) -> None:
    """Set how good the next model will be, commit, push."""
    params = {
        "tracking": {"uri": "sqlite:///mlflow.db"},
        "variants": {"avism": {"frames": frames}},
        "promotion": {"resamples": 200},
    }
    (place.base / "params.yaml").write_text(yaml.safe_dump(params))
    git(place.base, "add", "-A")
    git(place.base, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", f"frames {frames}")
    git(place.base, "push", "-q", "origin", "HEAD:main")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def retrain(place, **settings) -> tuple[str, str]:
    state = retraining.retrain(root=place.base, return_state=True, **settings)
    return state.name, state.message


def retraining_thread(place, ended: list[tuple[str, str]], **settings) -> threading.Thread:
    """A thread that retrains and appends how it ended; with the server that this thread uses."""
    work = copy_context().run
    return threading.Thread(target=lambda: ended.append(work(retrain, place, **settings)))


def registry(place) -> Registry:
    params = registry_access.promotion_params(place.base)
    return registry_access.open_registry(place.base, params)


def trainings(place) -> list[str]:
    return (place.signs / "trained").read_text().split()


def clones(place) -> list[str]:
    return [path.name for path in (place.base / ".dvc/tmp/workspaces").iterdir() if path.name != "holds"]


def test_champion_and_challenger(place, monkeypatch, capsys) -> None:
    name, message = retrain(place, trigger="schedule")
    assert name == "Promoted", message
    assert clones(place) == []
    assert git(place.base, "status", "--porcelain") == ""  # nobody's checkout is touched
    first = registry(place).with_alias(CHAMPION)
    run = registry(place)._store.client.get_run(first.run_id)
    assert run.data.tags["avis.commit"] == first.commit
    assert run.data.tags["avis.trigger"] == "schedule" and run.data.tags["avis.flow_run"]

    # Anybody can check that commit out and get the very files.
    other = place.tmp / "other"
    subprocess.run(["git", "clone", "-q", place.origin, other], check=True)
    git(other, "checkout", "-q", first.commit)
    dvc(other, "pull", "--allow-missing")
    assert file_md5(other / "data/model/avism/model.safetensors") == first.tags["avis.weights.md5"]
    assert "up to date" in dvc(other, "status", "--with-deps", "evaluate@avism")

    # On six clips that it has not seen before it finds nothing: that is told, and an event.
    monkeypatch.setattr(checking, "measure_version", partial(measure, clips=CLIPS + 6))
    state = checking.evaluate_champion(root=place.base, return_state=True)
    assert state.name == "Dropped" and "FSLA 0.00 on 6 fresh clips, 50.00 on 12 known ones" in state.message
    assert wait_for(lambda: events(checking.DROPPED))[0]["payload"]["revision"] == "main"

    name, message = retrain(place, trigger="schedule")
    assert (name, trainings(place)) == ("Unchanged", ["2"])
    assert "version 1 (promoted" in message

    change(place, frames=3)
    name, message = retrain(place, trigger="data")
    assert name == "Promoted" and "FSLA rises by 25.00 points" in message
    change(place, frames=1)
    name, message = retrain(place)
    assert name == "Refused" and "FSLA changes by -50.00 points" in message
    found = {version.number: version.aliases for version in registry(place).versions()}
    assert found == {3: [CHALLENGER], 2: [CHAMPION], 1: [PREVIOUS]}
    third = registry(place).version(3)
    page = registry(place).artifact(third, "promotion/promotion.html", place.tmp)
    assert "not promoted" in page.read_text() and third.commit in page.read_text()

    monkeypatch.chdir(place.base)
    versions.rollback(None, "it misses horns")
    app(["champion"], standalone_mode=False)
    assert "it misses horns" in capsys.readouterr().out
    assert registry(place).with_alias(CHAMPION).number == 1
    versions.fetch(place.tmp / "fetched", None)
    assert (place.tmp / "fetched/model.safetensors").read_text() == "2"

    with pytest.raises(Exception, match="no revision 'nowhere'"):
        retraining.retrain(root=place.base, revision="nowhere")


def test_a_better_challenger_waits_and_no_process_with_it(place, monkeypatch, capsys) -> None:
    monkeypatch.chdir(place.base)

    def said(*words: str) -> str:
        app(["champion", *words], standalone_mode=False)
        return capsys.readouterr().out

    name, message = retrain(place, ask_first=True)
    assert name == "Waiting" and "avis champion approve 1, or avis champion refuse 1" in message
    assert clones(place) == [] and "waits until" in said("status")
    assert registry(place).with_alias(CHAMPION) is None
    assert retrain(place, ask_first=True)[0] == "Unchanged"  # nobody is asked every night
    assert "is not promoted: refused by Ann: heard it" in said(
        "refuse", "1", "--by", "Ann", "--reason", "heard it"
    )
    with pytest.raises(AvisError, match=r"does not wait for an answer: refused.*avis champion promote 1"):
        said("approve", "1")
    assert "refused by Ann: heard it" in said("status") and trainings(place) == ["2"]

    change(place, frames=3)
    assert retrain(place, ask_first=True)[0] == "Waiting"
    state = settle_champion(2, True, by="Ben", root=place.base, return_state=True)  # as from Prefect's page
    assert state.name == "Promoted" and "approved by Ben" in state.message
    state = settle_champion(2, True, root=place.base, return_state=True)
    assert state.name == "Failed" and "does not wait" in state.message
    assert registry(place).with_alias(CHAMPION).number == 2

    # Compared with a champion that is none any more: an answer does not count, the next run compares anew.
    change(place, frames=4)
    assert retrain(place, ask_first=True)[0] == "Waiting"
    versions.promote(1, "by hand")
    with pytest.raises(AvisError, match="was compared with version 2, not version 1: avis retrain compares"):
        said("approve", "3")
    assert retrain(place, approval_timeout_s=-1)[0] == "Waiting"  # who was asked once is asked again
    assert "nobody approved it by" in said("status")
    with pytest.raises(AvisError, match="nobody approved it by"):
        said("approve", "3")
    name, message = retrain(place)
    assert name == "Unchanged" and "version 3 (refused: nobody approved it by" in message, message
    assert trainings(place) == ["2", "3", "4"]


def test_an_event_starts_its_deployment_also_when_prefect_loses_it(monkeypatch) -> None:
    told = "avis.tests.changed"
    asked = {"revision": "{{ event.payload.revision }}", "trigger": "data"}
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("started-by-event")
        deployment = client.create_deployment(flow_id, name="cpu", enforce_parameter_schema=False)
        automation = AutomationCore(
            name=told,
            trigger=EventTrigger(expect={told}, posture=Posture.Reactive, threshold=1),
            actions=[RunDeployment(deployment_id=deployment, parameters=asked)],
        )
        client.request("POST", "/automations/", json=automation.model_dump(mode="json"))
    tell = flow(announcement.announce)
    tell(told, "avis.tests", {"revision": "avis/one"})
    monkeypatch.setattr(announcement, "PATIENCE_S", 1.0)
    monkeypatch.setattr(announcement, "emit_event", lambda *arguments, **named: None)  # lost on its way
    tell(told, "avis.tests", {"revision": "avis/two"})
    with get_client(sync_client=True) as client:
        runs = announcement._runs(client, deployment).values()
    started = sorted(run["revision"] for run in runs if run["trigger"] == "data")
    assert started == ["avis/one", "avis/two"]


def test_what_could_not_be_pushed_is_pushed_by_the_next_run(place) -> None:
    hook = place.origin / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho no >&2; exit 1\n")
    hook.chmod(0o755)
    state = rebuild(root=place.base, revision="main", targets=["annotate"], return_state=True)
    assert state.name == "Failed" and "git push" in state.message
    hook.unlink()
    state = rebuild(root=place.base, revision="main", targets=["annotate"], return_state=True)
    assert state.is_completed() and state.name != "Unchanged", state.message
    assert git(place.origin, "branch", "--list", "avis/re*-*")


def test_killed_it_goes_on_and_meanwhile_nobody_else_does(place) -> None:
    (place.signs / "hold").touch()
    code = (
        "import sys; from pathlib import Path; from pipelines.flows.retrain import retrain;"
        "retrain(root=Path(sys.argv[1]), return_state=True)"
    )
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}
    with (place.tmp / "log").open("wb") as log:
        run = subprocess.Popen(
            [REAL_PYTHON, "-c", code, place.base], cwd=ROOT, stdout=log, stderr=log, env=environment
        )
    try:
        wait_for(lambda: (place.signs / "trained").exists())
        name, message = retrain(place)
        assert name == "Failed" and f"process {run.pid}" in message and "in use by retrain" in message
        assert remove_kept(place.base) == clones(place) != []  # nor is its clone tidied up
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait(20)
    (kept,) = clones(place)
    (place.signs / "hold").unlink()
    name, message = retrain(place)
    assert name == "Promoted", message
    assert clones(place) == [] and kept.startswith("retrain-")
    assert len(git(place.origin, "branch", "--list", "avis/re*-*").splitlines()) == 1


def test_mlflow_goes_away_while_it_trains_and_nothing_is_lost(place, monkeypatch, new_store) -> None:
    monkeypatch.setattr(registry_access, "_FIRST_WAIT_S", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    (place.signs / "hold").touch()
    new_store(place.tmp)
    server = mlflow_server(place.tmp, port)
    ended: list[tuple[str, str]] = []
    thread = retraining_thread(place, ended)
    try:
        thread.start()
        wait_for(lambda: (place.signs / "trained").exists())
        end_server(server, port)
        (place.signs / "hold").unlink()
        wait_for(lambda: git(place.origin, "branch", "--list", "avis/re*-*"))  # pushed meanwhile
        server = mlflow_server(place.tmp, port)
        thread.join(300)
        assert ended[0][0] == "Promoted", ended
        champion = registry(place).with_alias(CHAMPION)
        run = registry(place)._store.client.get_run(champion.run_id)
        assert run.data.params == {"frames": "2"} and run.data.metrics["loss"] == 1.5
        assert run.info.status == "FINISHED" and run.data.tags["avis.commit"] == champion.tags[COMMIT]
    finally:
        end_server(server, port)


def events(name: str) -> list[dict]:
    with get_client(sync_client=True) as client:
        asked = {"filter": {"event": {"name": [name]}}}
        return client.request("POST", "/events/filter", json=asked).json()["events"]


def end_server(server: "subprocess.Popen[bytes]", port: int) -> None:
    """Kill it and the processes that serve for it: its parent's death alone stops nothing."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait(20)

    def refuses() -> bool:
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) != 0

    wait_for(refuses)  # those that were killed take a moment to be gone


def mlflow_server(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI")
    command = [
        REAL_PYTHON,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
    ]
    command += ["--artifacts-destination", str(folder / "files"), "--port", str(port), "--workers", "1"]
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=environment, process_group=0
        )

    def listens() -> bool:
        assert server.poll() is None, (folder / "server.log").read_text()
        with socket.socket() as knock:
            return knock.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens)
    return server


def wait_for(condition, within_s: float = 300):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def test_a_rebuild_at_a_revision_leaves_a_commit_that_can_be_pulled(place) -> None:
    (place.base / "labels.txt").write_text("changed, and not committed\n")
    state = rebuild(root=place.base, revision="main", targets=["evaluate"], return_state=True)
    assert state.is_completed(), state.message
    branch = git(place.origin, "branch", "--list", "avis/rebuild-*", "--format=%(refname:short)")
    lock = yaml.safe_load(git(place.origin, "show", f"{branch}:dvc.lock"))
    assert list(lock["stages"]) == ["annotate", "train@avism", "evaluate@avism"]
    client = registry(place)._store.client
    (run,) = client.search_runs([client.get_experiment_by_name("avis").experiment_id])
    assert run.data.tags["avis.commit"] == git(place.origin, "rev-parse", branch)
    other = place.tmp / "other"
    subprocess.run(["git", "clone", "-q", "-b", branch, place.origin, other], check=True)
    dvc(other, "pull", "--allow-missing")
    assert (other / "data/annotations/test.json").read_text() == "labels\n"
    again = rebuild(root=place.base, revision="main", targets=["evaluate"], return_state=True)
    assert again.name == "Unchanged", again.message


def test_clones_that_failed_are_tidied_up_and_tell_first_what_they_know(place) -> None:
    left = place.base / ".dvc/tmp/workspaces/retrain-0123"
    (left / "data/.tracking").mkdir(parents=True)
    assert remove_kept(place.base, purpose="ingest") == [] and left.is_dir()
    assert remove_kept(place.base, purpose="retrain", but="retrain-0123") == [] and left.is_dir()
    assert remove_kept(place.base) == [] and clones(place) == []


def test_which_variant_it_is(place) -> None:
    assert registry_access.promotion_params(place.base).variant == "avism"  # the first, unless it is named
    params = place.base / "params.yaml"
    params.write_text(params.read_text().replace("resamples: 200", "variant: avis"))
    with pytest.raises(AvisError, match=r"no variant 'avis'.*There are: avism"):
        registry_access.promotion_params(place.base)


def test_without_a_remote_nothing_is_begun(place) -> None:
    (place.base / ".dvc/config").write_text("")
    change(place, frames=2)
    name, message = retrain(place)
    assert name == "Failed" and "dvc remote add --default" in message
    assert not (place.signs / "trained").exists()
