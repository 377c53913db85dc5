"""A bucket's server that tells no size, sends less, more, other bytes than it told, or hardly any."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from components.core.run import pace
from components.core.storage import s3_object
from components.core.storage.s3_object import StorageError, fetch_object, head_of

CONTENT = bytes(range(250)) * 4


class Bucket(BaseHTTPRequestHandler):
    """The key says how it behaves."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None: ...

    def do_HEAD(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        told = {"none": None, "vast": "9" * 30, "digits": "9" * 5000, "words": "many", "minus": "-5"}
        length = told.get(name, str(len(CONTENT)))
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        begin, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        part = CONTENT[int(begin) : int(end or len(CONTENT)) + 1]
        self.send_response(206 if end else 200)
        if name in ("endless", "slow"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                while True:
                    piece = part if name == "endless" else b"x"
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    if name == "slow":
                        self.server.slowly.wait(0.02)  # type: ignore[attr-defined]
            except OSError:
                self.close_connection = True
            return
        part = part[:-1] if name == "short" else part
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        server.slowly = threading.Event()  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{server.server_port}", region_name="us-east-1",
            aws_access_key_id="a", aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
        server.slowly.set()  # type: ignore[attr-defined]
        server.shutdown()


def fetch(client: Any, key: str, target: Path) -> bytes:
    fetch_object(client, "bucket", key, head_of(client, "bucket", key), target)
    return target.read_bytes()


def test_what_was_told_arrives_whole_and_in_parts(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(client, "whole", tmp_path / "a") == CONTENT
    monkeypatch.setattr(s3_object, "PART_BYTES", 301)
    assert fetch(client, "whole", tmp_path / "b") == CONTENT


def test_an_endless_body_ends_where_its_size_was_told(client: Any, tmp_path: Path) -> None:
    assert fetch(client, "endless", tmp_path / "a") == CONTENT


@pytest.mark.parametrize("key", ["none", "vast", "digits", "words", "minus", "short", "slow"])
def test_what_is_no_size_or_does_not_come_is_one_message(
    client: Any, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(s3_object, "TRIES", 1)
    with pytest.raises((StorageError, BotoCoreError)):
        fetch(client, key, tmp_path / "a")
