"""Servers on loopback that would never end: pages that unpack without end, files and pages that drip."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.core.raw.index import Status
from components.core.run import pace
from components.ingest.address import parse_source
from components.ingest.fetch import fetch
from components.ingest.params import IngestParams
from components.ingest.status import DownloadError
from components.ingest.web import limits

FILE = bytes(range(256)) * 1024


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if "page" in self.path else "video/mp4")
        if "packed" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has had enough
            if "drip" in self.path:
                while not ended.wait(0.02):
                    self.wfile.write(b"<")
            elif "packed" in self.path:
                self.wfile.write(gzip.compress(b"<html>" + b" " * (4 << 20)))
            elif "large" in self.path:
                self.wfile.write(b"<html>" + b" " * (4 << 20))
            else:
                self.wfile.write(FILE)


ended = threading.Event()


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    ended.clear()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    ended.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("drip.mp4", Status.TIMEOUT, "bytes a second, too few to wait for"),
        ("dripping_page", Status.TIMEOUT, "bytes a second, too few to wait for"),
        ("packed_page", Status.TOO_LARGE, "a page of more than 1 MiB"),
        ("large_page", Status.TOO_LARGE, "a page of more than 1 MiB"),
    ],
)
def test_what_would_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str, status: Status, says: str
) -> None:
    monkeypatch.setattr(limits, "_MOST_PAGE_BYTES", 1 << 20)
    if "drip" in name:
        monkeypatch.setattr(pace, "_PATIENCE_S", 0.2)
    with pytest.raises(DownloadError, match=says) as caught:
        fetch(parse_source(f"{url}/{name}"), tmp_path, IngestParams(attempts=1))
    assert caught.value.status is status


def test_a_file_comes_whole(tmp_path: Path, url: str) -> None:
    download = fetch(parse_source(f"{url}/a.mp4"), tmp_path, IngestParams(attempts=1))
    assert download.files[0].read_bytes() == FILE
