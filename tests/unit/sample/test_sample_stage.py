import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from components.core.raw.manifest import read_manifest
from components.core.records import masks
from components.core.records.annotations import read_annotations
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.sample.kit import load_kit
from components.sample.mix import mix, sounding
from components.sample.params import SampleParams
from components.sample.render import render_frame
from components.sample.scene import SceneSettings, plan_scene, scene_seed
from components.sample.stage import sample
from components.sample.write_clip import write_video

pytestmark = pytest.mark.slow

REPOSITORY = Path.cwd()
KIT = str(REPOSITORY / "data/sample/kit")
ONE = EngineParams(workers=1)


def small(**changes: object) -> SampleParams:
    values = {
        "kit": KIT,
        "train_clips": 2,
        "val_clips": 0,
        "test_clips": 1,
        "min_duration_s": 4,
        "max_duration_s": 5,
        "width": 160,
        "height": 90,
        "frame_rate_hz": 6,
    }
    return SampleParams.model_validate(values | changes)


def run_in(folder: Path, params: SampleParams) -> tuple[subprocess.Popen[str], Path]:
    block = params.model_dump(mode="json")
    (folder / "params.yaml").write_text(json.dumps({"sample": block, "engine": {"workers": 1}}))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "components.sample"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    return process, folder / "data/sample"


def test_stage_writes_what_it_shows(tmp_path: Path) -> None:
    sample(small(), ONE, Paths(tmp_path / "data"))
    folder = tmp_path / "data/sample"
    assert sorted(entry.name for entry in folder.iterdir()) == ["annotations.json", "manifest.csv", "videos"]
    manifest = read_manifest(folder / "manifest.csv")
    assert [entry.video_id for entry in manifest] == [
        "sample_train_0000",
        "sample_train_0001",
        "sample_test_0000",
    ]
    assert [entry.split for entry in manifest] == ["train", "train", "test"]
    assert all(entry.license and "GPL-2" in entry.license for entry in manifest)
    assert all(Path(entry.source).is_file() for entry in manifest)
    annotations = read_annotations(folder / "annotations.json")
    kit = load_kit(Path(KIT))
    assert annotations.categories == {i + 1: name for i, name in enumerate(kit.categories)}
    for video, entry in zip(annotations.videos, manifest, strict=True):
        split, index = entry.split, int(entry.video_id[-4:])
        settings = SceneSettings(split=split, width=160, height=90, min_duration_s=4, max_duration_s=5)
        scene = plan_scene(kit, scene_seed(1, split, index), settings)
        assert (video.length, video.width, video.height) == (scene.duration_s, 160, 90)
        tracks = [track for track in annotations.tracks if track.video_id == video.id]
        for k in range(video.length):
            _, seen = render_frame(kit, scene, k + 0.5, 160, 90)
            wanted = [
                (kit.category_id(thing.category), (seen == i + 1).sum())
                for i, (thing, sounds) in enumerate(zip(scene.objects, sounding(scene, k), strict=True))
                if sounds
            ]
            found = [
                (track.category_id, masks.area(track.segmentations[k]))
                for track in tracks
                if track.segmentations[k]
            ]
            assert found == wanted


def test_same_seed_same_bytes_and_earlier_clips_are_pruned(tmp_path: Path) -> None:
    for name, params in (("a", small()), ("b", small(train_clips=3)), ("b", small())):
        sample(params, ONE, Paths(tmp_path / name))
    first, again = (tmp_path / name / "sample" for name in "ab")
    assert (first / "annotations.json").read_bytes() == (again / "annotations.json").read_bytes()
    videos = [sorted((folder / "videos").iterdir()) for folder in (first, again)]
    assert [file.name for file in videos[0]] == [file.name for file in videos[1]]
    assert [file.read_bytes() for file in videos[0]] == [file.read_bytes() for file in videos[1]]
    sample(small(seed=2), ONE, Paths(tmp_path / "b"))
    assert (first / "annotations.json").read_bytes() != (again / "annotations.json").read_bytes()


@pytest.mark.parametrize(("width", "height"), [(160, 90), (854, 480)])
def test_the_bytes_do_not_hang_on_what_lies_in_memory(tmp_path: Path, width: int, height: int) -> None:
    kit = load_kit(Path(KIT))
    settings = SceneSettings(split="train", width=width, height=height, min_duration_s=1, max_duration_s=1)
    scene = plan_scene(kit, scene_seed(1, "train", 0), settings)
    chance, kept, found = np.random.default_rng(0), [], set()
    for _ in range(12):
        kept.append(chance.bytes(int(chance.integers(1, 200_000))))
        del kept[int(chance.integers(len(kept)))]  # the next frames lie elsewhere
        write_video(kit, scene, tmp_path / "clip.mp4", width, height, 12)
        found.add((tmp_path / "clip.mp4").read_bytes())
    assert len(found) == 1


def test_a_killed_stage_goes_on_where_it_was(tmp_path: Path) -> None:
    params = small(train_clips=8, test_clips=0)
    process, folder = run_in(tmp_path, params)
    journal = folder / ".journal.jsonl"
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "annotations.json").exists()
    finished = [json.loads(line)[0] for line in journal.read_bytes().splitlines()[1:]]
    assert 2 <= len(finished) < 8
    times = {name: (folder / f"videos/{name}.mp4").stat().st_mtime_ns for name in finished}
    process, _ = run_in(tmp_path, params)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert {name: (folder / f"videos/{name}.mp4").stat().st_mtime_ns for name in finished} == times
    sample(params, ONE, Paths(tmp_path / "undisturbed"))
    expected = tmp_path / "undisturbed/sample/annotations.json"
    assert (folder / "annotations.json").read_bytes() == expected.read_bytes()
    assert sorted(entry.name for entry in folder.iterdir()) == ["annotations.json", "manifest.csv", "videos"]


def test_a_bad_kit_ends_with_one_line_and_no_output(tmp_path: Path) -> None:
    process, folder = run_in(tmp_path, small(kit="nowhere"))
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert errors.startswith("sample: ")
    assert "nowhere" in errors
    assert "Traceback" not in errors
    assert not (folder / "annotations.json").exists()


def test_no_clips_need_no_kit(tmp_path: Path) -> None:
    nothing = small(kit="nowhere", train_clips=0, test_clips=0)
    sample(nothing, ONE, Paths(tmp_path))
    assert json.loads((tmp_path / "sample/annotations.json").read_text())["videos"] == []
    assert (tmp_path / "sample/manifest.csv").read_text().count("\n") == 1
    assert list((tmp_path / "sample/videos").iterdir()) == []


def test_a_kit_of_the_users_own(tmp_path: Path, own_kit: Path) -> None:
    with pytest.raises(AvisError, match="held-out sprite 'cow/zebu'"):
        sample(small(kit=str(own_kit)), ONE, Paths(tmp_path / "data"))
    sample(small(kit=str(own_kit), held_out_sprites=["bell/pink"]), ONE, Paths(tmp_path / "data"))
    annotations = read_annotations(tmp_path / "data/sample/annotations.json")
    assert annotations.categories == {1: "bell", 2: "horn"}
    assert all(entry.license is None for entry in read_manifest(tmp_path / "data/sample/manifest.csv"))


@pytest.mark.parametrize("frame_rate_hz", [12, 25])
def test_picture_and_sound_of_the_file_are_where_they_belong(tmp_path: Path, frame_rate_hz: int) -> None:
    kit = load_kit(Path(KIT))
    seed = scene_seed(1, "train", 3)
    scene = plan_scene(kit, seed, SceneSettings(split="train", min_duration_s=6, max_duration_s=6))
    file = tmp_path / "clip.mp4"
    write_video(kit, scene, file, 320, 180, frame_rate_hz)
    with av.open(str(file)) as container:
        streams = (
            container.streams.video[0].codec_context.name,
            container.streams.audio[0].codec_context.name,
        )
        assert streams == ("h264", "aac")
        shown = {
            round(frame.time, 4): frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)
        }
    assert len(shown) == 6 * frame_rate_hz
    for time_s in (min(shown), sorted(shown)[len(shown) // 2], max(shown)):
        drawn, _ = render_frame(kit, scene, time_s, 320, 180)
        assert np.abs(drawn.astype(int) - shown[time_s]).mean() < 6
    decoded = np.zeros(7 * 44_100)
    with av.open(str(file)) as container:
        for frame in container.decode(audio=0):
            start = round(frame.time * 44_100)
            decoded[start : start + frame.samples] = frame.to_ndarray()[0]
    mixed = np.zeros(7 * 44_100)
    mixed[: 6 * 44_100] = mix(kit, scene, 0, 6, 44_100)
    spectrum = np.fft.rfft(decoded, 2 * len(mixed)) * np.conj(np.fft.rfft(mixed, 2 * len(mixed)))
    correlation = np.fft.irfft(spectrum)
    lag = int(np.argmax(correlation))
    lag = lag if lag < len(mixed) else lag - 2 * len(mixed)
    assert abs(lag / 44_100) < 0.02
    assert np.corrcoef(decoded, mixed)[0, 1] > 0.95
