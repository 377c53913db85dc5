"""media -> AVISeg layout -> manifest -> ingest -> extract gives the same media."""

import wave
from pathlib import Path

import numpy as np
import pytest

from components.core.raw.index import Status
from components.core.raw.manifest import ManifestEntry, write_manifest
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
from components.extract.params import ExtractParams
from components.extract.stage import extract
from components.ingest.params import IngestParams
from components.ingest.stage import ingest
from components.tools.aviseg_export import export
from components.tools.manifests.from_aviseg import manifest_from_aviseg
from tests.support.clips import make_clip, onset_s

ENGINE = EngineParams(workers=1)
NAMES = {"-wgEIkAongk": "train", "9h7btHpA52U-00.22.53.668-00.23.54.504-seg2": "test"}


def embedding(sound: np.ndarray) -> np.ndarray:
    seconds = sound.reshape(-1, 16_000)
    return np.repeat(np.abs(seconds).mean(1)[:, None], 128, axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    root = tmp_path_factory.mktemp("data")
    paths = Paths(root)
    entries = []
    for name, split in NAMES.items():
        clip = make_clip(root / "videos" / f"{name}.mp4", seconds=3, flashes_s=(1.7,))
        entries.append(ManifestEntry(video_id=name, source=str(clip), split=split))
        files = [f"{name}/{k:05d}.jpg" for k in range(3)]
        box = np.zeros((64, 96), dtype=bool)
        box[10:30, 20:50] = True
        tracks = [Track(1, 1, 3, [masks.encode(box), None, masks.encode(box)])]
        videos = [Video(1, name, files, 3, 64, 96)]
        write_annotations(paths.annotations / f"{split}.json", AnnotationSet({3: "guitar"}, videos, tracks))
    write_manifest(root / "manifest.csv", entries)
    ingest(IngestParams(manifest=str(root / "manifest.csv")), ENGINE, paths)
    extract(ExtractParams(), ENGINE, paths)
    return paths


def test_round_trip(paths: Paths, tmp_path: Path) -> None:
    out = tmp_path / "AVISeg"
    exported = export(out, paths=paths, engine=ENGINE, embed=embedding)
    assert (exported.videos, exported.features) == ({"train": 1, "test": 1}, 2)
    for name, split in NAMES.items():
        with wave.open(str(out / split / "WAVAudios" / f"{name}.wav")) as file:
            shape = (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes())
            assert shape == (44_100, 2, 2, 3 * 44_100)
            left = np.frombuffer(file.readframes(3 * 44_100), dtype="<i2")[::2]
        assert onset_s(left, 44_100) == pytest.approx(1.7, abs=0.005)
        features = np.load(out / split / "FEATAudios" / f"{name}.npy")
        assert (features.shape, features.dtype) == ((3, 128), np.float32)
        assert read_annotations(out / f"{split}.json") == read_annotations(
            paths.annotations / f"{split}.json"
        )

    manifest = tmp_path / "manifest.csv"
    entries = manifest_from_aviseg(out).entries
    assert {entry.video_id: entry.split for entry in entries} == NAMES
    write_manifest(manifest, entries)
    back = Paths(tmp_path / "data")
    rows = ingest(IngestParams(manifest=str(manifest)), ENGINE, back)
    assert [(row.status, row.duration_s, row.width, row.path) for row in rows] == [
        (Status.OK, 3.0, 96, f"{entry.video_id}.frames") for entry in entries
    ]
    media = {row.video_id: row for row in extract(ExtractParams(), ENGINE, back)}
    for name in NAMES:
        assert (media[name].frames, media[name].audio_samples) == (3, 48_000)
        for k in range(3):
            frame = f"frames/{name}/{k:05d}.jpg"
            assert (back.media / frame).read_bytes() == (paths.media / frame).read_bytes()
        sounds = []
        for folder in (paths.media, back.media):
            with wave.open(str(folder / "audio" / f"{name}.wav")) as file:
                sounds.append(np.frombuffer(file.readframes(48_000), dtype="<i2").astype(float))
        assert np.abs(sounds[0] - sounds[1]).max() < 400  # of 32768: resampled once more
        assert np.load(back.media / "features" / f"{name}.npy").shape == (3, 128)
    index = (back.raw / "index.parquet").read_bytes()
    ingest(IngestParams(manifest=str(manifest)), ENGINE, back)
    assert (back.raw / "index.parquet").read_bytes() == index


def test_export_says_what_is_left_out_and_refuses_a_full_folder(paths: Paths, tmp_path: Path) -> None:
    exported = export(tmp_path / "new", paths=paths, engine=ENGINE)
    assert "FEATAudios holds 0 of them" in str(exported)
    assert not (tmp_path / "new" / "train" / "FEATAudios").exists()
    with pytest.raises(AvisError, match="not empty"):
        export(tmp_path / "new", paths=paths, engine=ENGINE)
    with pytest.raises(AvisError, match="annotate"):
        export(tmp_path / "other", paths=Paths(tmp_path / "nothing"), engine=ENGINE)


def test_bad_frame_folders(paths: Paths, tmp_path: Path) -> None:
    out = tmp_path / "AVISeg"
    export(out, paths=paths, engine=ENGINE)
    name = "-wgEIkAongk"
    images = out / "train" / "JPEGImages"
    for bad in ("silent", "broken", "empty"):
        (images / bad).mkdir()
    jpeg = (images / name / "00000.jpg").read_bytes()
    (images / "silent" / "0.jpg").write_bytes(jpeg)
    (images / "broken" / "0.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (out / "train" / "WAVAudios" / "broken.wav").write_bytes(b"RIFF")
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, manifest_from_aviseg(out).entries)
    rows = ingest(IngestParams(manifest=str(manifest)), ENGINE, Paths(tmp_path / "data"))
    found = {row.video_id: row.status.value for row in rows}
    assert found == dict.fromkeys(NAMES, "ok") | {
        "silent": "no_audio",
        "broken": "corrupt",
        "empty": "no_video",
    }
    with pytest.raises(AvisError, match="no AVISeg download"):
        manifest_from_aviseg(tmp_path)


def test_an_export_that_ends_early_leaves_no_folder(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("components.tools.aviseg_export.write_bytes", stop)
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / "out", paths=paths)
    assert not (tmp_path / "out").exists()
    export(tmp_path / "out", paths=paths)
