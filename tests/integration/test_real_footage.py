"""Ingest, extract and predict on videos that were filmed, cut and coded by others."""

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from components.core.clips.index import MediaEntry
from components.core.inference.params import PredictParams
from components.core.media.container import probe
from components.core.raw.index import RawEntry, Status
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.tools.prediction.inputs import Input
from components.tools.prediction.one_video import Row, Task, Wanted, predict_one
from tests.support.footage import STATEMENT, band, bikes, bunny
from tests.support.tiny_model import write_finder

# of what each is made; the sound of a telephone (3gp) is another one
CONTAINERS = ("mp4", "mov", "m4v", "f4v", "flv", "avi", "mkv", "webm", "mpg", "vob", "wmv", "3gp")
LATE_MS = {"avi": 50}  # of its MP3: nothing in the file says that the encoder needs a while to begin
ENGINE = EngineParams(workers=1)


@dataclass
class Stages:
    """What ingest and extract made."""

    paths: Paths
    raw: dict[str, RawEntry]
    media: dict[str, MediaEntry]

    def sound(self, name: str) -> NDArray[np.float64]:
        with wave.open(str(self.paths.media / "audio" / f"{name}.wav")) as file:
            return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768

    def picture(self, name: str, frame: int) -> NDArray[np.float64]:
        read = cv2.imread(str(self.paths.media / "frames" / name / f"{frame:05d}.jpg"))
        return cv2.resize(read, (88, 72), interpolation=cv2.INTER_AREA).astype(float)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    paths = Paths(tmp_path_factory.mktemp("data"))
    manifest = paths.root / "manifest.csv"
    entries = [ManifestEntry(ending, str(band(ending)), 20.0, 24.0) for ending in CONTAINERS]
    entries.append(ManifestEntry("beginning", str(band("mp4")), 0.0, 4.0))
    entries += [ManifestEntry(file.stem, str(file), None, None) for file in (STATEMENT, bunny(), bikes())]
    write_manifest(manifest, entries)
    raw = ingest(IngestParams(manifest=str(manifest)), ENGINE, paths)
    media = extract(ExtractParams(), ENGINE, paths)
    return Stages(paths, {row.video_id: row for row in raw}, {row.video_id: row for row in media})


def test_each_has_its_pictures_and_its_sound(stages: Stages) -> None:
    assert {name for name, row in stages.raw.items() if row.status is not Status.OK} == {"bikes"}
    assert stages.raw["bikes"].status is Status.NO_AUDIO
    assert {name: row.frames for name, row in stages.media.items()} == {
        **dict.fromkeys(CONTAINERS, 4),
        "beginning": 4,
        "statement": 8,
        "bigbuckbunny": 5,
        "bikes": 0,
    }
    for name, row in stages.media.items():
        assert row.audio_samples == 16_000 * row.frames
        if row.frames:
            assert np.sqrt(np.mean(stages.sound(name) ** 2)) > 0.003, name


@pytest.mark.parametrize("ending", CONTAINERS)
def test_a_second_is_the_same_second_in_every_container(stages: Stages, ending: str) -> None:
    """The same cut of one film, coded twelve times: pictures and sound belong to the same times."""
    for frame in range(4):
        own, other = (np.abs(stages.picture("mp4", frame) - stages.picture(ending, k)).mean()
                      for k in (frame, (frame + 2) % 4))  # fmt: skip
        assert own < 8 < other
    heard, wanted = stages.sound(ending), stages.sound("mp4")
    edge = 1600  # 0.1 s
    alike = {
        shift: np.corrcoef(wanted[edge:-edge], heard[edge + shift : len(heard) - edge + shift])[0, 1]
        for shift in range(-edge, edge + 1, 8)
    }
    best = max(alike, key=lambda shift: alike[shift])
    assert alike[best] > (0.4 if ending == "3gp" else 0.9)
    assert best / 16 == pytest.approx(LATE_MS.get(ending, 0), abs=15)


def test_silent_until_the_band_begins(stages: Stages) -> None:
    level = np.sqrt(np.mean(stages.sound("beginning").reshape(4, -1) ** 2, axis=1))
    assert level[0] < 0.001 and level[3] > 0.02


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finder(tmp_path_factory.mktemp("model") / "finder")


def predict(video: Path, out: Path, model: Path, **more: object) -> Row:
    wanted = Wanted(
        model=model,
        params=PredictParams(score_threshold=0.0, most_tracks=2),
        save=("objects", "film", "page"),
        **more,  # type: ignore[arg-type]
    )
    return predict_one(Task(Input(video.stem, str(video), video), video, wanted, out, progress=False))


@pytest.mark.parametrize(("video", "frames"), [(STATEMENT, 8), (bunny(), 5)], ids=["statement", "bunny"])
def test_predicted_as_it_was_made(video: Path, frames: int, tmp_path: Path, model: Path) -> None:
    row = predict(video, tmp_path, model)
    assert (row.status, row.frames, row.deaf) == ("ok", frames, False), row.cause
    film, source = probe(Path(row.folder) / "film.mp4"), probe(video)
    assert film.audio_codec == "aac" and film.duration_s == pytest.approx(source.duration_s, abs=0.3)
    found = json.loads((Path(row.folder) / "objects.json").read_text())
    assert [len(thing["segmentations"]) for thing in found["objects"]] == [frames] * row.objects
    assert (Path(row.folder) / "page.html").stat().st_size > (Path(row.folder) / "film.mp4").stat().st_size


def test_without_sound_a_deaf_model_is_asked(tmp_path: Path, model: Path) -> None:
    assert predict(bikes(), tmp_path / "heard", model).status == "no_audio"
    deaf = write_finder(tmp_path / "deaf", audio="none")
    row = predict(bikes(), tmp_path / "seen", model, deaf_model=deaf)
    assert (row.status, row.frames, row.deaf) == ("ok", 10, True), row.cause
