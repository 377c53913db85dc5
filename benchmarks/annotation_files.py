"""Time and memory of reading a large AVISeg JSON, against json.load.

Run from the repository root: PYTHONPATH=. python benchmarks/annotation_files.py [--gigabytes 1.0]

The file has uncompressed run lengths, which grow most in memory. Each way reads it in a process of its own.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measuring import alone, peak_mb

HEIGHT, WIDTH, FRAMES = 720, 1280, 60


def by_avis(path: Path) -> object:
    """Our reader."""
    from components.core.records.annotations import read_annotations

    return read_annotations(path)


def by_json(path: Path) -> object:
    """Python's own."""
    with path.open() as file:
        return json.load(file)


def measured(read: Callable[[Path], object], path: Path) -> str:
    """What reading a file took, said by the process that did nothing else."""
    start = time.monotonic()
    kept = read(path)
    seconds = time.monotonic() - start
    own_mb = psutil.Process().memory_full_info().uss / 1e6
    del kept
    most = f"{peak_mb():.0f} MB at most with the mapped file"
    return f"{seconds:.1f} s, {own_mb:.0f} MB of its own afterwards, {most}"


def main() -> None:
    """Write the file, read it both ways, remove it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.json"
        start = time.monotonic()
        write(path, arguments.gigabytes)
        print(f"{path.stat().st_size / 1e9:.2f} GB written in {time.monotonic() - start:.0f} s")
        for name, read in (("avis", by_avis), ("json.load", by_json)):
            print(f"{name:10} {alone(measured, read, path)}")


def write(path: Path, gigabytes: float) -> None:
    """Videos of a minute, each with one track of a blob with a ragged edge."""
    masks = json.dumps([runs(blob(k)) for k in range(FRAMES)])
    count = max(1, int(gigabytes * 1e9 / len(masks)))
    videos = [
        {
            "id": n, "length": FRAMES, "height": HEIGHT, "width": WIDTH,
            "file_names": [f"v{n}/{k:05d}.jpg" for k in range(FRAMES)],
        }
        for n in range(count)
    ]  # fmt: skip
    with path.open("w") as file:
        head = {"info": {}, "categories": [{"id": 1, "name": "dog"}], "videos": videos}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for n in range(count):
            row = f'{{"id": {n + 1}, "video_id": {n}, "category_id": 1, "segmentations": {masks}}}'
            file.write((", " if n else "") + row)
        file.write("]}")


def blob(k: int) -> np.ndarray:
    """A round mask [H, W] with 40 teeth, moving to the right."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.arctan2(rows - 360, columns - 600)
    inside: np.ndarray = (columns - 600 - 3 * k) ** 2 + (rows - 360) ** 2 < (
        200 + 30 * np.sin(40 * angle)
    ) ** 2
    return inside


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths, column by column."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, flat.size]).tolist()}


if __name__ == "__main__":
    main()
