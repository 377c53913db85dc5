"""What ingest has, it keeps: through changed settings, bad rows, damage and a second run beside the first."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from av.stream import Disposition

from components.core.raw.index import RawEntry, RawIndex
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.records.changes import changes_of_text
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest import stage
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from tests.support.clips import make_clip, make_clip_of_tracks

pytestmark = pytest.mark.integration
ENGINE = EngineParams(workers=1)


class Counting(SimpleHTTPRequestHandler):
    asked: "list[str]" = []  # noqa: RUF012 (of the one server)
    is_down = False

    def log_message(self, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.is_down:
            self.send_error(404)
        else:
            super().do_GET()


@pytest.fixture()
def url(tmp_path: Path) -> Iterator[str]:
    for name in ("a", "b"):
        make_clip(tmp_path / "served" / f"{name}.mp4", seconds=2, size=(96, 64))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(tmp_path / "served")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Counting.asked.clear()
    Counting.is_down = False
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def run(tmp_path: Path, entries: "list[ManifestEntry]", **changes: object) -> "dict[str, RawEntry]":
    write_manifest(tmp_path / "m.csv", entries)
    values = {"manifest": str(tmp_path / "m.csv"), "backoff_s": 0.01, **changes}
    return {row.video_id: row for row in ingest(IngestParams(**values), ENGINE, Paths(tmp_path / "data"))}


def test_how_one_gets_there_decides_nothing_about_what_is_there(tmp_path: Path, url: str) -> None:
    entries = [ManifestEntry(name, f"{url}/{name}.mp4") for name in ("a", "b")]
    run(tmp_path, entries)
    asked = len(Counting.asked)
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\nexample.org\tFALSE\t/\tFALSE\t0\tname\tvalue\n")
    for changes in ({"proxy": "http://127.0.0.1:9"}, {"cookies_file": str(cookies)}):
        assert {row.status.value for row in run(tmp_path, entries, **changes).values()} == {"ok"}
    digest = sha256_file(tmp_path / "served" / "a.mp4")
    run(tmp_path, [ManifestEntry("a", f"{url}/a.mp4", sha256=digest), entries[1]])  # it is that very file
    assert len(Counting.asked) == asked


def test_a_video_of_other_settings_is_better_than_none(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [ManifestEntry(name, f"{url}/{name}.mp4") for name in ("a", "b")]
    before = run(tmp_path, entries)
    Counting.is_down = True
    after = run(tmp_path, entries, max_height_px=360)
    assert after == before
    assert "2 videos could not be fetched anew" in capsys.readouterr().err
    assert (tmp_path / "data" / "raw" / "a.mp4").exists()
    Counting.is_down = False
    assert run(tmp_path, entries, max_height_px=360)["a"].fingerprint != before["a"].fingerprint


def test_a_bad_row_stops_no_other(tmp_path: Path, url: str) -> None:
    bad = ["http://[::1/x.mp4", "file://[x/b.mp4", "x" * 300, "ftp://example.org/a.mp4"]
    entries = [ManifestEntry(f"bad{number}", text) for number, text in enumerate(bad)]
    rows = run(tmp_path, [*entries, ManifestEntry("a", f"{url}/a.mp4")])
    assert [row.status.value for row in rows.values()] == ["bad_entry"] * 4 + ["ok"]


def test_a_failure_is_asked_for_again_when_the_cookies_change(tmp_path: Path, url: str) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\nexample.org\tFALSE\t/\tFALSE\t0\tname\tvalue\n")
    entries = [ManifestEntry("a", f"{url}/a.mp4"), ManifestEntry("gone", f"{url}/gone.mp4")]
    run(tmp_path, entries, cookies_file=str(cookies))
    asked = Counting.asked.count("/gone.mp4")
    run(tmp_path, entries, cookies_file=str(cookies))
    assert Counting.asked.count("/gone.mp4") == asked
    cookies.write_text("# Netscape HTTP Cookie File\nexample.org\tFALSE\t/\tFALSE\t0\tname\tbetter\n")
    run(tmp_path, entries, cookies_file=str(cookies))
    assert Counting.asked.count("/gone.mp4") == asked + 1


@pytest.mark.parametrize("content", [None, "no cookies at all", "# Netscape HTTP Cookie File\n"])
def test_cookies_that_help_nobody_are_refused(tmp_path: Path, url: str, content: str | None) -> None:
    cookies = tmp_path / "cookies.txt"
    if content is not None:
        cookies.write_text(content)
    with pytest.raises(AvisError, match="file of cookies cannot be used"):
        run(tmp_path, [ManifestEntry("a", f"{url}/a.mp4")], cookies_file=str(cookies))
    assert Counting.asked == [] and cookies.exists() == (content is not None)


def test_a_damaged_index_and_a_damaged_journal_cost_no_videos(tmp_path: Path, url: str) -> None:
    entries = [ManifestEntry(name, f"{url}/{name}.mp4") for name in ("a", "b")]
    run(tmp_path, entries)
    raw = tmp_path / "data" / "raw"
    index = (raw / "index.parquet").read_bytes()
    (raw / "index.parquet").write_text("foo")
    for _ in range(2):  # a refusal leaves nothing that would let the next run through
        with pytest.raises(AvisError, match=r"the index is damaged.*dvc checkout --force"):
            run(tmp_path, entries)
    assert (raw / "a.mp4").exists()
    (raw / "index.parquet").unlink()
    with pytest.raises(AvisError, match="files that it did not write"):
        run(tmp_path, entries)
    (raw / "index.parquet").write_bytes(index)
    asked = len(Counting.asked)
    run(tmp_path, entries)
    assert len(Counting.asked) == asked


def test_two_runs_at_once_are_refused(tmp_path: Path, url: str) -> None:
    entries = [ManifestEntry("a", f"{url}/a.mp4")]
    run(tmp_path, entries)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path;"
            "from components.core.run.output_folder import alone_in\n"
            "with alone_in(Path(sys.argv[1]), 'ingest'): print('held', flush=True); time.sleep(60)",
            str(tmp_path / "data" / "raw"),
        ],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(AvisError, match="another run of ingest is at work there"):
            run(tmp_path, entries)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            run(tmp_path, entries)
            return
        except AvisError:
            time.sleep(0.1)
    pytest.fail("the lock outlived its holder")


def test_which_track_was_taken_stands_in_the_index_also_of_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {1: Disposition.default}
    film = make_clip_of_tracks(tmp_path / "film.mkv", [440.0, 880.0], marks=marks, container="matroska")
    plain = make_clip(tmp_path / "plain.mp4", seconds=2, size=(96, 64))
    entries = [
        ManifestEntry("whole", str(film)),
        ManifestEntry("cut", str(film), start_s=0.5, end_s=2.5),
        ManifestEntry("plain", str(plain)),
    ]
    rows = run(tmp_path, entries)
    assert [rows[name].status for name in ("whole", "cut", "plain")] == ["ok"] * 3
    for name in ("whole", "cut"):
        (taken,) = changes_of_text(rows[name].changes or "")
        assert (taken.kind, taken.unit, taken.examples) == ("guessed", "sound track", ["2 (aac) of 2"])
    assert rows["plain"].changes is None
    together = RawIndex(tmp_path / "data" / "raw" / "index.parquet").changes()
    assert together.line() == "2 sound tracks guessed"
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("engine: {workers: 1}\ningest: {manifest: m.csv, strict: true}\n")
    with pytest.raises(AvisError, match=r"strict .*: 2 sound tracks guessed"):
        stage._run()
