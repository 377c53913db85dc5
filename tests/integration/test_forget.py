"""`avis forget` in a project with DVC, a remote, MLflow and trained models: what is gone, and what stays."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from components.core.raw.forgotten import Forgotten, ForgottenVideos
from components.core.raw.index import read_raw_index
from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.records import masks
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.tracking.run import training_run
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.mllm.requests.answers import Answers, Key, Reply
from pipelines.commands.data.forget import forget
from tests.support.clips import make_clip

pytestmark = pytest.mark.integration
ENGINE = EngineParams(workers=1)
PARAMS = IngestParams(manifest="manifest.csv")
FIRST, SECOND, OTHER = "dQw4w9WgXcQ-1694962971939-seg1", "dQw4w9WgXcQ-1694962971939-seg2", "street"
ANSWERS = Path("data/mllm/model/answers.sqlite")


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", "--quiet", *arguments], check=True)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def objects(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in folder.glob("**/??/*") if not path.name.endswith(".dir")}


@pytest.fixture()
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: Callable[[Path], str]) -> None:
    """Runs go to MLflow, which takes seconds: for the test that looks there."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_store(tmp_path))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with videos, labels and scores, in DVC and its remote; not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    with contextlib.chdir(folder):
        make_project()
    return folder


def make_project() -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    dvc("init")
    dvc("remote", "add", "-d", "store", "remote")
    params = "dataset: mine\ningest: {manifest: manifest.csv}\nannotate: {source: labels.json}\n"
    Path("params.yaml").write_text(params + "tracking: {uri: 'sqlite:///mlflow.db'}\n")
    for number, name in enumerate((FIRST, SECOND, OTHER)):
        make_clip(Path("clips") / f"{name}.mp4", seconds=2, size=(96, 64), flashes_s=(0.5 + number / 3,))
    entries = [ManifestEntry(name, f"clips/{name}.mp4", split="train") for name in (FIRST, SECOND, OTHER)]
    write_manifest(Path("manifest.csv"), entries)
    paths = Paths()
    ingest(PARAMS, ENGINE, paths)
    extract(ExtractParams(), ENGINE, paths)
    videos = [
        Video(k, name, [f"{name}/{second:05d}.jpg" for second in range(2)], 2, 64, 96)
        for k, name in enumerate((FIRST, SECOND, OTHER), start=1)
    ]
    tracks = [Track(k, k, 1, [masks.encode(np.ones((64, 96), bool)), None]) for k in (1, 2, 3)]
    write_annotations(paths.annotations / "train.json", AnnotationSet({1: "horn"}, videos, tracks))
    (paths.annotations / "summary.json").write_text(
        json.dumps({"categories": ["horn"], "unlabelled": [FIRST]})
    )
    Path("labels.json").write_bytes((paths.annotations / "train.json").read_bytes())
    dvc("add", "data/raw", "data/media")
    dvc("push")
    evaluation = paths.evaluation("small")
    (evaluation / "overlays").mkdir(parents=True)
    (evaluation / "overlays" / f"{FIRST}.mp4").touch()
    (evaluation / "overlays" / f"{OTHER}.mp4").touch()
    (evaluation / "per_clip.csv").write_text(f"clip,FSLA\n{SECOND},1\n")
    (evaluation / "per_category.csv").write_text("category,AP\nhorn,1\n")
    ANSWERS.parent.mkdir(parents=True)
    with Answers(ANSWERS) as answers:
        for video in (FIRST, OTHER, ""):  # the last of parts of several
            key = Key("model", "prompt", f"hash of {video}", "video", "{}")
            answers.put(key, Reply(f"a horn in {video or 'two'}", "stop", 1, 1, 0.1, 0), video)


@pytest.fixture()
def project(untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project with three models."""
    shutil.copytree(untouched, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    paths = Paths()
    for model, clips in {"saw": [FIRST, OTHER], "saw_not": [OTHER]}.items():
        with training_run(variant=model, params={}, paths=paths) as run:
            folder = paths.model(model)
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(json.dumps({"run_id": run.run_id}))
            (folder / "clips.json").write_text(json.dumps(clips))
            run.artifact(folder / "clips.json", "training")
    paths.model("old").mkdir()
    (paths.model("old") / "run.json").write_text(json.dumps({"run_id": "0" * 32}))
    return tmp_path


def test_nothing_of_the_video_is_left_and_nothing_else_is_lost(
    tracked: None, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, cache, remote = Paths(), project / ".dvc" / "cache", project / "remote"
    before = objects(cache)
    assert before == objects(remote)
    ours = {path for path in paths.root.rglob("*") if path.is_file() and FIRST[:11] in path.as_posix()}
    hashes = {
        md5(path) for path in ours if path.is_relative_to(paths.raw) or path.is_relative_to(paths.media)
    }
    other = [(paths.raw / f"{OTHER}.mp4"), *(paths.media / "frames" / OTHER).iterdir()]
    contents = {file: file.read_bytes() for file in other}
    capsys.readouterr()
    forget(["dQw4w9WgXcQ"], reason="the owner asked", clip_only=False, yes=True, dry_run=False)
    said = capsys.readouterr().out

    assert [entry.video_id for entry in read_manifest(Path("manifest.csv"))] == [OTHER]
    assert [row.video_id for row in read_raw_index(paths.raw / "index.parquet")] == [OTHER]
    assert [video.name for video in read_annotations(paths.annotations / "train.json").videos] == [OTHER]
    assert {file: file.read_bytes() for file in other} == contents
    names = [path.name for path in (project / "data").rglob("*")]
    assert not [name for name in names if name.startswith("dQw4w9WgXcQ")]
    assert not (paths.annotations / "summary.json").exists()
    evaluation = paths.evaluation("small")
    assert {path.name for path in evaluation.rglob("*") if path.is_file()} == {
        f"{OTHER}.mp4",
        "per_category.csv",
    }

    with closing(sqlite3.connect(ANSWERS)) as database:
        assert database.execute("SELECT text FROM answers").fetchall() == [(f"a horn in {OTHER}",)]
    assert FIRST.encode() not in ANSWERS.read_bytes() and b"horn in two" not in ANSWERS.read_bytes()

    gone = before - objects(cache)
    assert gone == hashes - {md5(file) for file in other}  # a frame that another video has, too, stays
    assert len(gone) >= 5
    assert objects(remote) == before - gone
    dvc("commit", "--force", "data/media.dvc")  # as `dvc repro` does: what is left is whole
    shutil.rmtree(paths.media)
    dvc("checkout", "data/media.dvc")
    assert (paths.media / "frames" / OTHER / "00000.jpg").exists()

    assert f"data/model/saw: {FIRST}" in said and "saw_not" not in said
    assert "data/model/old: unknown" in said
    assert said.count(f": {FIRST}") == 2  # the model here, and its run in MLflow
    assert "labels.json still names them" in said
    rows = ForgottenVideos(Path("data/forgotten.csv")).rows
    assert [(row.video_id, row.source, row.reason) for row in rows] == [
        (FIRST, "dQw4w9WgXcQ", "the owner asked"),
        (SECOND, "dQw4w9WgXcQ", "the owner asked"),
    ]


def test_it_does_not_come_back_and_can_be_repeated(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Path("manifest.csv").read_bytes()
    forget([FIRST], reason="", clip_only=True, yes=True, dry_run=False)
    assert [entry.video_id for entry in read_manifest(Path("manifest.csv"))] == [SECOND, OTHER]
    Path("manifest.csv").write_bytes(manifest)  # made anew from a playlist, say
    assert [row.video_id for row in ingest(PARAMS, ENGINE, Paths())] == [SECOND, OTHER]
    assert "1 entries are left out" in capsys.readouterr().err
    forget([FIRST], reason="again", clip_only=True, yes=True, dry_run=False)
    forget(["dQw4w9WgXcQ"], reason="all of it", clip_only=False, yes=True, dry_run=False)
    assert [row.video_id for row in ingest(PARAMS, ENGINE, Paths())] == [OTHER]
    reasons = [row.reason for row in ForgottenVideos(Path("data/forgotten.csv")).rows]
    assert reasons == ["", "all of it", "all of it"]


def everything(folder: Path) -> dict[Path, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".db" not in path.name]
    return {path: path.read_bytes() for path in files}


def test_looking_changes_nothing_and_a_question_is_asked(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(project)
    forget([FIRST], reason="", clip_only=False, yes=False, dry_run=True)
    assert "2 clips would be removed" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # no terminal
    with pytest.raises(AvisError, match=r"cannot be undone.*--yes"):
        forget([FIRST], reason="", clip_only=False, yes=False, dry_run=False)
    with pytest.raises(AvisError, match=r"there is no video '\.\./x'"):
        forget(["../x"], reason="", clip_only=False, yes=True, dry_run=False)
    assert everything(project) == before


def test_a_clip_and_later_its_whole_video(tmp_path: Path) -> None:
    forgotten = ForgottenVideos(tmp_path / "forgotten.csv")
    forgotten.add([Forgotten("abc", "", "now", "")])
    assert not forgotten.has("other", "clips/abc.mp4")
    forgotten.add([Forgotten("abc", "clips/abc.mp4", "now", "")])
    for found in (forgotten, ForgottenVideos(tmp_path / "forgotten.csv")):
        assert found.has("other", "clips/abc.mp4") and len(found) == 2


def test_ids_that_begin_with_a_dash_are_no_options(project: Path) -> None:
    write_manifest(
        Path("manifest.csv"), [ManifestEntry("-wgEIkAongk", "clips/x.mp4"), ManifestEntry("b", "y")]
    )
    command = [sys.executable, "-m", "pipelines.cli", "forget", "-wgEIkAongk", "--yes"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [entry.video_id for entry in read_manifest(Path("manifest.csv"))] == ["b"]


def test_other_rows_of_a_manifest_stay_byte_for_byte(project: Path) -> None:
    rows = [
        "\ufeffsource , video_id,license\r\n",
        f'clips/{OTHER}.mp4,{OTHER},"two\r\nlines, ""quoted"""\r\n',
        f"clips/{FIRST}.mp4, {FIRST} ,\r\n",
        "\r\n",
        f"clips/{SECOND}.mp4,{SECOND},last line without an end",
    ]
    Path("manifest.csv").write_text("".join(rows), newline="")
    forget([FIRST], reason="", clip_only=True, yes=True, dry_run=False)
    assert Path("manifest.csv").read_bytes() == "".join(rows[:2] + rows[3:]).encode()


def test_a_damaged_list_stops_ingest(project: Path) -> None:
    Path("data/forgotten.csv").write_text("video_id,when\nx,y\n")
    with pytest.raises(AvisError, match="the list of forgotten videos cannot be read"):
        ingest(PARAMS, ENGINE, Paths())
