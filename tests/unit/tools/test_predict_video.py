"""Predicting on a video file of one's own."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from components.core.clips.index import MediaEntry
from components.core.clips.reader import seconds_of_sound
from components.core.inference.params import PredictParams
from components.core.media.audio_features import encoder_fingerprint
from components.core.media.container import probe
from components.core.media.pictures_by_timestamp import read_clip
from components.core.media.sound import read_sound
from components.core.records.masks import decode
from components.core.records.results import Result
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.storage.folder import FolderStore
from components.extract.embed_video import EmbedTask, embed_video
from components.extract.write_media import audio_file, write_wav
from components.tools.predict_video import VideoPrediction, _intervals, _VideoClip, predict_video
from models.inference import offline
from tests.support.clips import make_clip, make_clip_of_two_sizes
from tests.support.tiny_model import CATEGORIES, write_finder
from tests.support.vggish_weights import write_vggish

pytestmark = pytest.mark.slow

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
    with pytest.raises(AvisError, match=r"hears audio features.*\n?.*Set extract\.audio_weights"):
        predict_video(video, tmp_path / "out", given, ANYTHING)
    with pytest.raises(AvisError, match=r"there are no weights at .*none\.pth"):
        predict_video(video, tmp_path / "out", given, ANYTHING, audio_weights=tmp_path / "none.pth")


def test_a_model_of_features_hears_a_file_through_the_encoder(tmp_path: Path) -> None:
    """As extract makes features of the same video; and only through the weights that it learned with."""
    weights = write_vggish(tmp_path / "vggish.pth")
    video = clip_of(tmp_path / "clip")
    paths = Paths(tmp_path / "data")
    whole = read_clip(video, frame_rate_hz=1.0)
    write_wav(audio_file(paths.media, "clip"), np.round(whole.audio * 32_768).astype(np.int16), 16_000)
    row = MediaEntry("clip", "ok", "", 2, 96, 64, len(whole.audio), 1.0, None, None, None)
    embed_video(EmbedTask(row, weights, FolderStore(paths.media)))
    clip = _VideoClip(video, 1.0, 64, hears=True, encoder=weights)
    heard = np.stack([sound for _, sound in clip() if sound is not None])
    np.testing.assert_allclose(heard, np.load(paths.media / "features/clip.npy"), rtol=1e-4, atol=1e-4)
    assert np.abs(heard[0] - heard[1]).max() > 0.01  # a tone, and silence

    folder = write_finder(tmp_path / "given", audio="features")
    found = predict_video(video, tmp_path / "out", folder, ANYTHING, audio_weights=weights)
    assert len(found.objects) == 2
    config = json.loads((folder / "config.json").read_text())
    for source in ("source", encoder_fingerprint(weights)):
        (folder / "config.json").write_text(json.dumps({**config, "features_from": source}))
        again = predict_video(video, tmp_path / source, folder, ANYTHING, audio_weights=weights)
        assert again.results.read_bytes() == found.results.read_bytes()
    (folder / "config.json").write_text(json.dumps({**config, "features_from": "others"}))
    with pytest.raises(AvisError, match="made with other weights than"):
        predict_video(video, tmp_path / "out", folder, ANYTHING, audio_weights=weights)


def test_a_second_pass_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    video = clip_of(tmp_path / "clip")
    kept = predict_video(video, tmp_path / "once", folder, ANYTHING)
    once = capfd.readouterr().err
    monkeypatch.setattr(offline, "KEPT_FRAMES", 0)
    monkeypatch.setattr(offline, "KEPT_BYTES", 0)
    again = predict_video(video, tmp_path / "twice", folder, ANYTHING)
    twice = capfd.readouterr().err
    assert kept.results.read_bytes() == again.results.read_bytes()
    assert "pass 1: find objects: 100%" in once and "pass 2" not in once
    assert "pass 1: find objects: 100%" in twice and "pass 2: masks: 100%" in twice


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 0.5])
def test_moments_are_those_of_the_whole_video(tmp_path: Path, rate_hz: float) -> None:
    """Decoded piece by piece, a video has the frames and seconds that it has when decoded whole."""
    video = make_clip(tmp_path / "clip.mp4", flashes_s=(0.5, 1.2, 3.9), seconds=4.5)
    whole = read_clip(video, frame_rate_hz=rate_hz)
    seconds = seconds_of_sound(whole.audio, len(whole.frames), rate_hz)
    clip = _VideoClip(video, rate_hz, 64, hears=True)
    for _ in range(2):
        moments = list(clip())
        assert clip.frames == len(moments) == len(whole.frames)
        for (picture, sound), frame, second in zip(moments, whole.frames, seconds, strict=True):
            np.testing.assert_array_equal(picture, frame)
            assert sound is not None
            heard = second != 0  # the whole clip's sound is cut where its last frame ends
            np.testing.assert_array_equal(sound[heard], second[heard])
        assert np.abs(moments[0][1]).max() > 0.1  # type: ignore[arg-type]


def test_sound_shorter_and_longer_than_the_pictures(folder: Path, tmp_path: Path) -> None:
    for name, seconds in (("short", 1.0), ("long", 6.0)):
        pictures = make_clip(tmp_path / "v.mp4", seconds=3.0, audio_codec=None)
        sound = make_clip(tmp_path / "a.mp4", seconds=seconds, flashes_s=(0.5,), video_codec=None)
        mixed = join(pictures, sound, tmp_path / f"{name}.mp4")
        clip = _VideoClip(mixed, 1.0, 64, hears=True)
        sounds = [sound for _, sound in clip() if sound is not None]
        assert len(sounds) == clip.frames
        assert np.abs(sounds[0]).max() > 0.1 and np.abs(sounds[2]).max() < 0.01
        assert predict_video(mixed, tmp_path / "out", folder, ANYTHING).objects


def test_a_video_that_changes_its_size_is_scaled_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    video = make_clip_of_two_sizes(tmp_path / "both.ts", sizes=((96, 64), (64, 96)))
    found = predict_video(video, tmp_path / "out", folder, ANYTHING)
    written = json.loads(found.results.read_text())
    assert (written["width"], written["height"], written["frames"]) == (96, 64, 4)
    assert found.changes.count("frame") == 2
    assert "96x64 to 64x96 at 2.5 s" in found.changes.sentences()[0]
    whole = predict_video(clip_of(tmp_path / "whole"), tmp_path / "out", folder, ANYTHING)
    assert not whole.changes


def join(pictures: Path, sound: Path, path: Path) -> Path:
    """A file with the pictures of one and the sound of another, not interleaved."""
    with av.open(str(pictures)) as one, av.open(str(sound)) as other, av.open(str(path), "w") as out:
        for source, kind in ((one, "video"), (other, "audio")):
            out.add_stream_from_template(getattr(source.streams, kind)[0])
        for source, target in ((one, out.streams[0]), (other, out.streams[1])):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = target
                    out.mux(packet)
    return path


def test_intervals_are_runs_of_masks() -> None:
    mask = {"size": [2, 2], "counts": "04"}  # all four pixels
    empty = {"size": [2, 2], "counts": "4"}
    masks = [mask, mask, None, empty, mask]
    track = Result(video_id=1, category_id=3, score=0.5, segmentations=masks)
    assert _intervals(track, 1.0) == [(0.0, 2.0), (4.0, 5.0)]
    assert _intervals(track, 2.0) == [(0.0, 1.0), (2.0, 2.5)]
