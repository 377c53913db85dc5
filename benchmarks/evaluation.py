"""How long both protocols take on a test split of AVISeg's size, and in how much memory.

Run from the repository root: python benchmarks/evaluation.py [--videos 205] [--tracks 100] [--workers 0 1]

The set is made up: ellipses with dents that move through 1280x720 frames. A fifth of the predicted tracks
follow an object of the ground truth, the others go their own way; each has a mask on nearly every frame.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measuring import PeakMemory, alone
from pycocotools import mask as coco

FRAMES = 61
HEIGHT, WIDTH = 720, 1280
CATEGORIES = 26
PATHS = 120  # different ways through the picture; tracks share them
COPIES = 4  # of each way, shaken a little


def main() -> None:
    """Make the set, evaluate it in a process of its own, print time and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=205)
    parser.add_argument("--tracks", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--folder", type=Path, help="keep the set here, and use it if it is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        truth, results = folder / "test.json", folder / "results.json"
        if not results.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            start = time.perf_counter()
            make(truth, results, videos=arguments.videos, tracks=arguments.tracks)
            print(f"set made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        size_mb = results.stat().st_size / 1e6
        print(f"{platform.machine()}, {psutil.cpu_count()} cores; results.json {size_mb:.0f} MB")
        for workers in arguments.workers:
            wall_s, peak_mb, numbers = alone(evaluate, truth, results, workers)
            print(f"workers {workers}: {wall_s:6.1f} s, peak {peak_mb:6.0f} MB, {numbers}")


def make(truth: Path, results: Path, *, videos: int, tracks: int) -> None:
    """Write annotations and results of the same masks for any number of videos."""
    chance = np.random.default_rng(0)
    ways = [_way(chance) for _ in range(PATHS)]
    with truth.open("w") as truth_file, results.open("w") as results_file:
        rows: list[dict[str, Any]] = []
        names = []
        results_file.write("[")
        for video in range(videos):
            names.append([f"v{video}/{frame:05d}.jpg" for frame in range(FRAMES)])
            objects = [(int(chance.integers(PATHS)), int(chance.integers(CATEGORIES)) + 1) for _ in range(3)]
            for way, category in objects:
                sounding = chance.random(FRAMES) < 0.8
                masks = [mask if here else None for mask, here in zip(ways[way][0], sounding, strict=True)]
                rows.append(_row(len(rows) + 1, video, category, masks))
            for track in range(tracks):
                copies = track % 5 == 0
                way, category = objects[track // 5 % len(objects)]
                if not copies:
                    way, category = int(chance.integers(PATHS)), int(chance.integers(CATEGORIES)) + 1
                masks = list(ways[way][int(chance.integers(1, COPIES))])
                row = {
                    "video_id": video + 1,
                    "score": round(float(chance.random()) * (1 if copies else 0.5), 6),
                    "category_id": category,
                    "segmentations": [mask if chance.random() < 0.95 else None for mask in masks],
                }
                results_file.write(("," if video or track else "") + json.dumps(row))
        results_file.write("]")
        json.dump(
            {
                "categories": [{"id": number + 1, "name": f"c{number}"} for number in range(CATEGORIES)],
                "videos": [
                    {
                        "id": place + 1,
                        "file_names": files,
                        "length": FRAMES,
                        "height": HEIGHT,
                        "width": WIDTH,
                    }
                    for place, files in enumerate(names)
                ],
                "annotations": rows,
            },
            truth_file,
        )


def _way(chance: np.random.Generator) -> list[list[dict[str, Any]]]:
    """Masks of one shape on its way through the frames, in copies that are shaken a little."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = chance.uniform(40, 160) * (1 + 0.15 * np.sin(angles * chance.integers(2, 6)))
    start, speed = chance.uniform((200, 150), (1080, 570)), chance.normal(0, 4, 2)
    return [
        [_ellipse(start + frame * speed + chance.normal(0, 6, 2), radius, angles) for frame in range(FRAMES)]
        for _ in range(COPIES)
    ]


def _ellipse(centre: Any, radius: Any, angles: Any) -> dict[str, Any]:
    x = np.clip(centre[0] + radius * np.cos(angles), 0, WIDTH)
    y = np.clip(centre[1] + radius * np.sin(angles), 0, HEIGHT)
    code = coco.frPyObjects([np.stack([x, y], 1).ravel().tolist()], HEIGHT, WIDTH)[0]
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode("ascii")}


def _row(number: int, video: int, category: int, masks: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    return {
        "id": number,
        "video_id": video + 1,
        "category_id": category,
        "iscrowd": 0,
        "segmentations": list(masks),
    }


def evaluate(truth: Path, results: Path, workers: int) -> tuple[float, float, dict[str, Any]]:
    """Return wall seconds, the peak of the processes' private memory together, and the headline numbers."""
    from components.core.metrics.score import numbers, score_files
    from components.core.run.params import EngineParams

    memory, start = PeakMemory(lambda one: one.memory_full_info().pss, every_s=0.1), time.perf_counter()
    found = numbers(score_files(truth, results, engine=EngineParams(workers=workers)))
    wall_s = time.perf_counter() - start
    heads = {name: {key: values[key] for key in ("mAP", "HOTA", "FSLA")} for name, values in found.items()}
    return wall_s, memory.stop() / 1e6, heads


if __name__ == "__main__":
    main()
