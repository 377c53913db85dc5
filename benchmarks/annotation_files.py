"""Time and memory of reading a large AVISeg JSON, against json.load.

Run from the repository root: PYTHONPATH=. python benchmarks/annotation_files.py [--gigabytes 1.0]

The file has uncompressed run lengths, which grow most in memory. Each way reads it in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH, FRAMES = 720, 1280, 60
READ = {
    "avis": "from pathlib import Path\n"
    "from components.core.records.annotations import read_annotations as read\n"
    "read_ = lambda name: read(Path(name))",
    "json.load": "import json\nread_ = lambda name: json.load(open(name))",
}
MEASURE = """
import sys, time
start = time.monotonic()
kept = read_(sys.argv[1])
seconds = time.monotonic() - start
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
own, peak = (int(status[key].split()[0]) // 1024 for key in ("RssAnon", "VmHWM"))
print(f"{seconds:.1f} s, {own} MB of its own afterwards, {peak} MB at most with the mapped file")
"""


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
        for name, code in READ.items():
            done = subprocess.run(
                [sys.executable, "-c", code + MEASURE, str(path)], capture_output=True, text=True, check=True
            )
            print(f"{name:10} {done.stdout.strip()}")


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
