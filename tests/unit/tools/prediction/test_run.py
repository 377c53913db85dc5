"""Many videos: what fails is a row, what is finished stays, and one table tells all."""

import csv
import errno
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from av.stream import Disposition
from typer.testing import CliRunner

from components.core.inference.params import PredictParams
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.ingest.params import IngestParams
from components.tools.prediction import one_video
from components.tools.prediction import run as run_module
from components.tools.prediction.inputs import Input, find_inputs
from components.tools.prediction.one_video import Row, Wanted
from components.tools.prediction.run import BROUGHT, predict_videos
from pipelines.cli import app
from tests.support.clips import make_clip, make_clip_of_tracks
from tests.support.tiny_model import write_finder

pytestmark = pytest.mark.slow

ANYTHING = PredictParams(score_threshold=0.0, most_tracks=2, device="cpu")
ALONE = EngineParams(workers=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in ("good", "other"):
        make_clip(folder / f"{name}.mp4", seconds=2.0, flashes_s=(0.5,))
    (folder / "broken.mp4").write_text("no video at all\n" * 99)
    make_clip(folder / "silent.mp4", seconds=2.0, audio_codec=None)
    return folder


def table_of(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run(inputs: list[Input], wanted: Wanted, out: Path, ingest: IngestParams | None = None) -> list[Row]:
    return list(predict_videos(inputs, wanted, out, ALONE, ingest or IngestParams()))


def test_broken_videos_stop_no_other_and_a_second_run_does_what_is_left(
    model: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no params.yaml here
    words = ["predict", str(videos), "--model", str(model), "--threshold", "0", "--save", "csv"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    assert "2 of 4 videos: predictions/predictions.csv" in done.output
    rows = table_of(tmp_path / "predictions")
    assert [(row["video"], row["status"]) for row in rows] == [
        *(("broken", "corrupt"), ("good", "ok"), ("other", "ok"), ("silent", "no_audio"))
    ]
    assert "cannot be read as a video" in rows[0]["cause"] and "--deaf-model" in rows[3]["cause"]
    made = (tmp_path / "predictions/good/seconds.csv").stat().st_mtime_ns
    assert not (tmp_path / "predictions/broken").exists()

    make_clip(videos / "broken.mp4", seconds=2.0)
    deaf = write_finder(tmp_path / "deaf", audio="none")
    try:
        again = CliRunner().invoke(app, [*words, "--deaf-model", str(deaf)])
    finally:
        (videos / "broken.mp4").write_text("no video at all\n" * 99)
    assert again.exit_code == 0, again.output
    assert "silent (predicted without hearing it" in again.output
    assert [row["deaf"] for row in table_of(tmp_path / "predictions")] == ["False"] * 3 + ["True"]
    assert (tmp_path / "predictions/good/seconds.csv").stat().st_mtime_ns == made


def test_parts_of_videos_and_rates(model: Path, videos: Path, tmp_path: Path) -> None:
    wanted = Wanted(model=model, params=ANYTHING, save=("objects",), rate_hz=4.0)
    inputs = find_inputs([str(videos / "good.mp4")], start_s=0.5, end_s=2.0, scratch=tmp_path / "in")
    (row,) = run(inputs, wanted, tmp_path / "out")
    assert (row.status, row.frames, row.rate_hz, row.duration_s) == ("ok", 6, 4.0, 1.5), row.cause
    assert (row.start_s, row.end_s) == (0.5, 2.0)
    # not the name that ingest gave to the part
    assert json.loads((tmp_path / "out/good/objects.json").read_text())["video"] == "good.mp4"
    assert not (tmp_path / "out" / BROUGHT).exists()
    wanted = Wanted(model=model, params=ANYTHING, save=("objects",), rate_hz=60.0)
    (row,) = run(find_inputs([str(videos / "good.mp4")], scratch=tmp_path), wanted, tmp_path / "fast")
    assert (row.rate_hz, row.frames) == (10.0, 20)
    assert "1 rate clipped: it is higher than the video's own" in row.changes


def test_what_ingest_changed_is_told_and_strict_refuses_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {1: Disposition.default}
    film = make_clip_of_tracks(tmp_path / "film.mkv", [440.0, 880.0], marks=marks, container="matroska")
    wanted = Wanted(model=model, params=ANYTHING, save=("objects",))
    inputs = find_inputs([str(film)], start_s=0.5, end_s=2.5, scratch=tmp_path)  # the part has one track
    (row,) = run(inputs, wanted, tmp_path / "out")
    assert row.changes.startswith("1 sound track guessed: ") and row.changes.endswith(" (2 (aac) of 2)")
    (row,) = run(inputs, replace(wanted, strict=True), tmp_path / "out")
    assert (row.status, row.cause.startswith("Reading changed something, and strict")) == ("error", True)
    monkeypatch.chdir(tmp_path)
    words = ["predict", str(film), "--model", str(model), "--strict", "--save", "objects"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "2 (aac) of 2" in str(done.exception)


@pytest.fixture
def site(videos: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(videos))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_come_through_ingest_with_its_reasons(model: Path, site: str, tmp_path: Path) -> None:
    wanted = Wanted(model=model, params=ANYTHING, save=("objects",))
    ingest = IngestParams(attempts=1, sleep_s=0)
    inputs = find_inputs([f"{site}/good.mp4", f"{site}/gone.mp4"], scratch=tmp_path)
    rows = {row.source.rpartition("/")[2]: row for row in run(inputs, wanted, tmp_path / "out", ingest)}
    assert (rows["good.mp4"].status, rows["good.mp4"].objects) == ("ok", 2), rows["good.mp4"].cause
    assert rows["gone.mp4"].status == "removed"
    assert len(table_of(tmp_path / "out")) == 2
    small = ingest.model_copy(update={"max_file_gb": 1e-6})
    (row,) = run(inputs[:1], wanted, tmp_path / "small", small)
    assert row.status == "too_large" and "larger than the 1e-06 GB that --max-gb allows" in row.cause


def test_workers_are_as_many_as_the_free_memory_has_room_for(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Wanted(model=model, params=ANYTHING, save=())
    monkeypatch.setattr(run_module, "memory_bytes", lambda _: 1e12)
    for free, fit in ((100e9, 8), (4e9, 2), (1e6, 1)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        assert run_module._that_fit(8, wanted) == fit
    assert "2 of 8 workers fit: each needs 1.5 GB, 4.0 GB are free" in capsys.readouterr().err


def test_a_full_disk_leaves_what_is_finished(
    model: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(model=model, params=ANYTHING, save=("objects",))
    run(find_inputs([str(videos / "good.mp4")], scratch=tmp_path), wanted, tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(one_video, "write_json", full)
    both = find_inputs([str(videos / "good.mp4"), str(videos / "other.mp4")], scratch=tmp_path)
    with pytest.raises(AvisError, match="the disk is full"):
        run(both, wanted, tmp_path / "out")
    assert [row["video"] for row in table_of(tmp_path / "out")] == ["good"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good", "predictions.csv"]
    monkeypatch.setattr(run_module, "write_csv", full)  # the table finds no room either
    with pytest.raises(AvisError, match="the disk is full"):
        run(both, wanted, tmp_path / "out")
