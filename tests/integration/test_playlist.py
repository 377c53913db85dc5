"""A feed of a loopback server becomes a manifest, and its videos are fetched."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.core.raw.manifest import read_manifest
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.tools.manifests.from_playlist import manifest_from_playlist
from pipelines.commands.data.manifest import from_playlist
from pipelines.commands.options import Split
from tests.support.clips import make_clip

pytestmark = pytest.mark.integration


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/away.rss":
            self.send_response(302)
            self.send_header("Location", "http://10.255.255.1/feed.rss")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("feed")
    for name in ("one", "two", "three"):
        make_clip(folder / f"{name}.mp4", seconds=2, size=(96, 64))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    address = f"http://127.0.0.1:{server.server_address[1]}"
    items = "".join(
        f"<item><title>{name}</title><link>{address}/{name}.mp4</link>"
        f'<enclosure url="{address}/{name}.mp4" type="video/mp4" length="1"/></item>'
        for name in ("one", "two", "three", "one")
    )
    feed = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Feed</title>{items}</channel></rss>'
    (folder / "feed.rss").write_text(feed)
    (folder / "page.html").write_text("<html><body>nothing here</body></html>")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield address
    server.shutdown()
    server.server_close()


def test_a_feed_is_listed_and_then_fetched(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "manifest.csv"
    from_playlist(f"{url}/feed.rss", out, split=Split.train, limit=None, add=False)
    entries = read_manifest(out)
    assert [entry.source for entry in entries] == [f"{url}/{name}.mp4" for name in ("one", "two", "three")]
    assert {entry.split for entry in entries} == {"train"}
    assert "3 videos" in capsys.readouterr().out
    rows = list(ingest(IngestParams(manifest=str(out)), EngineParams(workers=1), Paths(tmp_path / "data")))
    assert [row.status.value for row in rows] == ["ok"] * 3


def test_a_limit_holds(url: str) -> None:
    assert len(manifest_from_playlist(f"{url}/feed.rss", IngestParams(), limit=2)) == 2


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("page.html", "the list cannot be read|this is no list"),
        ("none.rss", "the list cannot be read: .*404"),
        ("away.rss", "leads to the private address 10.255.255.1"),
        ("one.mp4", "this is no list of videos"),
    ],
)
def test_what_is_no_list_says_so(url: str, page: str, said: str) -> None:
    with pytest.raises(AvisError, match=said):
        manifest_from_playlist(f"{url}/{page}", IngestParams())
