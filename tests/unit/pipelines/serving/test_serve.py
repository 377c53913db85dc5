"""`avis serve` without a network: uploads, turns, quotas, cancelling, deadlines, a server started anew."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.workers.confinement import Limits
from components.tools.prediction.one_video import Row, Task, Wanted
from pipelines.commands.servers.serve import serve
from pipelines.serving.app import application
from pipelines.serving.jobs import Jobs, Rules
from pipelines.serving.run import follow, read_keys
from tests.support.prefect_server import wait_until

KEYS = {"a" * 16: "ann", "b" * 16: "bob"}
MOST_BYTES = 10_000


def work(task: Task) -> Row:
    """In the place of a model: the video says what becomes of it."""
    said = task.path.read_text().split()[0]
    with (task.out.parent / "order").open("a") as file:
        file.write(f"{said}\n")
    while said == "hang":
        time.sleep(0.05)
    if said == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if said == "broken":
        return Row(video="result", source="x", status="damaged", cause="no moov atom \x1b[31m")
    folder = task.out / "result"
    folder.mkdir(exist_ok=True)
    for name in ("objects.json", "prediction.json"):
        (folder / name).write_text("{}")
    return Row(video="result", source="x", status="ok", objects=1, sounds=f"bell: {said}")


class Served:
    def __init__(self, folder: Path, model: Path, rules: Rules) -> None:
        self.folder, self.model, self.rules = folder, model, rules
        self.start()

    def start(self) -> None:
        wanted = Wanted(model=self.model, params=PredictParams(), save=())
        self.jobs = Jobs(self.folder, self.rules, lambda: wanted, Limits(), work)
        self.client = TestClient(application(self.jobs, KEYS, MOST_BYTES, ["testserver"]))

    def post(self, body: str, owner: str = "a", **headers: str) -> dict:
        headers = {"Authorization": f"Bearer {owner * 16}", **headers}
        answer = self.client.post("/jobs", content=body.ljust(20), headers=headers)
        return answer.json() | {"code": answer.status_code}

    def state(self, job: dict) -> str:
        return self.client.get(f"/jobs/{job['id']}").json()["state"]

    def wait(self, job: dict, state: str) -> dict:
        wait_until(
            lambda: self.state(job) == state,
            300,
            f"not {state}: {self.client.get('/jobs/' + job['id']).json()}",
        )
        return self.client.get(f"/jobs/{job['id']}").json()

    def order(self) -> list[str]:
        return (self.folder / "order").read_text().split()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "jobs", tmp_path / "model", Rules(most_waiting=6, most_of_one=4))
    yield made
    made.jobs.close()


def test_a_video_comes_waits_and_leaves_as_files(served: Served) -> None:
    job = served.post("good", **{"X-Filename": "../../my film.mp4"})
    assert job["code"] == 202
    done = served.wait(job, "done")
    assert done["sounds"] == "bell: good" and list(done["files"]) == ["objects.json"]
    assert served.client.get(done["files"]["objects.json"]).json() == {}
    for private in ("job.json", "prediction.json"):
        assert served.client.get(f"/jobs/{job['id']}/{private}").status_code == 404
    assert served.client.get(f"/jobs/{job['id']}/..%2Fjob.json").status_code == 404
    broken = served.wait(served.post("broken"), "failed")
    assert (broken["status"], broken["cause"], broken["files"]) == ("damaged", "no moov atom \\x1b[31m", {})
    crashed = served.wait(served.post("crash"), "failed")
    assert crashed["status"] == "crash" and served.wait(served.post("after"), "done")
    text = served.client.get("/metrics").text
    assert 'avis_serve_videos_total{answer="taken"} 4.0' in text and "avis_serve_failed 2.0" in text
    assert "/jobs/{job_id}" in served.client.get("/openapi.json").json()["paths"]
    assert "Drop a video" in served.client.get("/").text


def test_who_may_not_and_what_is_no_video_is_refused(served: Served) -> None:
    assert served.post("x", "c")["code"] == 401
    assert served.post("x", **{"Sec-Fetch-Site": "cross-site"})["code"] == 403
    assert served.client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert served.post("x" * (MOST_BYTES + 1))["code"] == 413
    allowed = {"Authorization": f"Bearer {'a' * 16}"}
    pieces = (b"x" * 5000 for _ in range(3))  # of unknown length
    assert served.client.post("/jobs", content=pieces, headers=allowed).status_code == 413
    assert served.client.post("/jobs", content=b"", headers=allowed).status_code == 400
    assert served.client.get("/jobs/nobody").status_code == 404
    assert not any(path.is_dir() for path in served.folder.iterdir())  # nothing of it stays


def test_owners_take_turns_and_none_has_more_than_his_share(served: Served) -> None:
    held = served.post("hang")
    served.wait(held, "running")
    wait_until(lambda: (served.folder / "order").exists(), 300, "its worker has not begun")
    mine = [served.post(f"a{number}") for number in range(3)]
    assert served.post("a3")["code"] == 429  # four of mine
    theirs = [served.post(f"b{number}", "b") for number in range(3)]
    assert [job["ahead"] for job in mine] == [0, 1, 2] and [job["ahead"] for job in theirs] == [1, 3, 5]
    assert served.post("b3", "b")["code"] == 429  # six wait
    assert served.client.delete(f"/jobs/{mine[1]['id']}").json()["state"] == "cancelled"
    assert served.client.delete(f"/jobs/{held['id']}").json()["state"] == "cancelled"
    for job in (mine[0], mine[2], *theirs):
        served.wait(job, "done")
    first, *rest = served.order()
    assert first == "hang" and rest in (["a0", "b0", "a2", "b1", "b2"], ["b0", "a0", "b1", "a2", "b2"])
    assert served.client.delete(f"/jobs/{mine[0]['id']}").json()["state"] == "done"


def test_what_takes_too_long_is_ended(served: Served) -> None:
    served.jobs.rules = Rules(deadline_s=0.3)
    assert served.wait(served.post("hang"), "failed")["status"] == "timeout"


def test_a_server_that_is_started_anew_goes_on(served: Served) -> None:
    done = served.post("good")
    served.wait(done, "done")
    held = served.post("hang")
    served.wait(held, "running")
    waiting = served.post("later")
    half = served.folder / "half"
    half.mkdir()
    (half / "video.mp4").write_text("what had not arrived")
    served.jobs.close()
    served.start()
    assert not half.exists() and served.state(done) == "done"
    served.wait(held, "running")  # again, before what came later
    served.client.delete(f"/jobs/{held['id']}")
    served.wait(waiting, "done")
    served.jobs.rules = Rules(kept_s=0)
    served.wait(served.post("next"), "done")
    assert served.client.get(f"/jobs/{done['id']}").status_code == 404  # kept no longer


def test_of_fifty_clients_each_gets_its_own_answer(tmp_path: Path) -> None:
    served = Served(
        tmp_path / "jobs", tmp_path / "model", Rules(most_waiting=100, most_of_one=100, workers=2)
    )
    try:
        with ThreadPoolExecutor(50) as clients:
            jobs = list(clients.map(lambda number: served.post(f"clip{number}"), range(50)))
        assert {job["code"] for job in jobs} == {202}
        for number, job in enumerate(jobs):
            assert served.wait(job, "done")["sounds"] == f"bell: clip{number}"
        assert sorted(served.order()) == sorted(f"clip{number}" for number in range(50))  # none twice
    finally:
        served.jobs.close()
    assert threading.active_count() < 50


def test_a_champion_that_changes_is_taken_up_and_one_that_is_away_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines.serving import run

    monkeypatch.setattr(run, "examine", lambda model, reading: [])
    monkeypatch.setattr(run, "_ASK_EVERY_S", -1.0)
    monkeypatch.chdir(tmp_path)
    answers: list[Path | AvisError] = [Path("one"), Path("two"), AvisError("MLflow is away"), Path("three")]

    def model() -> Path:
        answer = answers.pop(0)
        if isinstance(answer, AvisError):
            raise answer
        return answer

    wanted = follow(model, moves=True)
    assert [str(wanted().model) for _ in range(4)] == ["one", "two", "two", "three"]
    assert "MLflow is away. The model before stays in use" in capsys.readouterr().out
    answers[:] = [AvisError("there is no such model")]
    with pytest.raises(AvisError, match="no such model"):
        follow(model, moves=True)()


def test_beyond_this_machine_it_asks_for_keys(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"without --keys anybody.*0\.0\.0\.0"):
        serve(host="0.0.0.0")
    file = tmp_path / "keys"
    file.write_text(f"# comment\n\nann {'a' * 16}\nbob {'b' * 16}\n")
    assert read_keys(file) == KEYS
    for wrong in ("ann short", f"ann {'a' * 16}\nbob {'a' * 16}"):
        file.write_text(wrong)
        with pytest.raises(AvisError, match="no key of at least 16"):
            read_keys(file)
