"""How long the structure, geometry and time checks take on a set of AVISeg's size, and what memory they need.

Run from the repository root:
    python benchmarks/qa.py [--folder KEEP] [--workers 2] [--groups structure geometry time] [--profile]

The set: 926 clips of 61 frames, 1280x720, with 90,000 masks as compressed RLE (blobs with ragged edges that
move and change their shape), their boxes and areas, sound and JPEG frames. There are few distinct JPEGs and
recordings, linked under every name: their bytes come from the page cache, as just after their extraction.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import PeakMemory

from components.core.clips.index import MediaEntry, read_media_index, write_media_index
from components.core.records.annotations import SPLITS
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.qa.checks import Check, chosen_checks
from components.qa.dataset import Dataset
from components.qa.label_files import read_split
from components.qa.params import QaParams
from components.qa.stage import _check_clips, check_clip

CLIPS = {"train": 616, "val": 105, "test": 205}
FRAMES, WIDTH, HEIGHT, MASKS = 61, 1280, 720, 90_000
CATEGORIES = 26
DISTINCT = 12  # pictures and recordings
BACKGROUNDS = Path("data/sample/kit/backgrounds")


def main() -> None:
    """Make the set, check it, print seconds and megabytes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="keep the set here, and use it if it is there")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--groups", nargs="+", default=["structure", "geometry", "time"])
    parser.add_argument("--clips", type=int, help="only so many clips of each split")
    parser.add_argument("--profile", action="store_true", help="20 clips in this process, with cProfile")
    arguments = parser.parse_args()
    checks = [check for check in chosen_checks(QaParams()) if check.group in arguments.groups]
    with tempfile.TemporaryDirectory() as temporary:
        paths = Paths((arguments.folder or Path(temporary)).absolute() / "data")
        if not (paths.media / "index.parquet").is_file():
            start = time.monotonic()
            make_set(paths)
            print(f"set made in {time.monotonic() - start:.0f} s", flush=True)
        if arguments.profile:
            profile(paths, checks)
        else:
            measure(paths, checks, arguments.workers, arguments.clips)


def measure(paths: Paths, checks: list[Check], workers: int, most_clips: int | None) -> None:
    """Check the whole set as the stage does, and print what it took."""
    memory = PeakMemory(lambda process: process.memory_info().rss)
    start = time.monotonic()
    dataset = read(paths)
    for document in dataset.documents.values():
        document.clips = document.clips[:most_clips]
    read_s = time.monotonic() - start
    findings = _check_clips(dataset, checks, QaParams(), EngineParams(workers=workers))
    findings += [finding for check in checks for finding in check.check_set(dataset)]
    total_s = time.monotonic() - start
    counts: dict[str, int] = {}
    for finding in findings:
        counts[finding.check] = counts.get(finding.check, 0) + 1
    masks = sum(clip.masks for clip in dataset.clips)
    print(f"{len(dataset.clips)} clips, {masks} masks, {len(checks)} checks, {workers} workers")
    print(f"reading the files  {read_s:6.1f} s")
    print(f"in all             {total_s:6.1f} s")
    print(f"most memory        {memory.stop() / 1e6:6.0f} MB, the process and its workers")
    print(f"failed: {dataset.failed}; findings: {counts}")


def profile(paths: Paths, checks: list[Check]) -> None:
    """Print where the time goes in 20 clips."""
    clips = read(paths).documents["train"].clips[:20]
    profiler = cProfile.Profile()
    profiler.enable()
    for clip in clips:
        check_clip(clip, checks)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def read(paths: Paths) -> Dataset:
    """The set with its annotation files read."""
    media = read_media_index(paths.media / "index.parquet")
    documents = {
        split: read_split(paths.annotations / f"{split}.json", split, paths.media, media) for split in SPLITS
    }
    return Dataset(documents, media)


def make_set(paths: Paths) -> None:
    """Write annotations, frames, sound and the index."""
    random = np.random.default_rng(0)
    originals = paths.root / "originals"
    originals.mkdir(parents=True)
    (paths.media / "audio").mkdir(parents=True)
    paths.annotations.mkdir(parents=True)
    for number in range(DISTINCT):
        make_picture(originals / f"{number}.jpg", random)
        make_sound(originals / f"{number}.wav", random)
    masks_left, clips_left, entries = MASKS, sum(CLIPS.values()), []
    for split, count in CLIPS.items():
        videos: list[dict[str, Any]] = []
        tracks: list[dict[str, Any]] = []
        for number in range(count):
            name = f"{split}{number:04d}"
            frames = paths.media / "frames" / name
            frames.mkdir(parents=True)
            first = int(random.integers(DISTINCT))
            for k in range(FRAMES):
                os.link(originals / f"{(first + k) % DISTINCT}.jpg", frames / f"{k:05d}.jpg")
            os.link(originals / f"{first}.wav", paths.media / "audio" / f"{name}.wav")
            files = [f"{name}/{k:05d}.jpg" for k in range(FRAMES)]
            size = {"height": HEIGHT, "width": WIDTH}
            videos.append({"id": number + 1, "file_names": files, "length": FRAMES, **size})
            wanted = masks_left // clips_left
            masks_left, clips_left = masks_left - wanted, clips_left - 1
            for track in make_tracks(random, wanted):
                category = int(random.integers(CATEGORIES)) + 1
                ids = {"id": len(tracks) + 1, "video_id": number + 1, "category_id": category}
                tracks.append({**ids, "iscrowd": 0, **size, **track})
            entries.append(
                MediaEntry(
                    name, "ok", "", FRAMES, WIDTH, HEIGHT, FRAMES * 16_000, 1.0, None, f"{name}f", f"{name}a"
                )
            )
        categories = [{"id": k + 1, "name": f"category {k + 1}"} for k in range(CATEGORIES)]
        document = {"info": {}, "categories": categories, "videos": videos, "annotations": tracks}
        (paths.annotations / f"{split}.json").write_text(json.dumps(document, separators=(",", ":")))
    write_media_index(paths.media / "index.parquet", entries)


def make_tracks(random: np.random.Generator, masks: int) -> list[dict[str, Any]]:
    """One to four tracks with so many masks together."""
    count = max(-(-masks // FRAMES), int(random.integers(1, 5)))
    shares = np.full(count, masks // count)
    shares[: masks % count] += 1
    return [make_track(random, int(share)) for share in shares]


def make_track(random: np.random.Generator, masks: int) -> dict[str, Any]:
    """A blob that goes its way, labelled in one run or two."""
    from pycocotools import mask as coco

    start = int(random.integers(FRAMES - masks + 1))
    pause = start + masks // 2 if start + masks + 6 < FRAMES else None
    labelled = [k + 6 if pause is not None and k >= pause else k for k in range(start, start + masks)]
    angles = np.linspace(0, 2 * np.pi, 160, endpoint=False)
    radius = random.uniform(25, 170)
    places = random.uniform((200, 150), (WIDTH - 200, HEIGHT - 150)), random.uniform(-3, 3, 2)
    phases, waves = random.uniform(0, 6.28, 6), random.uniform(0, 0.12, 6)
    segmentations: list[Any] = [None] * FRAMES
    boxes: list[Any] = [None] * FRAMES
    areas: list[Any] = [None] * FRAMES
    for k in labelled:
        shape = 1 + sum(
            a * np.sin((n + 1) * angles + phase + 0.2 * k)
            for n, (a, phase) in enumerate(zip(waves, phases, strict=True))
        )
        shape = shape * radius + random.normal(0, 1.0, len(angles))
        centre = places[0] + places[1] * k + 12 * np.sin(k / 5 + phases[:2])
        points = centre + shape[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.clip(points, 0, (WIDTH, HEIGHT))
        code = coco.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH)[0]
        boxes[k] = [float(value) for value in coco.toBbox(code)]
        areas[k] = int(coco.area(code))
        segmentations[k] = {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode("ascii")}
    return {"segmentations": segmentations, "bboxes": boxes, "areas": areas}


def make_picture(path: Path, random: np.random.Generator) -> None:
    """A photograph of the sample kit with grain."""
    files = sorted(BACKGROUNDS.iterdir())
    picture = cv2.resize(cv2.imread(str(files[int(random.integers(len(files)))])), (WIDTH, HEIGHT))
    noisy = picture + random.normal(0, 4, picture.shape)
    cv2.imwrite(str(path), np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])


def make_sound(path: Path, random: np.random.Generator) -> None:
    """Noise that comes and goes, 16 kHz mono."""
    loudness = np.repeat(random.choice([0.001, 0.1], FRAMES * 2), 8_000)
    samples = np.clip(random.normal(0, 1, FRAMES * 16_000) * loudness, -1, 1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
