"""How long ingest takes for many small files of a loopback server, beside the way of video2dataset.

Run from the repository root: python benchmarks/ingestion.py [--items 500] [--workers 2]

Three ways, in turn, with as many processes each:
- ours: the ingest stage: every file is downloaded, decoded end to end, hashed, journalled and indexed;
- theirs: shards of 50; per item a downloader (yt-dlp) of its own, files into a tar per shard; nothing is
  looked at, and a shard that was not finished begins anew. It is the way, not video2dataset itself;
- bare: the file is fetched (http.client) and decoded, and nothing else: what no way can do without.

Addresses are of two kinds. `file` ends in .mp4: ours fetches it without yt-dlp (so does video2dataset, with
`requests`; "theirs" here does not). `page` has no ending: both go through yt-dlp's generic extractor.

Overhead of an item: (wall of ours - wall of bare) x workers / items. Targets: 2x as fast as theirs, 30 ms.
"""

import argparse
import csv
import http.client
import multiprocessing
import platform
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from components.core.media.decode import decode
from components.core.media.sound import Soundtrack
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest.params import IngestParams
from components.ingest.stage import ingest

SHARD = 50


class Handler(BaseHTTPRequestHandler):
    """Serves one clip under every name."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as real servers do; else every second answer waits 40 ms
    clip = b""

    def log_message(self, *arguments: object) -> None: ...

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        self.wfile.write(self.clip)

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(self.clip)))
        self.end_headers()


def serve(clip: bytes, port: "multiprocessing.Queue[int]") -> None:
    """Run the server, in a process of its own."""
    Handler.clip = clip
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.put(server.server_address[1])
    server.serve_forever()


def ours(urls: list[str], folder: Path, workers: int) -> None:
    """The stage."""
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source"])
        writer.writerows([f"v{number:04d}", url] for number, url in enumerate(urls))
    index = ingest(
        IngestParams(manifest=str(manifest)), EngineParams(workers=workers), Paths(folder / "data")
    )
    assert index.counts() == {"ok": len(urls)}, index.counts()


def theirs(urls: list[str], folder: Path, workers: int) -> None:
    """Shards, a fresh downloader per item."""
    shards = [
        (number, urls[begin : begin + SHARD]) for number, begin in enumerate(range(0, len(urls), SHARD))
    ]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(_shard, folder), shards))


def _shard(folder: Path, shard: tuple[int, list[str]]) -> None:
    import yt_dlp

    number, urls = shard
    with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
        for item, url in enumerate(urls):
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                target = Path(temporary) / "video.mp4"
                options = {
                    "outtmpl": str(target),
                    "format": "bv*[height<=720]+ba/b",
                    "quiet": True,
                    "noprogress": True,
                    "no_warnings": True,
                }
                with yt_dlp.YoutubeDL(options) as downloader:
                    downloader.download([url])
                tar.add(target, f"{number:05d}{item:04d}.mp4")


def bare(urls: list[str], folder: Path, workers: int) -> None:
    """Transfer and decoding, nothing else."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(_bare, folder), list(enumerate(urls)), chunksize=10))


def _bare(folder: Path, item: tuple[int, str]) -> None:
    number, url = item
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", parts.path)
    path = folder / f"{number}.mp4"
    path.write_bytes(connection.getresponse().read())
    connection.close()
    for _ in decode(path, Soundtrack(rate_hz=16_000), threads=1):
        pass


def timed(way: Callable[[list[str], Path, int], None], urls: list[str], workers: int) -> float:
    """Wall time in an empty folder, seconds."""
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        way(urls, Path(temporary), workers)
        return time.perf_counter() - start


def main() -> None:
    """Serve a clip and time the ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", type=Path, required=True, help="the small video that is served")
    arguments = parser.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(arguments.clip.read_bytes(), port), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{port.get(timeout=30)}"
    size_kb = arguments.clip.stat().st_size / 1e3
    print(f"{platform.machine()}, {arguments.workers} workers, {arguments.items} files of {size_kb:.0f} kB")
    try:
        for kind, ending in (("file", ".mp4"), ("page", "")):
            urls = [f"{address}/{kind}/{number}{ending}" for number in range(arguments.items)]
            rounds = [
                {way.__name__: timed(way, urls, arguments.workers) for way in (bare, ours, theirs)}
                for _ in range(arguments.rounds)
            ]
            median = {name: statistics.median(times[name] for times in rounds) for name in rounds[0]}
            overhead_ms = (median["ours"] - median["bare"]) * arguments.workers / arguments.items * 1000
            for name in median:
                each = ", ".join(f"{times[name]:.1f}" for times in rounds)
                print(f"{kind}  {name:6}  {median[name]:6.1f} s  ({each})")
            ratio = median["theirs"] / median["ours"]
            print(f"{kind}  ours is {ratio:.1f}x as fast as theirs; overhead {overhead_ms:.1f} ms an item")
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
