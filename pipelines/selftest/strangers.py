"""What strangers send: answers of servers, weights, annotation files, texts; tried on the real stages."""

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np

from components.core.media.encode import write_video
from components.core.run.errors import AvisError
from components.core.run.files import csv_text, write_csv
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.text.terminal import plain
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.tools.convert import convert
from models.weight_files.checkpoint_file import read_checkpoint
from pipelines.selftest.verdict import DidNotHold, hold

EXPECTED = {  # path on the server: status of the entry
    "good": "ok",
    "gone": "removed",
    "huge": "too_large",
    "inside": "bad_entry",
    "page": "unsupported",
    "cut": "corrupt",
    "stalls": "timeout",
}


class _Strange(BaseHTTPRequestHandler):
    """Answers as the path says."""

    video: ClassVar[bytes]
    over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        name = self.path.strip("/").removesuffix(".mp4")
        body = {"page": b"<html><title>No video</title></html>", "cut": self.video[: len(self.video) // 2]}
        if name == "gone":
            self.send_error(404)
        elif name == "inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.end_headers()
        else:
            content = body.get(name, self.video)
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if name == "page" else "video/mp4")
            self.send_header("Content-Length", str(10**15 if name == "huge" else len(content)))
            self.end_headers()
            if name == "stalls":
                self.over.wait()
            else:
                self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def _server(video: bytes) -> Iterator[str]:
    over = threading.Event()
    handler = type("_Handler", (_Strange,), {"video": video, "over": over})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            over.set()
            server.shutdown()


def web_server(folder: Path) -> str:
    """Ingest of a good video and six strange answers: a typed status for each, and the good one is there."""
    film = folder / "film.mp4"
    pictures = (np.full((96, 128, 3), 20 * k, np.uint8) for k in range(10))
    sound = (np.zeros((8000, 2), np.float32) for _ in range(2))
    write_video(film, pictures, frame_rate_hz=5, audio=sound, audio_rate_hz=8000)
    manifest = folder / "manifest.csv"
    with _server(film.read_bytes()) as address:
        rows = [{"video_id": name, "source": f"{address}/{name}.mp4"} for name in EXPECTED]
        write_csv(manifest, ["video_id", "source"], rows)
        params = IngestParams(
            manifest=str(manifest), attempts=1, item_timeout_s=8, min_duration_s=0.5, max_failed_share=1
        )
        index = ingest(params, EngineParams(workers=2), Paths(folder / "data"))
        found = {row.video_id: row.status.value for row in index}
    wrong = {name: status for name, status in found.items() if status != EXPECTED[name]}
    hold(f"not as expected: {wrong}", is_so=not wrong and found.keys() == EXPECTED.keys())
    return ", ".join(f"{name}: {status}" for name, status in found.items())


class _Code:
    """Pickled, it would make a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.mark), "w")


def weights(folder: Path) -> str:
    """A pickle with code in it and a file that was cut: refused, and no code runs."""
    mark = folder / "ran"
    files = {"code.pth": pickle.dumps({"model": _Code(mark)}), "cut.safetensors": b"\x40" + bytes(7) + b"{"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
        try:
            read_checkpoint(folder / name)
        except ValueError:
            continue
        raise DidNotHold(f"{name} was loaded")
    hold("code of the file ran", is_so=not mark.exists())
    return "both refused by name, no code ran"


def annotations(folder: Path) -> str:
    """Entities that multiply, lists in lists, numbers without end: one message each."""
    entities = "".join(f'<!ENTITY a{k} "{f"&a{k - 1};" * 10}">' for k in range(1, 9))
    bombs = {
        "cvat.xml": f'<!DOCTYPE x [<!ENTITY a0 "a">{entities}]><annotations>&a8;</annotations>',
        "deep.json": '{"annotations": ' + "[" * 200_000,
        "number.json": '{"videos": [{"id": 1, "width": ' + "9" * 5000 + "}]}",
    }
    for name, text in bombs.items():
        (folder / name).write_text(text)
        try:
            convert(folder / name, folder / "out.json", target_format="aviseg")
        except AvisError:
            continue
        raise DidNotHold(f"{name} was taken")
    return f"{len(bombs)} files refused by name"


def texts(folder: Path) -> str:
    """A name that would be a formula in a table, or a command of the terminal; an address with a password."""
    table = csv_text(["name"], [{"name": '=HYPERLINK("http://x")'}])
    hold(
        f"a formula stands in a table: {table!r}", is_so=not table.splitlines()[1].lstrip('"').startswith("=")
    )
    shown = plain("\x1b]0;owned\x07\u202egpj.exe")
    hold(f"control signs reach the terminal: {shown!r}", is_so="\x1b" not in shown and "\u202e" not in shown)
    address = plain("http://user:hidden-word@example.org/a.mp4?signature=hidden-word")
    hold(f"a password is shown: {address}", is_so="hidden-word" not in address)
    return f"formulas and commands are text; addresses read {address}"
