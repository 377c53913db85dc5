"""A stage does not throw away what it did not make, nor downloads that are nowhere else."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.core.raw.index import RawEntry, Status, read_raw_index, write_raw_index
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.errors import AvisError
from components.core.run.output_folder import refuse_foreign_files
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from tests.support.clips import make_clip

ENGINE = EngineParams(workers=1)


def manifest(tmp_path: Path, video_id: str) -> IngestParams:
    clip = tmp_path / f"{video_id}.mp4"
    if not clip.exists():
        make_clip(clip, seconds=2, size=(64, 48))
    write_manifest(tmp_path / "manifest.csv", [ManifestEntry(video_id, str(clip))])
    return IngestParams(manifest=str(tmp_path / "manifest.csv"))


def downloaded(paths: Paths, video_id: str) -> Path:
    """As if a run had downloaded a video."""
    paths.raw.mkdir(parents=True)
    video = paths.raw / f"{video_id}.mp4"
    video.write_bytes(b"film")
    row = RawEntry(
        video_id=video_id,
        status=Status.OK,
        message="",
        attempts=1,
        source="https://example.org/v",
        start_s=None,
        end_s=None,
        fingerprint="x",
        path=video.name,
        size_bytes=4,
        time="2026-11-25T00:00:00+00:00",
    )
    write_raw_index(paths.raw / "index.parquet", [row])
    return video


def test_somebody_elses_files_are_refused_and_stay(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    paths.raw.mkdir(parents=True)
    mine = paths.raw / "holiday.mp4"
    mine.write_bytes(b"film")
    with pytest.raises(AvisError, match=r"files that it did not write, such as 'holiday.mp4'.*move them"):
        ingest(manifest(tmp_path, "a"), ENGINE, paths)
    assert mine.read_bytes() == b"film"
    mine.unlink()
    (paths.raw / ".DS_Store").touch()  # of a desktop: no reason to stop
    assert [row.video_id for row in ingest(manifest(tmp_path, "a"), ENGINE, paths)] == ["a"]
    (paths.media / "frames").mkdir(parents=True)
    (paths.media / "frames" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(AvisError, match=r"extract holds files that it did not write, such as 'cat.jpg'"):
        extract(ExtractParams(), ENGINE, paths)
    assert (paths.media / "frames" / "cat.jpg").exists()


def test_downloads_of_another_manifest_are_refused_and_stay(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    video = downloaded(paths, "theirs")
    with pytest.raises(AvisError, match=r"1 downloaded videos, such as 'theirs'.*another dataset"):
        ingest(manifest(tmp_path, "mine"), ENGINE, paths)
    assert video.exists() and len(read_raw_index(paths.raw / "index.parquet")) == 1


def test_videos_that_came_from_this_machine_make_room(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    ingest(manifest(tmp_path, "a"), ENGINE, paths)
    assert [row.video_id for row in ingest(manifest(tmp_path, "b"), ENGINE, paths)] == ["b"]


def test_downloads_that_dvc_holds_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, check=True)
    paths = Paths()
    downloaded(paths, "theirs")
    params = manifest(tmp_path, "mine")
    index = (paths.raw / "index.parquet").read_bytes()
    md5 = hashlib.md5(index).hexdigest()
    listing = json.dumps([{"md5": md5, "relpath": "index.parquet"}]).encode()
    folder_md5 = hashlib.md5(listing).hexdigest() + ".dir"
    lock = {"stages": {"ingest": {"cmd": "x", "outs": [{"path": "data/raw", "md5": folder_md5}]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(AvisError, match="another dataset"):  # the lock alone is no copy
        ingest(params, ENGINE, paths)
    for name, content in ((folder_md5, listing), (md5, index)):
        target = Path(".dvc/cache/files/md5") / name[:2] / name[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    assert [row.video_id for row in ingest(params, ENGINE, paths)] == ["mine"]


def test_an_empty_or_missing_folder_is_nobodys(tmp_path: Path) -> None:
    refuse_foreign_files(tmp_path / "none", tmp_path / "i", tmp_path / "j", stage="ingest")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    refuse_foreign_files(tmp_path / "empty", tmp_path / "i", tmp_path / "j", stage="ingest")
