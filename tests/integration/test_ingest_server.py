"""Ingest against a real server that misbehaves on purpose, and through kill -9."""

import contextlib
import csv
import gzip
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from components.core.raw.index import RawEntry, RawIndex, Status, read_raw_index
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest.params import IngestParams
from components.ingest.stage import check_share, ingest
from tests.support.clips import make_clip

pytestmark = pytest.mark.integration


class Server(ThreadingHTTPServer):
    """Serves one good clip under many names; what goes wrong is in the name. Counts the requests."""

    def __init__(self, clip: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clip = clip
        self.requests: Counter[str] = Counter()
        self.bytes_sent: Counter[str] = Counter()
        self.asked_at_s: dict[str, list[float]] = defaultdict(list)
        self.ranges: dict[str, list[str | None]] = defaultdict(list)
        self.limited_until_s = 0.0
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        name = self.path.split("?")[0].rsplit("/", 1)[-1].split(".")[0]
        self.server.requests[name] += 1
        self.server.asked_at_s[name].append(time.monotonic())
        self.server.ranges[name].append(self.headers.get("Range"))
        time.sleep(self.server.delay_s)
        if name.isdigit():
            self.send_error(int(name))
        elif name == "unsteady" and self.server.requests[name] <= 2:
            self.send_error(500)
        elif name == "limited" and self.server.requests[name] == 1:
            self._refuse(429, "1")
            self.server.limited_until_s = time.time() + 0.9
        elif name == "page":
            self._send(b"<html><body><h1>Come and see</h1></body></html>", "text/html")
        elif name == "pretender":
            self._send(b"<html><body><h1>Come and see</h1></body></html>" * 40, "video/mp4")
        elif name == "tofile":
            self._redirect("file:///etc/hostname")
        elif name == "toprivate":
            self._redirect("http://10.255.255.1/a.mp4")
        elif name == "tometadata":
            self._redirect("http://169.254.169.254/a.mp4")
        elif name == "tohere":
            self._redirect("/moved.mp4")
        elif name == "wronglength":
            self._send(self.server.clip, "video/mp4", promised=len(self.server.clip) + 5000)
        elif name == "limiteddate" and self.server.requests[name] == 1:
            self._refuse(429, formatdate(math.ceil(time.time()) + 1, usegmt=True))
        elif name == "busy" and self.server.requests[name] == 1:
            self._refuse(503, "1")
        elif name == "loop":
            self._redirect(self.path)
        elif name == "manyheaders":
            self._send(self.server.clip, "video/mp4", headers={f"X-Header-{k}": "x" * 50 for k in range(500)})
        elif name == "hugeheader":
            self._send(self.server.clip, "video/mp4", headers={"X-Header": "x" * 1_000_000})
        elif name == "gzipped":
            self._send(gzip.compress(self.server.clip, 0), "video/mp4", headers={"Content-Encoding": "gzip"})
        elif name == "chunked":
            self._send_chunks(self.server.clip)
        elif name == "choppedoff":
            self._send_chunks(self.server.clip[: len(self.server.clip) // 2], is_whole=False)
        elif name in ("petabyte", "terabytes"):
            self._send(self.server.clip, "video/mp4", promised=10**15 if name == "petabyte" else 10**13)
        elif name == "digits":
            self._send(self.server.clip, "video/mp4", promised=10**4000)
        elif name == "endless":
            with contextlib.suppress(OSError):  # the client has had enough
                self._send_chunks(self.server.clip * 100)
        elif name == "trickle":
            self._trickle()
        elif name == "norange":
            half = len(self.server.clip) // 2 if self.server.requests[name] == 1 else None
            self._send(self.server.clip, "video/mp4", part=half)
        elif name == "changed":  # after the first half another file lies there
            if self.server.requests[name] == 1:
                other = bytes(len(self.server.clip))
                self._send(other, "video/mp4", part=len(other) // 2, headers={"ETag": '"old"'})
            elif self.headers.get("If-Range") == '"old"':
                self._send(self.server.clip, "video/mp4", headers={"ETag": '"new"'})
            else:
                self._send_range(name)
        elif name == "shrunk" and self.headers.get("Range"):
            self._refuse(416)
        elif name == "shrunk" and self.server.requests[name] == 1:
            self._send(self.server.clip, "video/mp4", part=len(self.server.clip) // 2)
        elif name == "empty":
            self._send(b"", "video/mp4")
        else:
            self._send_range(name)

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _refuse(self, status: int, retry_after: str | None = None) -> None:
        self.send_response(status)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(
        self,
        content: bytes,
        kind: str,
        promised: int | None = None,
        headers: dict[str, str] | None = None,
        part: int | None = None,
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(promised if promised is not None else len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(OSError):  # the client has seen enough
                self.wfile.write(content[:part])
        if promised is not None or part is not None:
            self.close_connection = True

    def _send_chunks(self, content: bytes, *, is_whole: bool = True) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for first in range(0, len(content), 1000):
            piece = content[first : first + 1000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if is_whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def _trickle(self) -> None:
        """A byte now and then: never silent for long enough to time out."""
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(self.server.clip)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.clip[:40_000])
            for byte in self.server.clip[40_000:40_400]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)

    def _send_range(self, name: str) -> None:
        clip = self.server.clip
        first = 0
        if self.headers.get("Range"):
            first = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(clip) - first))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{len(clip) - 1}/{len(clip)}")
        self.end_headers()
        part = clip[first:]
        if name == "cutoff" and self.server.bytes_sent[name] < len(clip) // 2:
            part = part[: len(clip) // 2]  # the connection breaks in the middle, once
            self.close_connection = True
        try:
            self.wfile.write(part)
        except OSError:
            return  # the client has seen enough
        self.server.bytes_sent[name] += len(part)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_clip(tmp_path_factory.mktemp("clip") / "good.mp4", seconds=3, size=(320, 240))
    with path.open("ab") as file:  # a box to be skipped, so that there is something to resume
        file.write((200_008).to_bytes(4, "big") + b"free" + bytes(200_000))
    return path


@pytest.fixture()
def server(clip: Path) -> Iterator[Server]:
    running = Server(clip.read_bytes())
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join(5)


def write_manifest(path: Path, sources: dict[str, str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source"])
        writer.writerows(sources.items())


def run(tmp_path: Path, sources: dict[str, str], **changes: object) -> dict[str, RawEntry]:
    write_manifest(tmp_path / "manifest.csv", sources)
    params = IngestParams(
        **{"manifest": str(tmp_path / "manifest.csv"), "backoff_s": 0.05, "item_timeout_s": 60.0, **changes}
    )
    rows = ingest(params, EngineParams(workers=2), Paths(tmp_path / "data"))
    assert [row.video_id for row in rows] == list(sources)
    return {row.video_id: row for row in rows}


def test_each_misbehaviour_has_its_status(tmp_path: Path, server: Server) -> None:
    expected = {
        "good": Status.OK,
        "unsteady": Status.OK,
        "limited": Status.OK,
        "cutoff": Status.OK,
        "tohere": Status.OK,
        "limiteddate": Status.OK,
        "busy": Status.OK,
        "gzipped": Status.OK,
        "chunked": Status.OK,
        "norange": Status.OK,
        "changed": Status.OK,
        "shrunk": Status.OK,
        "choppedoff": Status.NETWORK,
        "manyheaders": Status.NETWORK,
        "hugeheader": Status.NETWORK,
        "loop": Status.UNSUPPORTED,
        "404": Status.REMOVED,
        "410": Status.REMOVED,
        "403": Status.LOGIN_REQUIRED,
        "451": Status.GEO_BLOCKED,
        "503": Status.NETWORK,
        "page": Status.UNSUPPORTED,
        "pretender": Status.CORRUPT,
        "empty": Status.NETWORK,
        "wronglength": Status.NETWORK,
        "tofile": Status.BAD_ENTRY,
        "toprivate": Status.BAD_ENTRY,
        "tometadata": Status.BAD_ENTRY,
    }
    rows = run(tmp_path, {name: f"{server.url}/{name}.mp4" for name in expected})
    found = {name: (rows[name].status, rows[name].message) for name in expected}
    assert {name: status for name, (status, _) in found.items()} == expected, found
    good = rows["good"].sha256
    for name, status in expected.items():
        path = tmp_path / "data" / "raw" / f"{name}.mp4"
        assert path.exists() == (status is Status.OK), name
        assert (rows[name].sha256 == good) == (status is Status.OK), name
        assert rows[name].message or status is Status.OK, name
    assert rows["503"].attempts == 3
    assert rows["404"].attempts == 1
    assert rows["unsteady"].attempts > 1 or server.requests["unsteady"] > 2
    half = len(server.clip) // 2
    assert len(server.clip) <= server.bytes_sent["cutoff"] < len(server.clip) + 20_000  # what was had stays
    for name in ("cutoff", "norange", "changed", "shrunk"):
        first, second, *more = server.ranges[name]
        assert first is None and second is not None, name
        assert half - 20_000 < int(second.removeprefix("bytes=").removesuffix("-")) <= half, name
        assert more == ([None] if name == "shrunk" else []), name
    first_s, second_s, third_s = server.asked_at_s["503"]
    assert second_s - first_s >= 0.025 and third_s - second_s >= 0.05  # backoff_s * 2**k, with jitter
    assert server.asked_at_s["busy"][1] - server.asked_at_s["busy"][0] >= 1.0  # its Retry-After
    assert not list((tmp_path / "data" / "raw").glob(".*"))

    requests = server.requests.copy()
    index = (tmp_path / "data" / "raw" / "index.parquet").read_bytes()
    again = run(tmp_path, {name: f"{server.url}/{name}.mp4" for name in expected})
    assert {name: again[name].status for name in expected} == expected
    asked_again = {name for name in expected if server.requests[name] > requests[name]}
    may_pass = {name for name, status in expected.items() if status is Status.NETWORK}
    assert (
        asked_again == may_pass >= {"503", "empty", "wronglength"}
    )  # what may pass, not what is permanent or done
    kept = run(tmp_path, {"good": f"{server.url}/good.mp4", "404": f"{server.url}/404.mp4"})
    assert set(kept) == {"good", "404"}
    assert sorted(p.name for p in (tmp_path / "data" / "raw").iterdir()) == ["good.mp4", "index.parquet"]
    assert index != (tmp_path / "data" / "raw" / "index.parquet").read_bytes()


def test_a_rate_limit_rests_the_whole_queue(tmp_path: Path, server: Server) -> None:
    sources = {"limited": f"{server.url}/limited.mp4"}
    sources |= {f"v{k}": f"{server.url}/v{k}.mp4" for k in range(6)}
    start = time.monotonic()
    rows = run(tmp_path, sources)
    assert {row.status for row in rows.values()} == {Status.OK}
    assert time.monotonic() - start >= 1.0  # the Retry-After
    assert server.requests["limited"] >= 2


def test_a_rate_limit_until_a_date(tmp_path: Path, server: Server) -> None:
    start = time.monotonic()
    rows = run(tmp_path, {"limiteddate": f"{server.url}/limiteddate.mp4"}, pause_s=600.0)
    assert rows["limiteddate"].status is Status.OK
    assert 0.9 <= time.monotonic() - start < 550  # not the pause


def test_a_trickle_ends_as_timeout_and_the_queue_goes_on(tmp_path: Path, server: Server) -> None:
    sources = {"trickle": f"{server.url}/trickle.mp4"} | {f"v{k}": f"{server.url}/v{k}.mp4" for k in range(4)}
    rows = run(tmp_path, sources, item_timeout_s=3.0)
    assert {name: row.status.value for name, row in rows.items()} == {
        name: "timeout" if name == "trickle" else "ok" for name in sources
    }
    assert "took longer than 3 s" in rows["trickle"].message
    asked = server.requests["trickle"]
    run(tmp_path, sources, item_timeout_s=3.0)
    assert server.requests["trickle"] > asked and server.requests["v0"] == 1


def test_a_size_stops_no_other_download(tmp_path: Path, server: Server) -> None:
    """What a server claims is believed up to `max_file_gb`, what it sends is counted."""
    expected = {
        "petabyte.mp4": Status.TOO_LARGE,
        "petabyte": Status.TOO_LARGE,
        "endless.mp4": Status.TOO_LARGE,
        "endless": Status.TOO_LARGE,
        "digits.mp4": Status.TOO_LARGE,
        "digits": Status.TOO_LARGE,
        "good.mp4": Status.OK,
    }
    sources = {name: f"{server.url}/{name}" for name in expected}
    rows = run(tmp_path, sources, max_file_gb=0.004)
    found = {name: (row.status, row.message) for name, row in rows.items()}
    assert {name: status for name, (status, _) in found.items()} == expected, found
    assert "the 0.004 GB that ingest.max_file_gb allows: 1e+06 GB, says" in rows["petabyte.mp4"].message
    assert rows["endless"].message.endswith("the 0.004 GB that ingest.max_file_gb allows")
    assert not list((tmp_path / "data" / "raw").glob(".*"))
    asked = server.requests["petabyte"]
    run(tmp_path, sources, max_file_gb=0.004)
    assert server.requests["petabyte"] == asked
    allowed = run(tmp_path, sources, max_file_gb=0.1)
    assert allowed["endless.mp4"].status is not Status.TOO_LARGE


def test_what_will_not_fit_is_asked_for_again(tmp_path: Path, server: Server) -> None:
    sources = {name: f"{server.url}/{name}" for name in ("terabytes.mp4", "terabytes", "good.mp4")}
    for _ in range(2):
        rows = run(tmp_path, sources, max_file_gb=1e6)
        assert [row.status.value for row in rows.values()] == ["no_room", "no_room", "ok"]
        assert "10000000.0 MB are to come" in rows["terabytes.mp4"].message
    assert server.requests["terabytes"] > 2 * 2


def test_no_rest_left_ends_the_queue(tmp_path: Path, server: Server) -> None:
    sources = {f"v{k}": f"{server.url}/429.mp4?{k}" for k in range(12)}
    rows = run(tmp_path, sources, pause_s=0.1, max_pauses=1)
    assert {row.status for row in rows.values()} == {Status.RATE_LIMITED}
    assert any(row.message.startswith("not tried") for row in rows.values())
    assert server.requests["429"] < 12


def test_kill_and_resume_ends_with_the_same_bytes(tmp_path: Path, server: Server, clip: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, {f"v{k:02d}": f"{server.url}/v{k}.mp4" for k in range(8)})
    params, engine = IngestParams(manifest=str(manifest)), EngineParams(workers=2)
    undisturbed, disturbed = Paths(tmp_path / "a"), Paths(tmp_path / "b")
    ingest(params, engine, undisturbed)
    server.requests.clear()
    server.delay_s = 0.1
    code = (
        "import sys; from pathlib import Path; from components.core.run.params import EngineParams;"
        "from components.core.run.paths import Paths; from components.ingest.params import IngestParams;"
        "from components.ingest.stage import ingest;"
        "ingest(IngestParams(manifest=sys.argv[1]), EngineParams(workers=2), Paths(Path(sys.argv[2])))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(manifest), str(disturbed.root)])
    journal = disturbed.raw / ".journal"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not (journal.exists() and journal.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    workers = psutil.Process(child.pid).children(recursive=True)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    finished = [line.split('"')[1] for line in journal.read_text().splitlines()[1:]]
    assert 3 <= len(finished) < 8
    assert not (disturbed.raw / "index.parquet").exists()
    assert not psutil.wait_procs(workers, timeout=600)[1]  # they end with their stage
    requests = server.requests.copy()
    server.delay_s = 0.0
    ingest(params, engine, disturbed)
    for video_id in finished:
        name = f"v{int(video_id[1:])}"
        assert server.requests[name] == requests[name], "fetched again"
    names = {path.name for path in undisturbed.raw.iterdir()}
    assert names == {path.name for path in disturbed.raw.iterdir()}
    for name in names - {"index.parquet"}:
        assert (undisturbed.raw / name).read_bytes() == (disturbed.raw / name).read_bytes()
    rows = [read_raw_index(paths.raw / "index.parquet") for paths in (undisturbed, disturbed)]
    assert [replace(row, time=None) for row in rows[0]] == [replace(row, time=None) for row in rows[1]]


def test_s3_through_boto3(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's side that reading needs (HEAD and GET of an object) is plain HTTP."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    rows = run(
        tmp_path,
        {"a": "s3://bucket/folder/good.mp4", "b": "s3://bucket/404.mp4", "c": "s3://bucket"}
        | {"d": "s3://bucket/petabyte.mp4"},
    )
    found = {name: row.status.value for name, row in rows.items()}
    assert found == {"a": "ok", "b": "removed", "c": "bad_entry", "d": "too_large"}


def test_same_local_files_give_the_same_index(tmp_path: Path, clip: Path) -> None:
    sources = {"a": str(clip), "-b": clip.as_uri(), "gone": str(tmp_path / "gone.mp4")}
    (tmp_path / "zero.mp4").touch()
    truncated = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(truncated[:3_000])
    sources |= {"zero": str(tmp_path / "zero.mp4"), "cut": str(tmp_path / "cut.mp4")}
    rows = run(tmp_path, sources)
    found = {name: row.status.value for name, row in rows.items()}
    assert found == {"a": "ok", "-b": "ok", "gone": "removed", "zero": "corrupt", "cut": "corrupt"}
    index = tmp_path / "data" / "raw" / "index.parquet"
    before = index.read_bytes()
    run(tmp_path, sources)
    assert index.read_bytes() == before
    (tmp_path / "data" / "raw" / "a.mp4").unlink()  # heals
    run(tmp_path, sources)
    assert index.read_bytes() == before
    (tmp_path / "cut.mp4").write_bytes(truncated)  # mended by the user
    assert run(tmp_path, sources)["cut"].status is Status.OK
    with pytest.raises(AvisError, match="1 removed, 1 corrupt"):
        run(tmp_path, sources)
        check_share(RawIndex(index), 0.1)
