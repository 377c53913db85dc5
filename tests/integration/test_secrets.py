"""Thirty secrets in the environment, a manifest, settings, proxies and servers' answers: none is written."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow.parquet
import pytest

from components.core.raw.index import read_raw_index, write_raw_index
from components.core.records.annotations import read_annotations, write_annotations
from components.core.run.paths import Paths
from tests.support.chat_server import Request, Server, completion, server  # noqa: F401
from tests.support.clips import make_clip
from tests.support.tiny_model import write_square_set

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("quick_python")]

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": "env/aws+secret/01abcd", "AWS_SESSION_TOKEN": "env-session-02abcd",
    "OPENAI_API_KEY": "env-openai-key-03abcd", "HF_TOKEN": "env-hf-token-04abcd",
    "DB_PASSWORD": "env p4ssword&05abcd", "MODEL_A": "env-key-of-no-name-06abcd",
    "GITHUB_TOKEN": "env-github-07abcd", "PREFECT_API_KEY": "env-prefect-08abcd",
}  # fmt: skip
PROXY, NOTIFY = "proxy-pass-09abcd", "mail-pass-10abcd"
# file name of the source -> (what comes before the host, the query); `none…` and numbers are not there
MANIFEST = {
    "user.mp4": ("me:man-pass-11abcd@", ""),
    "slash.mp4": ("me:man%2Fpass-12abcd@", ""),
    "token.mp4": ("man-token-as-user-13abcd@", ""),
    "aws.mp4": ("", "?X-Amz-Credential=man-cred-14abcd&X-Amz-Signature=man-sig-15abcd&X-Amz-Date=20260101"),
    "azure.mp4": ("", "?sv=2024&sig=man-azure-16abcd%3D"),
    "google.mp4": ("", "?X-Goog-Signature=man-goog-17abcd"),
    "plain.mp4": ("", "?token=man-token-18abcd"),
    "key.mp4": ("", "?id=3&api_key=man-key-19abcd"),
    "403.mp4": ("me:man-pass-20abcd@", "?access_token=man-access-21abcd"),
    "404.mp4": ("", "?Signature=man-cloudfront-22abcd"),
    "page.mp4": ("", "?auth=man-auth-23abcd"),
    "elsewhere.mp4": ("", "?jwt=man-jwt-24abcd"),
}
ODD = {
    "scheme": "gopher://me:man-pass-25abcd@127.0.0.1/a.mp4",
    "host": "http://me:man-pass-26abcd@[::1/a.mp4",
}
REDIRECTED = "answered-27abcd"  # a signature that a server thinks of
DIFF = ("diff-pass-28abcd", "diff-key-29abcd")
CATEGORY = "label-pass-30abcd"
SECRETS = [
    *ENVIRONMENT.values(), PROXY, NOTIFY, REDIRECTED, *DIFF, CATEGORY,
    *(f"man-{word}abcd" for word in ("pass-11", "token-as-user-13", "cred-14", "sig-15", "azure-16")),
    *(f"man-{word}abcd" for word in ("goog-17", "token-18", "key-19", "pass-20", "access-21", "auth-23")),
    *(f"man-{word}abcd" for word in ("cloudfront-22", "jwt-24", "pass-25", "pass-26")), "man/pass-12abcd",
]  # fmt: skip


class Web(ThreadingHTTPServer):
    """Serves one clip, also as a proxy; what it refuses it repeats, with all that it was told."""

    def __init__(self, clip: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clip = clip
        self.served: Counter[str] = Counter()
        self.proxied: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = parts.path.lstrip("/")
        self.server.proxied.add(self.headers.get("Proxy-Authorization", ""))
        told = f"{self.headers.get('Authorization')} {self.headers.get('Proxy-Authorization')} {self.path}"
        if name == "elsewhere.mp4":
            self.send_response(302)
            self.send_header("Location", f"/410.mp4?X-Amz-Signature={REDIRECTED}")
            self.end_headers()
        elif name == "page.mp4":
            body = (
                f"<title>{told}</title><h1>{self.path}</h1><video src='/410.mp4{'?' + parts.query}'>".encode()
            )
            self._send(body, "text/html")
        elif name[:3].isdigit():
            self.send_error(int(name[:3]), f"no: {told}"[:900])
        else:
            self.server.served[f"{name} {self.headers.get('Authorization')} {parts.query}"] += 1
            self._send(self.server.clip, "video/mp4")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    clip = make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=1.5).read_bytes()
    with Web(clip) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield http
        http.shutdown()
        thread.join(5)


def echoing(request: Request) -> tuple[int, dict[str, str], bytes]:
    """A model that repeats its key and what else it may have heard of, in every way that there is."""
    told = " ".join([request.key, *ENVIRONMENT.values(), NOTIFY, PROXY])
    coded = [base64.b64encode(f"{pad}{told}".encode()).decode() for pad in ("", "a", "ab")]
    if not request.of("input_audio"):
        return 500, {}, json.dumps({"error": {"message": f"{told} {coded}", "type": "x"}}).encode()
    if not request.of("image_url"):
        return completion(json.dumps({"who": [], "when": [], "where": [], told: [quote(told), *coded]}))
    return completion('{"who": [], "when": [], "where": []}')


def manifest(web: Web, **changes: str) -> str:
    port = web.server_address[1]
    rows = {name: f"http://{user}127.0.0.1:{port}/{name}{query}" for name, (user, query) in MANIFEST.items()}
    rows |= ODD | changes
    return "video_id,source\n" + "".join(f"{name.removesuffix('.mp4')},{row}\n" for name, row in rows.items())


def test_no_secret_is_written_and_nothing_that_needs_one_breaks(
    tmp_path: Path,
    web: Web,
    server: Server,  # noqa: F811
    new_store: Callable[[Path], str],
) -> None:
    server.reply = echoing
    root, paths, said = tmp_path / "work", Paths(tmp_path / "work" / "data"), tmp_path / "said"
    root.mkdir()
    for split in ("train", "val", "test"):
        write_square_set(paths, split)
        annotations = read_annotations(paths.annotations / f"{split}.json")
        annotations.categories[7] = f"http://me:{CATEGORY}@127.0.0.1/"
        write_annotations(paths.annotations / f"{split}.json", annotations)
    given = [paths.annotations / f"{split}.json" for split in ("train", "val", "test")]  # annotate wrote none
    params = {
        "engine": {"workers": 2},
        "ingest": {"manifest": "manifest.csv", "attempts": 1, "max_failed_share": 1},
        "qa": {"waivers": None},
        "mllm": {
            "retries": 0,
            "max_failure_share": 1.0,
            "models": [{"name": "m", "model": "m", "base_url": server.url, "api_key_env": "MODEL_A"}],
        },
    }  # fmt: skip
    (root / "params.yaml").write_text(json.dumps(params))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "t"]):
        subprocess.run([*git, *arguments], cwd=root, check=True)
    (root / "params.yaml").write_text(  # what somebody tried, and has not committed
        json.dumps(params, indent=1) + f"\n# proxy: http://me:{DIFF[0]}@proxy:3128\n"
        f"# curl -H 'Authorization: Bearer {DIFF[1]}'\n"
    )
    given += [root / "params.yaml", root / "manifest.csv"]
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "https_proxy": f"http://me:{PROXY}@proxy.example.org:3128",
        "AVIS_NOTIFY": f"mailto://me:{NOTIFY}@mail.example.org?from=a@b",
        "PYTHONPATH": str(REPOSITORY),
        "MLFLOW_TRACKING_URI": new_store(root),
    }
    proxy = f"http://me:{PROXY}@127.0.0.1:{web.server_address[1]}"
    proxied = {
        **{key: value for key, value in environment.items() if key.upper() != "NO_PROXY"},
        "http_proxy": proxy,
    }

    def run(*command: str, env: dict[str, str] = environment, code: int = 0) -> str:
        with said.open("ab") as file:
            begin = file.tell()
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=root, env=env, stdout=file, stderr=file, check=False
            )
        text = said.read_bytes()[begin:].decode()
        assert done.returncode == code, text
        return text

    (root / "manifest.csv").write_text(manifest(web))
    assert "6 of 14 videos failed" in run("components.ingest", env=proxied)
    first = Counter(web.served)
    assert len(first) == 8 and set(first.values()) == {1}
    assert f"Basic {base64.b64encode(f'me:{PROXY}'.encode()).decode()}" in web.proxied

    # An older version kept addresses whole: such an index is healed, and nothing is fetched anew for it.
    whole = dict(line.split(",") for line in manifest(web).splitlines()[1:])
    index = paths.raw / "index.parquet"
    write_raw_index(index, [replace(row, source=whole[row.video_id]) for row in read_raw_index(index)])

    # The same again asks for nothing; another signature and a lost file are asked for, with what they need.
    (paths.raw / "google.mp4").unlink()
    changed = f"http://127.0.0.1:{web.server_address[1]}/plain.mp4?token=man-token-18abcd-new"
    (root / "manifest.csv").write_text(manifest(web, **{"plain.mp4": changed}))
    run("components.ingest", env=proxied)
    again = web.served - first
    assert again == {
        "plain.mp4 None token=man-token-18abcd-new": 1,
        "google.mp4 None X-Goog-Signature=man-goog-17abcd": 1,
    }
    listed = run("pipelines.cli", "ingest", "status", "--list", "login_required", env=proxied)
    assert re.search(
        r"^403  login_required  http://\*\*\*@127.0.0.1:\d+/403.mp4\?access_token=\*\*\*", listed
    )
    run("pipelines.cli", "forget", "aws", "user", "--yes")  # what it notes goes to git

    run("components.mllm")
    assert {request.key for request in server.requests} == {f"Bearer {ENVIRONMENT['MODEL_A']}"}
    run("components.qa")
    assert "127.0.0.1" in (paths.qa / "report.html").read_text()

    # A setting that holds one is refused before anything is done with it.
    params["ingest"]["proxy"] = f"http://me:{DIFF[0]}@proxy:3128"
    (root / "params.yaml").write_text(json.dumps(params))
    assert "HTTPS_PROXY" in run("components.ingest", code=1)

    files = [path for path in tmp_path.rglob("*") if path.is_file() and ".git" not in path.parts]
    assert {"mlflow.db", "index.parquet", "answers.jsonl", "run.json", "uncommitted.diff", "said"} <= {
        path.name for path in files
    }
    assert len(set(SECRETS)) == 30
    leaks = {
        path.relative_to(tmp_path).as_posix(): found
        for path in files
        if path not in given and (found := found_in(path.read_bytes(), path.name))
    }
    assert not leaks
    assert len(found_in((root / "manifest.csv").read_bytes())) >= 15  # and it can be found


def test_the_search_finds_what_is_hidden_in_databases_and_archives(tmp_path: Path) -> None:
    secret = SECRETS[0]
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table t (a text, b blob)")
        database.execute("insert into t values (?, ?)", (secret, gzip.compress(secret.encode())))
    table = pyarrow.table({"a": [f"x{secret}"] * 3})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "a.gz").write_bytes(gzip.compress(base64.b64encode(f"ab{secret}".encode())))
    (tmp_path / "a.txt").write_text(quote(f"me:{secret}@", safe=""))
    for path in tmp_path.iterdir():
        assert found_in(path.read_bytes(), path.name) == [secret], path


def found_in(content: bytes, name: str = "") -> list[str]:
    """The secrets in some bytes: as they are, quoted, in base64, in columns, rows and compressed parts."""
    parts = [content]
    if name.endswith(".parquet"):
        parts.append(json.dumps(pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()).encode())
    if content.startswith(b"SQLite format 3\0"):
        with sqlite3.connect(":memory:") as database:
            database.deserialize(content)
            parts.append("\n".join(database.iterdump()).encode(errors="replace"))
    for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", content):
        gzipped = match[0].startswith(b"\x1f")
        try:
            parts.append(
                zlib.decompressobj(31 if gzipped else 15).decompress(content[match.start() :], 1 << 22)
            )
        except zlib.error:
            continue
    return [
        secret for secret in dict.fromkeys(SECRETS) if any(f in part for f in forms(secret) for part in parts)
    ]


def forms(secret: str) -> set[bytes]:
    """How a secret may stand in bytes, wherever in base64 it begins."""
    found = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        json.dumps(secret)[1:-1],
        secret.replace("&", "&amp;"),
    }
    for pad in ("", "a", "ab"):
        coded = base64.b64encode(f"{pad}{secret}".encode()).decode()
        inner = coded[4:-4]  # what neighbours do not change
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found}
