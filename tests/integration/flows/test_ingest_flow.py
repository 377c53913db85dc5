"""The flow `ingest` with the real stages: ids in, attrition out, on a branch with its data."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from prefect.client.orchestration import get_client

from pipelines.flows import ingest as ingest_flow
from tests.support.clips import make_clip

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("prefect_api", "quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[3]
GRAPH = """
stages:
  ingest:
    cmd: exec python -m components.ingest
    params: [ingest]
    deps: [manifest.csv]
    outs:
      - data/raw:
          persist: true
  extract:
    cmd: exec python -m components.extract
    params: [extract]
    deps: [data/raw]
    outs:
      - data/media:
          persist: true
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    site, origin, base = tmp_path / "site", tmp_path / "origin.git", tmp_path / "base"
    for number, name in enumerate(("a", "b", "c")):
        make_clip(site / f"{name}.mp4", seconds=2 + 0.5 * number)
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", origin], check=True)
    subprocess.run(["git", "clone", "-q", origin, base], check=True, capture_output=True)
    (base / "dvc.yaml").write_text(GRAPH)
    params = {
        "ingest": {
            "manifest": "manifest.csv",
            "sleep_s": 0.0,
            "attempts": 1,
            "max_failed_share": 0.8,
            "retry_permanent_after_days": 0,
        },
        "engine": {},
        "extract": {},
        "annotate": {"source": "labels.json"},
        "tracking": {"uri": "none"},
    }
    (base / "params.yaml").write_text(yaml.safe_dump(params))
    (base / ".gitignore").write_text("data/.tracking\ndata/.checked\n.journal*\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    (base / "manifest.csv").write_text(f"video_id,source\na,{url}/a.mp4\ngone,{url}/gone.mp4\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=base, check=True)
    with (base / ".dvc/config").open("a") as config:
        config.write(f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {tmp_path}/store\n")
    git(base, "add", "-A")
    git(base, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "begin")
    git(base, "push", "-q", "origin", "HEAD:main")
    yield SimpleNamespace(base=base, origin=origin, site=site, url=url)
    server.shutdown()
    server.server_close()


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def told(within_s: float = 300) -> list[str]:
    """Revisions that events name; an event takes a moment to arrive."""
    deadline_s = time.monotonic() + within_s
    asked = {"filter": {"event": {"name": [ingest_flow.CHANGED]}}}
    while True:
        with get_client(sync_client=True) as client:
            found = client.request("POST", "/events/filter", json=asked).json()["events"]
        if found or time.monotonic() > deadline_s:
            return [event["payload"]["revision"] for event in found]
        time.sleep(0.2)


def test_new_ids_what_is_lost_and_nothing_to_do(place: SimpleNamespace) -> None:
    def run(revision: str = "main", ids: list[str] | None = None) -> tuple[str, str]:
        state = ingest_flow.ingest(ids, revision, root=place.base, return_state=True)
        return state.name, state.message

    def branches() -> list[str]:
        return git(
            place.origin, "branch", "--list", "avis/ingest-*", "--format=%(refname:short)"
        ).splitlines()

    name, message = run(ids=[f"{place.url}/b.mp4"])
    assert name == "Completed" and "2 of 3 videos are there, 1 entries new, 0 videos lost" in message, message
    (first,) = branches()
    assert git(place.base, "status", "--porcelain") == ""
    report = json.loads(git(place.origin, "show", f"{first}:data/attrition.json"))
    assert report["status"]["ok"] == 2 and sum(report["status"].values()) == 3
    assert f"{place.url}/b.mp4" in git(place.origin, "show", f"{first}:manifest.csv")
    assert told() == [first]

    # What failed is asked for again; what is there is not fetched again.
    make_clip(place.site / "gone.mp4", seconds=2)
    (place.site / "a.mp4").unlink()
    name, message = run(first)
    assert "3 of 3 videos are there, 0 entries new, 0 videos lost" in message, message
    (second,) = set(branches()) - {first}
    assert run(second)[0] == "Unchanged"
    # Nobody merged it: the next run of main carries on what was added.
    name, message = run()
    assert "3 of 3 videos are there, 1 entries new, 0 videos lost" in message, message
    # A video is gone from cache and remote, as `avis forget` leaves it: the others are not fetched again.
    (place.site / "gone.mp4").unlink()
    lock = yaml.safe_load(git(place.origin, "show", "avis/latest:dvc.lock"))["stages"]["ingest"]["outs"][0]
    for files in (place.base / ".dvc/cache/files/md5", place.base.parent / "store/files/md5"):
        rows = json.loads((files / lock["md5"][:2] / lock["md5"][2:]).read_text())
        (video,) = (row["md5"] for row in rows if row["relpath"].startswith("b-"))
        (files / video[:2] / video[2:]).unlink()
    name, message = run(second)
    assert "3 of 3 videos are there" in message, message  # of which only b was on the site
    name, message = run(ids=["nonsense"])
    assert name == "Failed" and "'nonsense' is neither a YouTube id" in message
