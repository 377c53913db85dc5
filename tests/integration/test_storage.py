"""Files in a folder and in a real S3 server: the same names, the same answers."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest

from components.core.raw.frame_folder import sha256_folder
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage import bucket_check, s3
from components.core.storage.base import Store
from components.core.storage.bucket_check import check_bucket
from components.core.storage.choice import StorageParams, open_store
from components.core.storage.folder import FolderStore
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from tests.support.clips import make_clip
from tests.support.s3_server import READER_KEY, environment, make_bucket, s3_server

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("s3") / "weed") as url:
        make_bucket(url, "bucket")
        yield url


@pytest.fixture()
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in environment(endpoint).items():
        monkeypatch.setenv(name, value)
    s3.s3_client.cache_clear()
    return "bucket"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, bucket: str) -> Store:
    url = None if request.param == "folder" else f"s3://{bucket}/{tmp_path.name}"
    found = open_store(url, tmp_path / "files")
    found.check()
    return found


def write_frames(folder: Path, name: str, count: int) -> str:
    (folder / "frames" / name).mkdir(parents=True, exist_ok=True)
    for file in (folder / "frames" / name).iterdir():
        file.unlink()
    for number in range(count):
        (folder / "frames" / name / f"{number:05d}.jpg").write_bytes(f"{name} {number}".encode())
    return sha256_folder(folder / "frames" / name)


def test_what_is_put_is_listed_hashed_fetched_and_removed(store: Store, tmp_path: Path) -> None:
    with store.workspace() as folder:
        (folder / "a.mp4").write_bytes(b"film")
        (folder / "ab.mp4").write_bytes(b"another")
        digest = write_frames(folder, "a", 12)
        write_frames(folder, "ab", 2)
        for name in ("a.mp4", "ab.mp4", "frames/a", "frames/ab"):
            store.put(folder, name)
    found = store.listing("frames")
    assert {name: (entry.files, entry.size_bytes) for name, entry in found.items()} == {
        "a": (12, sum(len(f"a {n}") for n in range(12))),
        "ab": (2, 8),
    }
    assert {"a.mp4", "ab.mp4"} <= set(store.listing())
    assert store.sha256("a.mp4") == hashlib.sha256(b"film").hexdigest()
    assert store.sha256("frames/a") == digest
    assert store.sha256("b.mp4") is None and store.sha256("frames/b") is None
    got = tmp_path / "got"
    got.mkdir()
    assert store.get("a.mp4", got).read_bytes() == b"film"
    assert sha256_folder(store.get("frames/a", got)) == digest
    store.remove(["a.mp4", "frames/a", "never.mp4"])
    assert set(store.listing("frames")) == {"ab"} and "a.mp4" not in store.listing()
    assert "ab.mp4" in store.listing()


def test_a_bucket_is_tried_and_left_as_it_was(bucket: str) -> None:
    found = "\n".join(check_bucket(f"s3://{bucket}/project"))
    for said in (
        "listing: allowed",
        "listed at once",
        "checksums:",
        "unfinished uploads: listed",
        "in parts",
    ):
        assert said in found
    assert "NOT checked" not in found
    assert s3.S3Store(f"s3://{bucket}/project").listing() == {}


def test_a_bucket_that_cannot_be_used_says_why(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(said: str) -> None:
        s3.s3_client.cache_clear()
        with pytest.raises(AvisError, match=said):
            list(check_bucket(f"s3://{bucket}/project"))

    with monkeypatch.context() as patch:
        patch.setattr(bucket_check, "time", SimpleNamespace(time=lambda: 1e9))
        refused(r"clock is \d+ s behind the server's.*Set it")
    for name, value in {"AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": "testsecret"}.items():
        monkeypatch.setenv(name, value)
    refused("AccessDenied.*These keys lack the right")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    refused("InvalidAccessKeyId.*Correct AWS_ACCESS_KEY_ID")


def test_a_folder_put_again_holds_nothing_of_before(store: Store) -> None:
    for count in (5, 3):
        with store.workspace() as folder:
            digest = write_frames(folder, "a", count)
            store.put(folder, "frames/a")
    assert store.listing("frames")["a"].files == 3
    assert store.sha256("frames/a") == digest


def test_a_folder_sent_by_half_has_no_hash(bucket: str, tmp_path: Path) -> None:
    store = s3.S3Store(f"s3://{bucket}/half")
    write_frames(tmp_path, "a", 4)
    store.put(tmp_path, "frames/a")
    assert store.sha256("frames/a") is not None
    boto3.client("s3").delete_object(Bucket=bucket, Key="half/frames/a/00003.jpg")
    assert store.sha256("frames/a") is None


def test_large_files_go_in_parts_and_unfinished_ones_are_dropped(bucket: str, tmp_path: Path) -> None:
    store = s3.S3Store(f"s3://{bucket}/parts")
    content = os.urandom(20 * 2**20)
    (tmp_path / "large.mp4").write_bytes(content)
    store.put(tmp_path, "large.mp4")
    client = boto3.client("s3")
    assert client.head_object(Bucket=bucket, Key="parts/large.mp4")["ETag"].strip('"').endswith("-2")
    (tmp_path / "got").mkdir()
    assert store.get("large.mp4", tmp_path / "got").read_bytes() == content
    client.create_multipart_upload(Bucket=bucket, Key="parts/killed.mp4")
    client.create_multipart_upload(Bucket=bucket, Key="other/theirs.mp4")
    store.check()
    left = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert [upload["Key"] for upload in left] == ["other/theirs.mp4"]


def test_a_changed_object_is_noticed(bucket: str, tmp_path: Path) -> None:
    store = s3.S3Store(f"s3://{bucket}/changed")
    (tmp_path / "a.mp4").write_bytes(b"film")
    store.put(tmp_path, "a.mp4")
    metadata = {"sha256": hashlib.sha256(b"film").hexdigest()}
    boto3.client("s3").put_object(Bucket=bucket, Key="changed/a.mp4", Body=b"flim", Metadata=metadata)
    (tmp_path / "got").mkdir()
    with pytest.raises(AvisError, match="did not arrive as it was sent"):
        store.get("a.mp4", tmp_path / "got")


def test_what_cannot_be_reached_is_one_message(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AvisError, match=r"NoSuchBucket.*\(s3://missing/x\).*Check storage in params.yaml"):
        s3.S3Store("s3://missing/x").check()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3.s3_client.cache_clear()
    with pytest.raises(AvisError, match=r"S3 answers: .*SignatureDoesNotMatch"):
        s3.S3Store(f"s3://{bucket}/x").check()


def test_without_a_url_the_folder_is_the_store(tmp_path: Path) -> None:
    assert open_store(None, tmp_path) == FolderStore(tmp_path)


def test_what_lies_here_moves_to_the_bucket_and_is_not_made_again(bucket: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, size=(96, 64))
    write_manifest(tmp_path / "m.csv", [ManifestEntry(name, str(clip)) for name in ("a", "b")])
    params, engine, paths = (
        IngestParams(manifest=str(tmp_path / "m.csv")),
        EngineParams(workers=1),
        Paths(tmp_path / "data"),
    )
    before = list(ingest(params, engine, paths)), extract(ExtractParams(), engine, paths)
    storage = StorageParams(raw=f"s3://{bucket}/moved/raw", media=f"s3://{bucket}/moved/media")
    foreign = "moved/raw/not_ours.mp4"
    boto3.client("s3").put_object(Bucket=bucket, Key=foreign, Body=b"theirs")
    files = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
    after = list(ingest(params, engine, paths, storage)), extract(ExtractParams(), engine, paths, storage)
    assert after == before
    assert [path.name for path in paths.root.rglob("*") if path.is_file()] == ["index.parquet"] * 2
    store = open_store(f"s3://{bucket}/moved", tmp_path)
    (tmp_path / "got").mkdir()
    for path, content in files.items():
        if path.name != "index.parquet":
            name = path.relative_to(paths.root).as_posix()
            assert store.get(name, tmp_path / "got").read_bytes() == content, name

    write_manifest(tmp_path / "m.csv", [ManifestEntry("b", str(clip))])  # what goes is ours, and nothing else
    ingest(params, engine, paths, storage)
    extract(ExtractParams(), engine, paths, storage)
    assert set(store.listing("raw")) == {"b.mp4", "not_ours.mp4"}
    assert set(store.listing("media/frames")) == {"b"}
