"""Frames and sound of a folder of raw videos: complete, aligned, healing, pruned."""

import io
import wave
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.core.clips.index import read_media_index
from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract import stage
from components.extract.params import ExtractParams
from components.extract.stage import changes_of, check_share, extract
from components.extract.write_media import write_frames
from tests.support.clips import grey, make_clip, make_clip_of_two_sizes, onset_s

ENGINE = EngineParams(workers=1)


def raw_entry(video_id: str, path: Path | None, status: Status = Status.OK) -> RawEntry:
    return RawEntry(
        video_id=video_id,
        status=status,
        message="" if path else "gone",
        attempts=1,
        source="somewhere",
        start_s=None,
        end_s=None,
        fingerprint="x",
        path=path.name if path else None,
        sha256=sha256_file(path) if path and path.is_file() else "0",
        fps=12.5 if path else None,
        license="CC0",
        split="train",
    )


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def raw_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("videos")
    make_clip(raw / "a.mp4", seconds=3, flashes_s=(1.7,))
    make_clip(raw / "-b.mkv", seconds=2.2)
    return raw


@pytest.fixture()
def paths(tmp_path: Path, raw_videos: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.raw.mkdir()
    for path in raw_videos.iterdir():
        (paths.raw / path.name).write_bytes(path.read_bytes())
    entries = [raw_entry("a", paths.raw / "a.mp4"), raw_entry("-b", paths.raw / "-b.mkv")]
    entries.append(raw_entry("gone", None, Status.REMOVED))
    write_raw_index(paths.raw / "index.parquet", entries)
    return paths


def test_contract(paths: Paths) -> None:
    rows = extract(ExtractParams(), ENGINE, paths)
    assert [row.source_rate_hz for row in rows] == [12.5, 12.5, None]
    assert [(row.video_id, row.status, row.frames, row.audio_samples) for row in rows] == [
        ("a", "ok", 3, 48_000),
        ("-b", "ok", 2, 32_000),
        ("gone", "removed", 0, 0),
    ]
    media = paths.media
    assert sorted(str(path) for path in state(media)) == [
        "audio/-b.wav",
        "audio/a.wav",
        *(f"frames/-b/{k:05d}.jpg" for k in range(2)),
        *(f"frames/a/{k:05d}.jpg" for k in range(3)),
        "index.parquet",
    ]
    with wave.open(str(media / "audio/a.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (
            16_000, 1, 2, 48_000)  # fmt: skip
        audio = np.frombuffer(file.readframes(48_000), dtype="<i2")
    assert onset_s(audio) == pytest.approx(1.7, abs=0.01)
    greys = [grey(np.asarray(Image.open(media / f"frames/a/{k:05d}.jpg"))) for k in range(3)]
    assert greys == pytest.approx([30, 50, 70], abs=2.5)
    assert read_media_index(media / "index.parquet")["a"] == rows[0]
    check_share(rows, 0.0, media / "index.parquet")  # what ingest could not get is not counted again


def test_a_video_of_two_sizes_gets_one_and_it_is_said_or_is_an_error(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_clip_of_two_sizes(paths.raw / "two.ts")
    entries = [raw_entry("two", video), raw_entry("a", paths.raw / "a.mp4")]
    write_raw_index(paths.raw / "index.parquet", entries)
    two, one = rows = extract(ExtractParams(), ENGINE, paths)
    assert (two.frames, two.width, two.height) == (4, 96, 64)
    sizes = {Image.open(path).size for path in (paths.media / "frames/two").iterdir()}
    assert sizes == {(96, 64)}
    assert one.changes == ""
    changes = changes_of(rows)
    assert changes.metrics() == {"changed.guessed.frame": 2.0}
    assert "(two: 96x64 to 192x128 at 2.5 s)" in changes.sentences()[0]
    index = read_media_index(paths.media / "index.parquet")
    assert index["two"] == two
    assert extract(ExtractParams(), ENGINE, paths) == rows  # it is said again where nothing was to be done
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "Paths", lambda: paths)
    for strict in (False, True):
        (tmp_path / "params.yaml").write_text(f"engine: {{workers: 1}}\nextract: {{strict: {strict}}}\n")
        with pytest.raises(AvisError, match=r"strict .*: 2 frames guessed") if strict else nullcontext():
            stage._run()


def test_second_run_changes_nothing_and_one_lost_frame_heals(paths: Paths) -> None:
    extract(ExtractParams(), ENGINE, paths)
    before = state(paths.media)
    extract(ExtractParams(), ENGINE, paths)
    untouched = state(paths.media)
    untouched_index = untouched.pop("index.parquet")
    assert untouched_index[0] == before["index.parquet"][0]
    assert untouched == {name: value for name, value in before.items() if name != "index.parquet"}

    (paths.media / "frames/a/00001.jpg").unlink()
    extract(ExtractParams(), ENGINE, paths)
    healed = state(paths.media)
    assert {name: content for name, (content, _) in healed.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert healed["frames/-b/00000.jpg"] == before["frames/-b/00000.jpg"]  # not made again

    damaged = paths.media / "frames/a/00002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")  # the same size, other bytes
    (paths.media / "audio/-b.wav").write_bytes(b"")
    extract(ExtractParams(), ENGINE, paths)
    assert {n: c for n, (c, _) in state(paths.media).items()} == {n: c for n, (c, _) in before.items()}


def test_removed_videos_are_pruned_and_parameters_count(paths: Paths) -> None:
    extract(ExtractParams(), ENGINE, paths)
    (paths.media / "frames" / ".a.unfinished-00").mkdir()
    (paths.media / "stray.txt").touch()
    write_raw_index(paths.raw / "index.parquet", [raw_entry("-b", paths.raw / "-b.mkv")])
    rows = extract(ExtractParams(frame_rate_hz=2.0, jpeg_quality=50), ENGINE, paths)
    assert [(row.frames, row.frame_rate_hz, row.audio_samples) for row in rows] == [(4, 2.0, 32_000)]
    assert set(state(paths.media)) == {
        "audio/-b.wav",
        "index.parquet",
        *(f"frames/-b/{k:05d}.jpg" for k in range(4)),
    }


def test_bad_videos_have_a_status_each(paths: Paths) -> None:
    good = (paths.raw / "a.mp4").read_bytes()
    (paths.raw / "cut.mp4").write_bytes(good[: len(good) // 2])
    (paths.raw / "zero.mp4").touch()
    make_clip(paths.raw / "silent.mp4", audio_codec=None)
    make_clip(paths.raw / "radio.mp4", video_codec=None)
    make_clip(paths.raw / "short.mp4", seconds=0.5)
    names = ["a", "cut", "zero", "silent", "radio", "short"]
    entries = [raw_entry(name, paths.raw / f"{name}.mp4") for name in names]
    write_raw_index(paths.raw / "index.parquet", entries)
    rows = extract(ExtractParams(), ENGINE, paths)
    assert {row.video_id: row.status for row in rows} == {
        "a": "ok",
        "cut": "corrupt",
        "zero": "corrupt",
        "silent": "no_audio",
        "radio": "no_video",
        "short": "too_short",
    }
    assert {path.split("/")[0] + path.split("/")[1] for path in state(paths.media) if "/" in path} == {
        "audioa.wav",
        "framesa",
    }
    with pytest.raises(AvisError, match="5 of 6 videos failed") as caught:
        check_share(rows, 0.1, paths.media / "index.parquet")
    assert "2 corrupt" in str(caught.value)
    check_share(rows, 0.9, paths.media / "index.parquet")


def test_without_an_index_of_raw_videos(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match="ingest"):
        extract(ExtractParams(), ENGINE, Paths(tmp_path))


def test_pictures_of_any_size_are_the_jpegs_that_pillow_makes(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    pictures = [chance.integers(0, 255, (6, 8, 3), np.uint8) for _ in range(2)]
    pictures += [pictures[0][:, ::-1], pictures[0].swapaxes(0, 1), pictures[1]]
    write_frames(tmp_path / "frames", pictures, 90, expected=5)
    for k, picture in enumerate(pictures):
        expected = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(expected, "JPEG", quality=90)
        assert (tmp_path / "frames" / f"{k:05d}.jpg").read_bytes() == expected.getvalue()
