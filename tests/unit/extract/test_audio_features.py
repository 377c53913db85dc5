"""Audio features made by extract: aligned, kept, resumed, remade, removed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch

from components.core.clips.index import FEATURES_OF_SOURCE, read_media_index
from components.core.clips.reader import read_features, read_sound, seconds_of_sound
from components.core.media.audio_features import BLOCK_S, embed_seconds
from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.records.annotations import Video
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.core.storage.folder import FolderStore
from components.extract.embed_video import EmbedTask, embed_video
from components.extract.params import ExtractParams
from components.extract.stage import check_share, extract
from models.audio.encoders import build_vggish
from tests.support.clips import make_clip
from tests.support.vggish_weights import write_vggish

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[3]
ENGINE = EngineParams(workers=1)
SECONDS = {"a": 3.0, "-b": 2.2, "came_with": 2.0}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("weights")
    yield write_vggish(folder / "vggish.pth")
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def workers_that_have_torch() -> None:
    """Import PyTorch once for all workers of these tests, not in each."""
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload(["components.extract.embed_video"])
    forkserver.ensure_running()


def write_frames_folder(folder: Path, frames: int) -> Path:
    """A video as an AVISeg download has it, with features of its own: all ones."""
    from PIL import Image

    folder.mkdir(parents=True)
    for k in range(frames):
        Image.new("RGB", (96, 64), (40 * k, 90, 90)).save(folder / f"{k:05d}.jpg")
    with wave.open(str(folder / "audio.wav"), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", "not compressed"))
        noise = np.random.default_rng(0).integers(-9000, 9000, (frames * 44_100, 2), dtype=np.int16)
        file.writeframes(noise.tobytes())
    np.save(folder / "features.npy", np.ones((frames, 128), np.float32))
    return folder


def write_raw(paths: Paths, names: list[str]) -> None:
    """Raw videos and their index."""
    entries = []
    for name in names:
        path = paths.raw / (f"{name}.frames" if name == "came_with" else f"{name}.mp4")
        if not path.exists():
            if name == "came_with":
                write_frames_folder(path, 2)
            else:
                make_clip(path, seconds=SECONDS.get(name, 2.0), flashes_s=(0.4, 1.7))
        entries.append(
            RawEntry(
                video_id=name,
                status=Status.OK,
                message="",
                attempts=1,
                source="somewhere",
                start_s=None,
                end_s=None,
                fingerprint="x",
                path=path.name,
                sha256=sha256_file(path) if path.is_file() else "0",
                width=96,
                height=64,
            )
        )
    write_raw_index(paths.raw / "index.parquet", entries)


@pytest.fixture()
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "data")
    write_raw(paths, list(SECONDS))
    return paths


def features(paths: Paths) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((paths.media / "features").glob("*"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(x.relative_to(folder)): x.read_bytes() for x in folder.rglob("*") if x.is_file()}


def changed(paths: Paths) -> dict[str, int]:
    return {str(x): x.stat().st_mtime_ns for x in paths.media.rglob("*") if x.is_file()}


def test_every_frame_gets_what_its_second_sounds_like(paths: Paths, weights: Path) -> None:
    for rate_hz in (1.0, 2.5):
        write_raw(paths, ["a", "-b"])
        params = ExtractParams(audio_weights=str(weights), frame_rate_hz=rate_hz)
        rows = {row.video_id: row for row in extract(params, ENGINE, paths)}
        front, network = build_vggish(weights=weights)
        for name in ("a", "-b"):
            row = rows[name]
            video = Video(1, name, [], row.frames, 64, 96)
            made = np.load(paths.media / f"features/{name}.npy")
            assert (made.dtype, made.shape) == (np.float32, (row.frames, 128))
            np.testing.assert_array_equal(read_features(paths.media, video), made)
            sound = read_sound(paths.media, video)
            # what a model with the encoder in the loop hears at each frame
            heard = seconds_of_sound(sound, row.frames, rate_hz)
            with torch.no_grad():
                expected = network(front(torch.from_numpy(heard))).numpy()
            np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)
            assert np.abs(np.diff(made, axis=0)).max() > 1e-2
            assert row.features_sha256 == sha256_file(paths.media / f"features/{name}.npy")
            assert len(row.features_from) == 16
    assert read_media_index(paths.media / "index.parquet") == rows


def test_sound_shorter_or_longer_than_the_frames(paths: Paths, weights: Path) -> None:
    write_raw(paths, ["a"])
    row = extract(ExtractParams(), ENGINE, paths)[0]
    file = paths.media / "audio/a.wav"
    whole = read_sound(paths.media, Video(1, "a", [], 3, 64, 96))
    embed_video(EmbedTask(row, weights, FolderStore(paths.media)))
    usual = np.load(paths.media / "features/a.npy")
    for length in (1.25, 0.0, 5.0):
        samples = np.resize(whole, round(length * 16_000)) if length > 3 else whole[: round(length * 16_000)]
        with wave.open(str(file), "wb") as target:
            target.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            target.writeframes((samples * 32768).astype("<i2").tobytes())
        embed_video(EmbedTask(row, weights, FolderStore(paths.media)))
        made = np.load(paths.media / "features/a.npy")
        assert made.shape == (3, 128)
        same = min(3, int(length))
        np.testing.assert_allclose(made[:same], usual[:same], rtol=1e-5, atol=1e-5)
        silence = next(embed_seconds([np.zeros(16_000, np.float32)], weights=weights))
        np.testing.assert_allclose(made[2] if length < 2 else silence, silence, rtol=1e-5, atol=1e-5)


def test_long_sound_goes_through_in_blocks(weights: Path) -> None:
    sound = np.random.default_rng(0).standard_normal((BLOCK_S + 2, 16_000)).astype(np.float32) * 0.1
    whole = list(embed_seconds(iter(sound), weights=weights))
    assert len(whole) == BLOCK_S + 2 and {x.shape for x in whole} == {(128,)}
    last = list(embed_seconds(sound[-3:], weights=weights))
    np.testing.assert_allclose(whole[-3:], last, rtol=1e-4, atol=1e-4)
    assert list(embed_seconds([], weights=weights)) == []
    endless = embed_seconds(repeat(sound[0]), weights=weights)
    np.testing.assert_allclose(next(endless), whole[0], rtol=1e-4, atol=1e-4)


def test_features_are_made_once_heal_and_are_pruned(paths: Paths, weights: Path) -> None:
    params = ExtractParams(audio_weights=str(weights))
    rows = extract(params, ENGINE, paths)
    assert [row.features_from == FEATURES_OF_SOURCE for row in rows] == [False, False, True]
    assert set(features(paths)) == set(SECONDS)
    assert np.load(paths.media / "features/came_with.npy").min() == 1  # the download's own
    before, times = contents(paths.media), changed(paths)
    extract(params, ENGINE, paths)
    again = changed(paths)
    assert contents(paths.media) == before
    assert [name for name in times if times[name] != again[name]] == [str(paths.media / "index.parquet")]

    (paths.media / "features/a.npy").unlink()
    damaged = paths.media / "features/-b.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (paths.media / "features/came_with.npy").write_bytes(b"x")
    extract(params, ENGINE, paths)
    assert contents(paths.media) == before
    healed = changed(paths)
    frame = str(paths.media / "frames/a/00000.jpg")
    assert healed[frame] == times[frame]  # only the features were made again

    write_raw(paths, ["-b"])
    extract(params, ENGINE, paths)
    assert set(features(paths)) == {"-b"}


def test_other_weights_or_none_remake_or_remove_features(paths: Paths, weights: Path, tmp_path: Path) -> None:
    without = contents(extract_with(paths, None))
    assert [name for name in without if name.startswith("features/")] == ["features/came_with.npy"]
    first = features_of(paths, weights)
    before = changed(paths)
    copy = tmp_path / "copy.pth"
    shutil.copy(weights, copy)
    extract_with(paths, copy)  # the weights count, not their name
    index = str(paths.media / "index.parquet")
    after = changed(paths)
    assert {name for name in before if before[name] != after[name]} == {index}
    other = write_vggish(copy, seed=1)  # new weights under a known name
    second = features_of(paths, other)
    assert {name for name in first if first[name] != second[name]} == {"a", "-b"}
    after = changed(paths)
    remade = {str(paths.media / f"features/{name}.npy") for name in ("a", "-b")}
    assert {name for name in before if before[name] != after[name]} == remade | {index}

    # told to, a download's own are replaced, too; and are back when they are wanted again
    replaced = features_of(paths, other, replace_features=True)
    assert replaced["came_with"] != first["came_with"]
    assert np.load(paths.media / "features/came_with.npy").shape == (2, 128)
    assert features_of(paths, other) == second
    assert contents(extract_with(paths, None, replace_features=True)) == without


def extract_with(paths: Paths, weights: Path | None, **more: bool) -> Path:
    extract(ExtractParams(audio_weights=str(weights) if weights else None, **more), ENGINE, paths)
    return paths.media


def features_of(paths: Paths, weights: Path, **more: bool) -> dict[str, bytes]:
    extract_with(paths, weights, **more)
    return features(paths)


def test_features_that_do_not_fit_are_made(paths: Paths, weights: Path) -> None:
    np.save(paths.raw / "came_with.frames/features.npy", np.ones((7, 128), np.float32))
    rows = extract(ExtractParams(audio_weights=str(weights)), ENGINE, paths)
    assert "left out: (7, 128)" in rows[2].message
    assert rows[2].features_from == rows[0].features_from
    assert np.load(paths.media / "features/came_with.npy").shape == (2, 128)


def test_an_index_of_before_features_were_entered(paths: Paths) -> None:
    import pyarrow.parquet

    extract(ExtractParams(), ENGINE, paths)
    before, index = contents(paths.media), paths.media / "index.parquet"
    table = pyarrow.parquet.read_table(index).drop(["features_from", "features_sha256"])
    pyarrow.parquet.write_table(table, index)
    extract(ExtractParams(), ENGINE, paths)
    assert contents(paths.media) == before


def test_wrong_weights_are_one_message_before_any_work(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"there are no weights at .*none\.pth"):
        extract_with(paths, tmp_path / "none.pth")
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(AvisError, match=r"resnet\.pth: .*missing: features\.\*") as caught:
        extract_with(paths, tmp_path / "resnet.pth")
    assert caught.value.where == "params.yaml, extract.audio_weights"
    (tmp_path / "junk.pth").write_bytes(b"\x80\xff.")
    with pytest.raises(AvisError, match=r"junk\.pth is damaged"):
        extract_with(paths, tmp_path / "junk.pth")
    assert not paths.media.exists()
    process = run_in(tmp_path, tmp_path / "none.pth")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert errors.startswith("extract: ") and "none.pth" in errors and "Traceback" not in errors


def test_a_video_whose_features_cannot_be_made_stops_no_other(
    paths: Paths, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from components.extract import stage

    rows = extract(ExtractParams(), ENGINE, paths)
    made = {row.video_id: row for row in rows}
    (paths.media / "audio/a.wav").write_bytes(b"RIFF")  # damaged after extract has looked at it
    params = ExtractParams(audio_weights=str(weights))
    entries = {x.video_id: x for x in stage.read_raw_index(paths.raw / "index.parquet")}
    found = {
        row.video_id: row
        for row in stage._features(made, entries, params, "new", "", ENGINE, FolderStore(paths.media))
    }
    assert (found["a"].status, found["-b"].status) == ("corrupt", "ok")
    assert "the sound cannot be read" in found["a"].message
    check_share([made["came_with"], *found.values()], 0.5, paths.media / "index.parquet")
    assert "1 of 3 videos failed" in capsys.readouterr().err
    assert [row.status for row in extract(params, ENGINE, paths)] == ["ok"] * 3  # and the next run mends it


def run_in(folder: Path, weights: Path) -> subprocess.Popen[str]:
    blocks = {"extract": {"audio_weights": str(weights)}, "engine": {"workers": 1}}
    (folder / "params.yaml").write_text(json.dumps(blocks | {"tracking": {"uri": "none"}}))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "components.extract"]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_while_embedding_it_goes_on_where_it_was(tmp_path: Path, weights: Path) -> None:
    paths = Paths(tmp_path / "data")
    names = [f"clip_{k}" for k in range(6)]
    write_raw(paths, names)
    process = run_in(tmp_path, weights)
    journal = paths.media / ".journal"
    deadline = time.monotonic() + 600

    def embedded() -> list[str]:
        lines = journal.read_bytes().splitlines()[1:] if journal.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith(b"]")]
        return [name for name, row, *_checksum in rows if row["features_from"]]

    while time.monotonic() < deadline and len(embedded()) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (paths.media / "index.parquet").exists()
    finished = embedded()
    assert 2 <= len(finished) < 6
    at = {name: (paths.media / f"features/{name}.npy").stat().st_mtime_ns for name in finished}
    process = run_in(tmp_path, weights)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert {name: (paths.media / f"features/{name}.npy").stat().st_mtime_ns for name in finished} == at

    undisturbed = Paths(tmp_path / "undisturbed")
    shutil.copytree(paths.raw, undisturbed.raw)
    extract_with(undisturbed, weights)
    assert contents(paths.media) == contents(undisturbed.media)


def test_without_an_encoder_the_stage_imports_no_torch(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "data")
    write_raw(paths, ["a"])
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from components.core.run.params import EngineParams\n"
        "from components.core.run.paths import Paths\n"
        "from components.extract.params import ExtractParams\n"
        "from components.extract.stage import extract\n"
        "extract(ExtractParams(), EngineParams(workers=1), Paths(Path(sys.argv[1])))\n"
        "assert 'torch' not in sys.modules\n"
    )
    script = "if __name__ == '__main__':\n " + code.replace("\n", "\n ")
    subprocess.run([sys.executable, "-c", script, str(paths.root)], cwd=REPOSITORY, check=True)
