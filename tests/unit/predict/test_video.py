"""Predicting on a video file of one's own."""

import json
import os
from pathlib import Path

import pytest

from components.core.errors import AvisError
from components.core.masks import decode
from components.core.media import probe, read_sound
from components.core.records import Result
from components.predict.params import PredictParams
from components.predict.video import VideoPrediction, _intervals, predict_video
from tests.clips import make_clip
from tests.tiny_model import CATEGORIES, write_finder

KINDS = {  # suffix: video and audio codec
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "mkv": ("libx264", "libopus"),
    "webm": ("libvpx", "libopus"),
}
ANYTHING = PredictParams(score_threshold=0.0, most_tracks=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finder(tmp_path_factory.mktemp("model") / "tiny")


def clip_of(path: Path, kind: str = "mp4", **more: object) -> Path:
    video, audio = KINDS[kind]
    settings = {"video_codec": video, "audio_codec": audio, "rate_hz": 48_000, "flashes_s": (0.5,)}
    return make_clip(path.with_suffix(f".{kind}"), seconds=2.5, **{**settings, **more})  # type: ignore[arg-type]


def assert_playable(found: VideoPrediction, seconds: float, *, sound: bool) -> None:
    info = probe(found.overlay)
    assert info.video_codec == "h264"
    assert info.duration_s == pytest.approx(seconds, abs=0.25)
    assert (info.audio_codec == "aac") is sound
    if sound:
        assert abs(read_sound(found.overlay, rate_hz=16_000)).max() > 3000


@pytest.mark.parametrize("kind", KINDS)
def test_containers(folder: Path, tmp_path: Path, kind: str) -> None:
    found = predict_video(clip_of(tmp_path / "my clip", kind), tmp_path / "out", folder, ANYTHING)
    assert found.overlay == tmp_path / "out" / "my clip.overlay.mp4"
    assert_playable(found, 2.5, sound=True)
    answer = json.loads(found.results.read_text())
    assert answer["video"] == f"my clip.{kind}"
    assert (answer["frames"], answer["width"], answer["height"]) == (2, 96, 64)
    assert len(found.objects) == len(answer["objects"]) == 2
    for thing, row in zip(found.objects, answer["objects"], strict=True):
        assert thing.category in CATEGORIES.values()
        assert 0 < thing.score <= found.best_score
        assert row["intervals_s"] == [list(span) for span in thing.intervals_s]
        assert thing.intervals_s == [(0.0, 2.0)]
        assert all(decode(mask, 64, 96).all() for mask in row["segmentations"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        *("my clip.json", "my clip.overlay.mp4")
    ]


def test_a_name_that_is_no_utf8(folder: Path, tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"clip\xff.mp4")
    clip_of(tmp_path / "clip").rename(named)
    found = predict_video(named, tmp_path / "out", folder, ANYTHING)
    assert_playable(found, 2.5, sound=True)
    assert json.loads(found.results.read_text())["video"] == named.name


def test_nothing_above_the_threshold(folder: Path, tmp_path: Path) -> None:
    found = predict_video(
        clip_of(tmp_path / "clip"), tmp_path / "out", folder, PredictParams(score_threshold=1.0)
    )
    assert found.objects == []
    assert 0 < found.best_score < 1
    assert_playable(found, 2.5, sound=True)
    answer = json.loads(found.results.read_text())
    assert answer["objects"] == [] and answer["score_threshold"] == 1.0


def test_a_video_without_sound_needs_a_deaf_model(folder: Path, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "silent", audio_codec=None)
    with pytest.raises(AvisError, match="no sound"):
        predict_video(video, tmp_path / "out", folder, ANYTHING)
    assert not (tmp_path / "out").exists()
    deaf = write_finder(tmp_path / "deaf", audio="none")
    found = predict_video(video, tmp_path / "out", deaf, ANYTHING)
    assert found.objects
    assert_playable(found, 2.5, sound=False)


def test_files_that_are_no_videos(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(AvisError, match=r"there is no such video \(.*nowhere\.mp4\)"):
        predict_video(tmp_path / "nowhere.mp4", out, folder, ANYTHING)
    with pytest.raises(AvisError, match="there is no such video"):
        predict_video(tmp_path, out, folder, ANYTHING)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 99)
    whole = clip_of(tmp_path / "whole").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    for name in ("empty", "text", "half"):
        with pytest.raises(AvisError, match=f"{name}.mp4"):
            predict_video(tmp_path / f"{name}.mp4", out, folder, ANYTHING)
    short = make_clip(tmp_path / "short.mp4", seconds=0.4)
    with pytest.raises(AvisError, match=r"short\.mp4"):
        predict_video(short, out, folder, ANYTHING)
    assert not out.exists()


def test_models_that_cannot_hear_a_file(folder: Path, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "clip")
    with pytest.raises(AvisError, match="there is no trained model"):
        predict_video(video, tmp_path / "out", tmp_path / "nothing", ANYTHING)
    given = write_finder(tmp_path / "given", audio="features")
    with pytest.raises(AvisError, match="precomputed features, which a video file does not have"):
        predict_video(video, tmp_path / "out", given, ANYTHING)


def test_intervals_are_runs_of_masks() -> None:
    mask = {"size": [2, 2], "counts": "04"}  # all four pixels
    empty = {"size": [2, 2], "counts": "4"}
    masks = [mask, mask, None, empty, mask]
    track = Result(video_id=1, category_id=3, score=0.5, segmentations=masks)
    assert _intervals(track, 1.0) == [(0.0, 2.0), (4.0, 5.0)]
    assert _intervals(track, 2.0) == [(0.0, 1.0), (2.0, 2.5)]
