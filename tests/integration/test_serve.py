"""`avis serve` with a model and a browser: a video is chosen, watched with its sound, clicked, downloaded."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from components.core.inference.params import PredictParams
from components.core.run.workers.confinement import Limits
from components.tools.prediction.one_video import Wanted
from pipelines.serving.app import application
from pipelines.serving.jobs import Jobs, Rules
from pipelines.serving.run import OUTPUTS
from tests.support.browser import CHROMIUM, browser
from tests.support.clips import make_clip
from tests.support.prefect_server import wait_until
from tests.support.tiny_model import write_finder

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    wanted = Wanted(
        model=write_finder(tmp_path / "model"), params=PredictParams(score_threshold=0), save=OUTPUTS
    )
    jobs = Jobs(tmp_path / "jobs", Rules(), lambda: wanted, Limits(network=False))
    server = uvicorn.Server(uvicorn.Config(application(jobs, {}, 10_000_000), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_video_is_chosen_watched_clicked_and_downloaded(address: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "my clip.mp4")
    with browser(tmp_path / "browser", address) as page:
        page.choose("#file", clip)
        page.wait("document.querySelector('.job h2').textContent === 'my clip.mp4'")
        inner = "document.querySelector('iframe')?.contentDocument"
        page.wait(f"(window.film = {inner}?.querySelector('video')) && film.readyState >= 2", 300)
        page.run("film.play()")
        page.wait("film.currentTime > 0.3 && film.webkitAudioDecodedByteCount > 0")
        page.run(f"film.pause(); film.currentTime = 1; {inner}.querySelector('.span').click()")
        assert page.run(f"film.currentTime === Number({inner}.querySelector('.span').dataset.startS)")
        links = page.run(
            "Object.fromEntries([...document.querySelectorAll('.job a')].map(a => [a.download, a.href]))"
        )
    assert set(links) == {"film.mp4", "objects.json", "page.html", "results.json", "seconds.csv"}
    objects = httpx.get(links["objects.json"], timeout=60).json()["objects"]
    assert objects and objects[0]["intervals_s"] and objects[0]["segmentations"]
    part = httpx.get(links["film.mp4"], headers={"Range": "bytes=0-99"}, timeout=60)
    assert part.status_code == 206 and len(part.content) == 100  # players jump in it


def test_what_is_no_video_is_said_and_the_next_is_predicted(address: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4").read_bytes()
    states = []
    for body in (b"no video at all" * 100, clip[: len(clip) // 2], clip):
        job = httpx.post(f"{address}/jobs", content=body, timeout=60).json()
        said: dict = {}

        def over(job: dict = job, said: dict = said) -> bool:
            said |= httpx.get(f"{address}/jobs/{job['id']}", timeout=60).json()
            return said["state"] in ("done", "failed")

        wait_until(over, 300, "it is not over")
        states.append(said["state"])
        assert said["state"] == "done" or said["cause"]
    assert states[0] == "failed" and states[2] == "done"
