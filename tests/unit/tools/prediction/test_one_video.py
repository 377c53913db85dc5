"""Predicting on a video file of one's own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from components.core.clips.index import MediaEntry
from components.core.clips.reader import seconds_of_sound
from components.core.inference.params import PredictParams
from components.core.media.audio_features import encoder_fingerprint
from components.core.media.container import probe
from components.core.media.sound import read_sound
from components.core.records.masks import decode
from components.core.run.disk import DiskFullError
from components.core.run.paths import Paths
from components.core.storage.folder import FolderStore
from components.core.video import stored_masks
from components.core.video.clip import VideoClip
from components.core.video.tracks import intervals
from components.extract.embed_video import EmbedTask, embed_video
from components.extract.write_media import audio_file, write_wav
from components.tools.prediction.inputs import Input
from components.tools.prediction.one_video import Row, Task, Wanted, predict_one
from models.inference import offline, video_module_stream
from tests.support.clips import make_clip, make_clip_of_two_sizes
from tests.support.tiny_model import CATEGORIES, write_finder
from tests.support.vggish_weights import write_vggish
from tests.support.whole_clip import read_clip
from tests.support.work_files import record_work_folders

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


def predict(
    video: Path,
    out: Path,
    model: Path,
    params: PredictParams = ANYTHING,
    save: tuple[str, ...] = ("objects", "film"),
    **more: object,
) -> Row:
    wanted = Wanted(model=model, params=params, save=save, **more)  # type: ignore[arg-type]
    source = Input(video.stem, str(video), video)
    return predict_one(Task(source, video, wanted, out, progress=True))


def objects_of(row: Row) -> dict[str, Any]:
    return json.loads((Path(row.folder) / "objects.json").read_text())  # type: ignore[no-any-return]


def clip_of(path: Path, kind: str = "mp4", **more: object) -> Path:
    video, audio = KINDS[kind]
    settings = {"video_codec": video, "audio_codec": audio, "rate_hz": 48_000, "flashes_s": (0.5,)}
    return make_clip(path.with_suffix(f".{kind}"), seconds=2.5, **{**settings, **more})  # type: ignore[arg-type]


def assert_playable(row: Row, seconds: float, *, sound: bool) -> None:
    assert row.status == "ok", row.cause
    film = Path(row.folder) / "film.mp4"
    info = probe(film)
    assert info.video_codec == "h264"
    assert info.duration_s == pytest.approx(seconds, abs=0.25)
    assert (info.audio_codec == "aac") is sound
    if sound:
        assert abs(read_sound(film, rate_hz=16_000)).max() > 3000


@pytest.mark.parametrize("kind", KINDS)
def test_containers(folder: Path, tmp_path: Path, kind: str) -> None:
    row = predict(clip_of(tmp_path / "my clip", kind), tmp_path / "out", folder)
    assert row.folder == str(tmp_path / "out" / "my clip")
    assert_playable(row, 2.5, sound=True)
    answer = objects_of(row)
    assert answer["video"] == f"my clip.{kind}"
    assert (answer["frames"], answer["width"], answer["height"]) == (2, 96, 64)
    assert row.objects == len(answer["objects"]) == 2
    assert row.sounds.count(": 0-2 s") == 2
    for thing in answer["objects"]:
        assert thing["category"] in CATEGORIES.values()
        assert 0 < thing["score"] <= row.best_score
        assert thing["intervals_s"] == [[0.0, 2.0]]
        assert all(decode(mask, 64, 96).all() for mask in thing["segmentations"])
    assert sorted(file.name for file in Path(row.folder).iterdir()) == [
        *("film.mp4", "objects.json", "prediction.json")
    ]


def test_work_files_lie_beside_the_outputs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = (stored_masks, "MEMORY_BYTES"), (video_module_stream, "MEMORY_BYTES")
    folders = record_work_folders(monkeypatch, *in_memory)
    (tmp_path / "on").mkdir()
    row = predict(clip_of(tmp_path / "clip"), tmp_path / "on" / "this" / "disk", folder)
    assert row.objects and folders == [tmp_path / "on"] * 2


def test_a_full_disk_of_masks_is_one_message(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_work_folders(monkeypatch, (stored_masks, "MEMORY_BYTES"))
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full.open("wb", 0))
    with pytest.raises(DiskFullError, match="the disk is full"):
        predict(clip_of(tmp_path / "clip"), tmp_path / "out", folder)


def test_a_name_that_is_no_utf8(folder: Path, tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"clip\xff.mp4")
    clip_of(tmp_path / "clip").rename(named)
    row = predict(named, tmp_path / "out", folder)
    assert_playable(row, 2.5, sound=True)
    assert objects_of(row)["video"] == named.name


def test_nothing_above_the_threshold(folder: Path, tmp_path: Path) -> None:
    row = predict(clip_of(tmp_path / "clip"), tmp_path / "out", folder, PredictParams(score_threshold=1.0))
    assert (row.objects, row.sounds) == (0, "")
    assert 0 < row.best_score < 1
    assert_playable(row, 2.5, sound=True)
    answer = objects_of(row)
    assert answer["objects"] == [] and answer["score_threshold"] == 1.0


def test_a_video_without_sound_needs_a_deaf_model(folder: Path, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "silent", audio_codec=None)
    row = predict(video, tmp_path / "out", folder)
    assert row.status == "no_audio" and "--deaf-model" in row.cause
    assert not (tmp_path / "out" / "silent").exists()
    deaf = write_finder(tmp_path / "deaf", audio="none")
    row = predict(video, tmp_path / "out", folder, deaf_model=deaf)
    assert row.objects and row.deaf and objects_of(row)["is_deaf"]
    assert_playable(row, 2.5, sound=False)


def test_files_that_are_no_videos(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert "there is no such video" in predict(tmp_path / "nowhere.mp4", out, folder).cause
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 99)
    whole = clip_of(tmp_path / "whole").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    make_clip(tmp_path / "short.mp4", seconds=0.4)
    statuses = {"empty": "corrupt", "text": "corrupt", "half": "corrupt", "short": "too_short"}
    for name, status in statuses.items():
        row = predict(tmp_path / f"{name}.mp4", out, folder)
        assert (row.status, f"{name}.mp4" in row.cause) == (status, True), row
    assert not any(out.iterdir())


def test_a_folder_of_somebody_else_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "out" / "clip" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("all of it")
    row = predict(clip_of(tmp_path / "clip"), tmp_path / "out", folder, save=("objects",))
    assert "did not write" in row.cause and theirs.read_text() == "all of it"


def test_models_that_cannot_hear_a_file(folder: Path, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "clip")
    assert "there is no such model" in predict(video, tmp_path / "out", tmp_path / "nothing").cause
    given = write_finder(tmp_path / "given", audio="features")
    cause = predict(video, tmp_path / "out", given).cause
    assert "hears audio features" in cause and "Set extract.audio_weights in params.yaml" in cause
    row = predict(video, tmp_path / "out", given, audio_weights=tmp_path / "none.pth")
    assert "there are no weights at" in row.cause


def test_a_model_of_features_hears_a_file_through_the_encoder(tmp_path: Path) -> None:
    """As extract makes features of the same video; and only through the weights that it learned with."""
    weights = write_vggish(tmp_path / "vggish.pth")
    video = clip_of(tmp_path / "clip")
    paths = Paths(tmp_path / "data")
    whole = read_clip(video, frame_rate_hz=1.0)
    write_wav(audio_file(paths.media, "clip"), np.round(whole.audio * 32_768).astype(np.int16), 16_000)
    row = MediaEntry("clip", "ok", "", 2, 96, 64, len(whole.audio), 1.0, None, None, None)
    embed_video(EmbedTask(row, weights, FolderStore(paths.media)))
    clip = VideoClip(video, 1.0, 64, hears=True, encoder=weights)
    heard = np.stack([sound for _, sound in clip() if sound is not None])
    np.testing.assert_allclose(heard, np.load(paths.media / "features/clip.npy"), rtol=1e-4, atol=1e-4)
    assert np.abs(heard[0] - heard[1]).max() > 0.01  # a tone, and silence

    folder = write_finder(tmp_path / "given", audio="features")
    found = predict(video, tmp_path / "out", folder, save=("objects",), audio_weights=weights)
    assert found.objects == 2
    config = json.loads((folder / "config.json").read_text())
    for source in ("source", encoder_fingerprint(weights), "others"):
        changed = tmp_path / f"model-{source}"
        changed.mkdir()
        (changed / "model.safetensors").symlink_to(folder / "model.safetensors")
        (changed / "config.json").write_text(json.dumps({**config, "features_from": source}))
        again = predict(video, tmp_path / source, changed, save=("objects",), audio_weights=weights)
        if source == "others":
            assert "made with other weights than" in again.cause
        else:
            assert objects_of(again) == objects_of(found)


def test_a_second_pass_gives_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    video = clip_of(tmp_path / "clip")
    kept = predict(video, tmp_path / "once", folder, save=("objects",))
    once = capfd.readouterr().err
    monkeypatch.setattr(offline, "KEPT_FRAMES", 0)
    monkeypatch.setattr(offline, "KEPT_BYTES", 0)
    again = predict(video, tmp_path / "twice", folder, save=("objects",))
    twice = capfd.readouterr().err
    assert objects_of(kept) == objects_of(again)
    assert "pass 1: find objects: 100%" in once and "pass 2" not in once
    assert "pass 1: find objects: 100%" in twice and "pass 2: masks: 100%" in twice


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 0.5])
def test_moments_are_those_of_the_whole_video(tmp_path: Path, rate_hz: float) -> None:
    """Decoded piece by piece, a video has the frames and seconds that it has when decoded whole."""
    video = make_clip(tmp_path / "clip.mp4", flashes_s=(0.5, 1.2, 3.9), seconds=4.5)
    whole = read_clip(video, frame_rate_hz=rate_hz)
    seconds = seconds_of_sound(whole.audio, len(whole.frames), rate_hz)
    clip = VideoClip(video, rate_hz, 64, hears=True)
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
        clip = VideoClip(mixed, 1.0, 64, hears=True)
        sounds = [sound for _, sound in clip() if sound is not None]
        assert len(sounds) == clip.frames
        assert np.abs(sounds[0]).max() > 0.1 and np.abs(sounds[2]).max() < 0.01
        assert predict(mixed, tmp_path / "out", folder, save=("objects",)).objects


def test_a_video_that_changes_its_size_is_scaled_and_it_is_said(folder: Path, tmp_path: Path) -> None:
    video = make_clip_of_two_sizes(tmp_path / "both.ts", sizes=((96, 64), (64, 96)))
    row = predict(video, tmp_path / "out", folder, save=("objects",))
    written = objects_of(row)
    assert (written["width"], written["height"], written["frames"]) == (96, 64, 4)
    assert row.changes.startswith("2 frames guessed") and "96x64 to 64x96 at 2.5 s" in row.changes
    assert not predict(clip_of(tmp_path / "whole"), tmp_path / "out", folder, save=("objects",)).changes


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
    shown = [True, True, False, False, True]
    assert intervals(shown, 1.0) == [(0.0, 2.0), (4.0, 5.0)]
    assert intervals(shown, 2.0) == [(0.0, 1.0), (2.0, 2.5)]


def test_only_what_the_model_needs_is_imported(folder: Path, tmp_path: Path) -> None:
    video = clip_of(tmp_path / "clip")
    code = (
        "import sys\n"
        "from pipelines.cli import app\n"
        f"app(['predict', {str(video)!r}, '--model', {str(folder)!r}, '--out', {str(tmp_path / 'out')!r}],"
        " standalone_mode=False)\n"
        "slow = {'timm', 'torchvision', 'torch._dynamo', 'scipy', 'pandas', 'mlflow', 'yt_dlp'}\n"
        "print('unneeded:', *sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[4]
    )
    assert done.stdout.splitlines()[-1:] == ["unneeded:"], done.stdout + done.stderr
