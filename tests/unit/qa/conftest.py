"""A small clean set: discs that move over a textured picture and are labelled while they sound."""

import json
import wave
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from components.core.clips.index import read_media_index
from components.core.records.annotations import AnnotationSet, Track, Video, write_annotations
from components.core.records.masks import decode, encode
from components.core.run.paths import Paths
from components.qa.checks import chosen_checks
from components.qa.dataset import Dataset
from components.qa.findings import Finding
from components.qa.label_files import read_split
from components.qa.params import QaParams
from components.qa.stage import check_clip

HEIGHT, WIDTH, FRAMES, RATE_HZ = 144, 256, 12, 16_000
SPLITS = {"train": ["t0", "t1", "t2", "t3", "t4"], "val": ["v0"], "test": ["e0", "e1"]}
# Seconds in which each clip's first and second object sound.
FIRST, SECOND = set(range(0, 6)), set(range(3, 10))


def disc(track: int, k: int) -> np.ndarray:
    """The mask [H, W] of object 0 or 1 on frame k."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = (40 + 5 * k, 45) if track == 0 else (190 - 5 * k, 100 + 2 * (k % 3))
    return (columns - x) ** 2 + (rows - y) ** 2 < (22 + 4 * track) ** 2


def paint(name: str, k: int) -> np.ndarray:
    """Frame k [H, W, 3]: each clip has its own texture, and each frame its own light."""
    random = np.random.default_rng(crc32(name.encode()))
    texture = cv2.resize(random.integers(30, 226, (36, 64, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    picture = np.roll(texture, 3 * k, axis=1)
    for track in (0, 1):
        stripes = (np.indices((HEIGHT, WIDTH)).sum(axis=0) // 6 + k) % 2 * 160 + 40
        picture[disc(track, k)] = np.repeat(stripes[..., None], 3, axis=2)[disc(track, k)]
    return picture


def hum(seconds: set[int], frequency_hz: float, name: str) -> np.ndarray:
    """A tone and a hiss of the clip's own in the given seconds, silence in the others: [FRAMES * RATE_HZ]."""
    on = np.repeat([k in seconds for k in range(FRAMES)], RATE_HZ)
    time_s = np.arange(FRAMES * RATE_HZ) / RATE_HZ
    hiss = np.random.default_rng(crc32(name.encode())).normal(0, 0.05, len(time_s))
    return on * (0.2 * np.sin(2 * np.pi * frequency_hz * time_s) + hiss)


def write_sound(path: Path, sound: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.clip(sound * 32767, -32768, 32767).astype("<i2").tobytes())


@contextmanager
def in_place(edit: Callable[[Callable[[np.ndarray], np.ndarray]], None]) -> Iterator[np.ndarray]:
    """What `edit` reads, to be changed; then it is written."""
    read: list[np.ndarray] = []
    edit(lambda array: read.append(array) or array)
    yield read[0]
    edit(lambda _: read[0])


class LabelledSet:
    """The set on disk, with the means to damage it."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)

    def frame(self, name: str, k: int) -> Path:
        return self.paths.media / "frames" / name / f"{k:05d}.jpg"

    def sound(self, name: str) -> Path:
        return self.paths.media / "audio" / f"{name}.wav"

    @contextmanager
    def changed_document(self, split: str) -> Iterator[dict[str, Any]]:
        path = self.paths.annotations / f"{split}.json"
        document = json.loads(path.read_text())
        yield document
        path.write_text(json.dumps(document))

    def edit(self, split: str, change: Callable[[dict[str, Any]], None]) -> None:
        with self.changed_document(split) as document:
            change(document)

    def edit_media(self, change: Callable[[list[dict[str, Any]]], None]) -> None:
        path = self.paths.media / "index.parquet"
        rows = pyarrow.parquet.read_table(path).to_pylist()
        change(rows)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    def edit_track(self, track_id: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Change one annotation; its boxes and areas go, so that only the planted error is wrong."""

        def edit(document: dict[str, Any]) -> None:
            for track in document["annotations"]:
                if track["id"] == track_id:
                    track.pop("bboxes", None)
                    track.pop("areas", None)
                    change(track)

        for split in SPLITS:
            self.edit(split, edit)

    def put(self, track_id: int, k: int, segmentation: Any) -> None:
        """Replace one segmentation."""
        self.edit_track(track_id, lambda track: track["segmentations"].__setitem__(k, segmentation))

    def edit_mask(self, track_id: int, k: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change one mask [H, W]."""

        def edit(track: dict[str, Any]) -> None:
            track["segmentations"][k] = encode(change(decode(track["segmentations"][k], HEIGHT, WIDTH)))

        self.edit_track(track_id, edit)

    def edit_frame(self, name: str, k: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change one picture [H, W, 3]."""
        cv2.imwrite(str(self.frame(name, k)), change(cv2.imread(str(self.frame(name, k)))))

    def edit_sound(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change a clip's sound [samples], full scale 1."""
        with wave.open(str(self.sound(name)), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32767
        write_sound(self.sound(name), change(samples.copy()))

    def changed_mask(self, track_id: int, k: int) -> AbstractContextManager[np.ndarray]:
        return in_place(partial(self.edit_mask, track_id, k))

    def changed_frame(self, name: str, k: int) -> AbstractContextManager[np.ndarray]:
        return in_place(partial(self.edit_frame, name, k))

    def changed_sound(self, name: str) -> AbstractContextManager[np.ndarray]:
        return in_place(partial(self.edit_sound, name))

    def findings(self, **params: Any) -> list[Finding]:
        """What all checks find, in this process."""
        checks = chosen_checks(QaParams.model_validate(params))
        index = read_media_index(self.paths.media / "index.parquet")
        documents = {
            split: read_split(self.paths.annotations / f"{split}.json", split, self.paths.media, index)
            for split in SPLITS
        }
        dataset = Dataset(documents, index)
        findings: list[Finding] = []
        for document in documents.values():
            for clip in document.clips:
                found, facts = check_clip(clip, checks)
                findings += found
                dataset.clips.append(facts)
        return findings + [finding for check in checks for finding in check.check_set(dataset)]


def compose(root: Path) -> LabelledSet:
    made = LabelledSet(root)
    rows = []
    track_id = 0
    for split, names in SPLITS.items():
        videos, tracks = [], []
        for number, name in enumerate(names, start=1):
            made.frame(name, 0).parent.mkdir(parents=True)
            made.sound(name).parent.mkdir(exist_ok=True)
            for k in range(FRAMES):
                cv2.imwrite(str(made.frame(name, k)), paint(name, k))
            write_sound(made.sound(name), hum(FIRST, 330, name) + hum(SECOND, 500, name))
            files = [f"{name}/{k:05d}.jpg" for k in range(FRAMES)]
            videos.append(Video(number, name, files, length=FRAMES, height=HEIGHT, width=WIDTH))
            for index, seconds in enumerate((FIRST, SECOND)):
                track_id += 1
                masks = [encode(disc(index, k)) if k in seconds else None for k in range(FRAMES)]
                tracks.append(Track(track_id, number, index + 1, masks))
            rows.append(
                {"video_id": name, "status": "ok", "message": "", "frames": FRAMES, "width": WIDTH,
                 "height": HEIGHT, "audio_samples": FRAMES * RATE_HZ, "frame_rate_hz": 1.0, "license": "CC0",
                 "frames_sha256": name, "audio_sha256": name}
            )  # fmt: skip
        write_annotations(
            made.paths.annotations / f"{split}.json",
            AnnotationSet({1: "dog", 2: "cello"}, videos, tracks, {}),
        )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), made.paths.media / "index.parquet")
    return made


@pytest.fixture(scope="session")
def clean_set(tmp_path_factory: pytest.TempPathFactory) -> LabelledSet:
    """The clean set; not to be changed."""
    return compose(tmp_path_factory.mktemp("clean") / "data")


@pytest.fixture
def labelled_set(clean_set: LabelledSet, tmp_path: Path) -> LabelledSet:
    """A copy to damage."""
    import shutil

    shutil.copytree(clean_set.paths.root, tmp_path / "data")
    return LabelledSet(tmp_path / "data")
