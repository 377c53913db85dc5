"""Ingest and extract on a Ray cluster of two nodes, with videos and media in a real S3 server."""

import csv
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import boto3
import psutil
import pytest
import yaml

from components.core.clips.index import read_media_index
from components.core.raw.index import read_raw_index
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage import s3
from components.core.storage.choice import StorageParams
from components.core.storage.mirror import with_local_media
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.train.stage import train
from tests.integration.test_train_distributed import Project, assert_same_curve
from tests.support.clips import make_clip
from tests.support.processes import PATIENT_RAY
from tests.support.s3_server import environment, make_bucket, s3_server
from tests.support.zygote import REAL_PYTHON

if find_spec("ray") is None:  # not imported here: it starts threads, which forks do not survive
    pytest.skip("Ray is not installed: uv pip install -e '.[ray]'", allow_module_level=True)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("quick_python"),
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[2]
RAY = Path(REAL_PYTHON).with_name("ray")
CLIPS = 12
INGEST = """
import sys
from pathlib import Path
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage.choice import StorageParams
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
if __name__ == "__main__":
    manifest, root, bucket = sys.argv[1:]
    where = Paths(Path(root)), StorageParams(raw=f"s3://{bucket}/raw", media=f"s3://{bucket}/media")
    ingest(IngestParams(manifest=manifest), EngineParams(kind="ray"), *where)
"""


class Slow(SimpleHTTPRequestHandler):
    """Serves files, each after a moment: so that there is a middle in which something can happen."""

    requests: "list[str]" = []  # noqa: RUF012 (of the one server)

    def log_message(self, *arguments: object) -> None: ...

    def do_GET(self) -> None:
        self.requests.append(self.path)
        time.sleep(0.4)
        super().do_GET()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "weed") as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in environment(endpoint).items():
            patch.setenv(name, value)
        s3.s3_client.cache_clear()
        make_bucket(endpoint, "cluster")
        yield "cluster"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        make_clip(folder / f"v{number:02d}.mp4", seconds=2 + number % 2, size=(160, 120))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Slow, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "source"])
        for number in range(CLIPS):
            writer.writerow(
                [f"v{number:02d}", f"http://127.0.0.1:{server.server_address[1]}/v{number:02d}.mp4"]
            )
        writer.writerow(["gone", f"http://127.0.0.1:{server.server_address[1]}/gone.mp4"])
    yield folder / "manifest.csv"
    server.shutdown()
    server.server_close()


class Cluster:
    """A head and a worker node, each with processes of its own, as `ray start` makes them."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            **PATIENT_RAY,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes_before: set[psutil.Process] = set()
        self._start("--head", f"--port={self.address.split(':')[1]}", "--include-dashboard=false")
        self.nodes_before = self._raylets()

    def ingest(self, manifest: Path, root: Path, bucket: str) -> "subprocess.Popen[bytes]":
        """Start the stage, using this cluster."""
        return subprocess.Popen(
            [REAL_PYTHON, "-c", INGEST, str(manifest), str(root), bucket],
            env={**self.environment, "RAY_ADDRESS": self.address},
        )

    def add_node(self) -> "psutil.Process":
        """Add a node; returns its raylet, which ends the node when it dies."""
        self._start(f"--address={self.address}")
        deadline = time.monotonic() + 600
        while not (new := self._raylets() - self.nodes_before):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.nodes_before |= new
        return new.pop()

    def _start(self, *options: str) -> None:
        command = [str(RAY), "start", "--num-cpus=1", "--disable-usage-stats", *options]
        command += ["--node-ip-address=127.0.0.1"]
        command += ["--object-store-memory=100000000"]
        if "--head" in options:
            command += [f"--temp-dir={self.folder}"]
        for _ in range(10):
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600)
            if done.returncode == 0 or "timed out during startup" not in done.stderr:
                break
            # Ray gives a node 30 s, whatever else the machine does. What it started ends before the next try.
            if "--head" in options:
                self.stop()
            for raylet in self._raylets() - self.nodes_before:
                raylet.kill()
        assert done.returncode == 0, done.stdout + done.stderr

    def _raylets(self) -> "set[psutil.Process]":
        found = set()
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] == "raylet" and str(self.folder) in " ".join(
                process.info["cmdline"] or []
            ):
                found.add(process)
        return found

    def stop(self) -> None:
        """End every process of this cluster, and of no other."""
        mine = [
            process
            for process in psutil.process_iter(["cmdline"])
            if str(self.folder) in " ".join(process.info["cmdline"] or []) and process.pid != os.getpid()
        ]
        for process in [*mine, *(child for one in mine for child in _children(one))]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _children(process: "psutil.Process") -> "list[psutil.Process]":
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.fixture()
def cluster(bucket: str) -> Iterator[Cluster]:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets need a short path
    running = Cluster(folder)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def objects(bucket: str, prefix: str) -> "dict[str, str]":
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}


def test_a_node_is_lost_the_stage_is_killed_and_the_bucket_ends_as_undisturbed(
    tmp_path: Path, bucket: str, cluster: Cluster, manifest: Path
) -> None:
    node = cluster.add_node()
    storage = StorageParams(raw=f"s3://{bucket}/raw", media=f"s3://{bucket}/media")
    paths = Paths(tmp_path / "data")

    first = cluster.ingest(manifest, paths.root, bucket)
    journal = paths.raw / ".journal"
    wait_for_lines(journal, 3, first)
    first.kill()
    first.wait()
    finished = [line.split('"')[1] for line in journal.read_text().splitlines()[1:]]
    asked = Slow.requests.copy()

    second = cluster.ingest(manifest, paths.root, bucket)
    wait_for_lines(journal, len(finished) + 3, second)
    node.send_signal(signal.SIGKILL)  # the raylet, and with it its workers
    assert second.wait(200) == 0
    again = Slow.requests[len(asked) :]
    assert not [name for name in finished if f"/{name}.mp4" in again]

    rows = {row.video_id: row for row in read_raw_index(paths.raw / "index.parquet")}
    assert {row.status.value for row in rows.values() if row.video_id != "gone"} == {"ok"}
    assert rows["gone"].status.value == "removed"
    assert [path.name for path in paths.raw.iterdir()] == ["index.parquet"]  # no video on this machine

    undisturbed = Paths(tmp_path / "undisturbed")
    ingest(IngestParams(manifest=str(manifest)), EngineParams(), undisturbed)
    expected = [replace(row, time=None) for row in read_raw_index(undisturbed.raw / "index.parquet")]
    assert [replace(row, time=None) for row in rows.values()] == expected
    assert set(objects(bucket, "raw/")) == {f"raw/v{number:02d}.mp4" for number in range(CLIPS)}

    alone, together = rebuild_on_the_cluster(tmp_path, bucket, cluster)
    assert_same_curve(together, alone)
    assert not together.paths.training_checkpoint("tiny").exists()
    made = extract(ExtractParams(), EngineParams(), undisturbed)
    assert (paths.media / "index.parquet").read_bytes() == (undisturbed.media / "index.parquet").read_bytes()
    assert [path.name for path in paths.media.iterdir()] == ["index.parquet"]
    before = objects(bucket, "media/")
    assert len(before) == sum(row.frames + 1 for row in made if row.status == "ok")
    assert extract(ExtractParams(), EngineParams(), paths, storage) == made
    assert objects(bucket, "media/") == before

    local = with_local_media(paths, ["v00", "v03"], storage)
    files = sorted(path.relative_to(local.media) for path in local.media.rglob("*") if path.is_file())
    assert {path.parts[1] for path in files if path.parts[0] == "frames"} == {"v00", "v03"}
    for path in files:
        if path.parts[0] in ("frames", "audio"):
            assert (local.media / path).read_bytes() == (undisturbed.media / path).read_bytes()
    assert set(read_media_index(local.media / "index.parquet")) == {"v00", "v03"}


GRAPH = """
stages:
  extract:
    cmd: exec python -m components.extract
    deps: [data/raw/index.parquet]
    outs: [data/media/index.parquet: {cache: false, persist: true}]
  train:
    wdir: together
    cmd: exec python -m components.train --variant tiny
    deps: [../data/media/index.parquet]
    outs: [data/model/tiny/model.safetensors: {cache: false}]
"""
FLOW = """
import sys
from pathlib import Path
from pipelines.flows.rebuild import rebuild
sys.exit(not rebuild(root=Path.cwd(), return_state=True).is_completed())
"""


def rebuild_on_the_cluster(root: Path, bucket: str, cluster: Cluster) -> tuple[Project, Project]:
    """Extract and train in one flow run; returns a project trained in one process, and that of the flow."""
    cluster.add_node()
    for name in ("alone", "together"):
        (root / name).mkdir()
    alone, together = Project(root / "alone"), Project(root / "together")
    train("tiny", alone.params, alone.paths)
    settings = yaml.safe_load((together.root / "params.yaml").read_text())
    settings["engine"] = {"kind": "ray", "workers": 2}
    (together.root / "params.yaml").write_text(yaml.safe_dump(settings))
    storage = {"raw": f"s3://{bucket}/raw", "media": f"s3://{bucket}/media"}
    settings = {"engine": {"kind": "ray"}, "extract": {}, "storage": storage}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    (root / "dvc.yaml").write_text(GRAPH)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True)
    where = {"RAY_ADDRESS": cluster.address, "PREFECT_HOME": str(root / "prefect")}
    done = subprocess.run(
        [sys.executable, "-c", FLOW],
        cwd=root,
        env={**cluster.environment, **where},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 Ray workers, on CPUs" in done.stderr + done.stdout
    return alone, together


def wait_for_lines(journal: Path, count: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 600
    while not (journal.exists() and journal.read_bytes().count(b"\n") > count):
        assert process.poll() is None, "the stage ended before its middle"
        assert time.monotonic() < deadline
        time.sleep(0.02)
