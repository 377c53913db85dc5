"""Peak memory of reading large annotations: does it grow with the file?

Run from the repository root: PYTHONPATH=. python benchmarks/annotation_memory.py [--megabytes 600] [--check]

Each file is written to a temporary folder (--folder says where), converted in a process of its own, and
removed; or, with --reader, imported as the annotate stage does; or read as stages read their split files
(aviseg alone): as qa does, or as train, predict and evaluate. The own memory (RssAnon) of the process and of
all that it started is looked at every 20 ms and added up, so that what two of them share counts twice; pages
of files come on top and are given back when somebody else needs them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from components.core.records.masks import encode

HEIGHT, WIDTH, FRAMES, TRACKS = 720, 1280, 60, 3  # of each video
MEASURE = """
import os, sys, threading
from pathlib import Path
def family(pid):
    yield pid
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            yield from family(child)
def own():
    kib = 0
    try:
        for pid in family("self"):
            status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
            kib += int(status.get("RssAnon", "0 kB").split()[0])
    except OSError:  # one of them ended
        pass
    return kib / 1024
before, peak, done = own(), 0.0, threading.Event()
def look():
    global peak
    while not done.wait(0.02):
        peak = max(peak, own())
thread = threading.Thread(target=look)
thread.start()
start = sum(os.times()[:4])
path, kind, target, check, reader, videos = sys.argv[1:]
if reader == "convert":
    from components.tools.convert import convert
    made = convert(
        Path(path), Path(path + ".made"), source_format=kind, target_format=target, check=check == "True"
    )
    tracks = (track.segmentations for track in made.annotations.tracks)
elif reader == "annotate":
    import json, pyarrow.parquet
    from components.annotate.params import AnnotateParams
    from components.annotate.stage import annotate
    from components.core.run.paths import Paths
    from components.core.tracking.run import Run
    paths = Paths(Path(path).parent / "data")
    paths.media.mkdir(parents=True)
    row = {"status": "ok", "message": "", "frames": 60, "width": 1280, "height": 720, "audio_samples": 960000,
           "source_rate_hz": None}
    table = pyarrow.Table.from_pylist([{"video_id": f"v{n}", **row} for n in range(int(videos))])
    pyarrow.parquet.write_table(table, paths.media / "index.parquet")
    splits = {"by": "hash", "manifest": None}
    annotate(AnnotateParams(source=path, format=kind, splits=splits), paths, Run("memory"))
    tracks = ()
elif reader == "qa":
    from components.qa.label_files import read_split
    made = read_split(Path(path), "train", Path("media"), {})
    tracks = (row["segmentations"] for clip in made.clips for row in clip.tracks)
else:
    from components.core.records.annotations import read_annotations
    made = read_annotations(Path(path))
    tracks = (track.segmentations for track in made.tracks)
masks = sum(mask is not None for track in tracks for mask in track)
seconds = sum(os.times()[:4]) - start
after = own()
done.set()
thread.join()
print(f"{before:.0f} | {max(peak, after):.0f} | {after:.0f} | {masks} | {seconds:.0f}")
"""


def main() -> None:
    """Write each kind of file in each size, convert it, remove it, and print a row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--check", action="store_true", help="read back what was written, and compare")
    parser.add_argument("--to", default="aviseg", help="the format that is written")
    parser.add_argument("--reader", choices=["convert", "annotate", "qa", "stages"], default="convert")
    parser.add_argument("--folder", type=Path, help="for the files; room for four times their size")
    arguments = parser.parse_args()
    options = [arguments.to, str(arguments.check), arguments.reader]
    print(
        "| file | MB | MB before | MB at most | MB after | masks | CPU s |\n"
        "|---|---:|---:|---:|---:|---:|---:|"
    )
    for kind in arguments.kinds:
        for megabytes in arguments.megabytes:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                path, videos = Path(folder) / "large", 0
                with path.open("w") as file:
                    for piece in KINDS[kind](megabytes * 1_000_000):
                        file.write(piece)
                        videos += piece.count('"length": ') + piece.count("<name>v")  # JSON, CVAT
                size = path.stat().st_size / 1e6
                done = subprocess.run(
                    [sys.executable, "-c", MEASURE, str(path), kind.partition(",")[0], *options, str(videos)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
            print(f"| {kind} | {size:.0f} | {done.stdout.strip()} |", flush=True)


def outline(k: int) -> list[float]:
    """A polygon of 60 points that moves, with two decimals as tools write them."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = 100 + 20 * np.sin(7 * angle)
    x, y = 400 + 5 * k + radius * np.cos(angle), 360 + radius * np.sin(angle)
    return [float(value) for value in np.stack([x, y], axis=1).round(2).ravel()]


def blob(k: int) -> np.ndarray:
    """A round mask [H, W] with 40 teeth, moving to the right."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    angle = np.arctan2(rows - 360, columns - 400)
    inside: np.ndarray = (columns - 400 - 5 * k) ** 2 + (rows - 360) ** 2 < (
        150 + 20 * np.sin(40 * angle)
    ) ** 2
    return inside


def segmentations(kind: str) -> list[str]:
    """One for each frame, as JSON."""
    if kind == "polygons":
        return [json.dumps([outline(k)]) for k in range(FRAMES)]
    return [json.dumps(encode(blob(k))) for k in range(FRAMES)]


def aviseg(kind: str) -> Callable[[int], Iterator[str]]:
    """YouTube-VIS JSON of so many bytes."""

    def write(size: int) -> Iterator[str]:
        text = "[" + ",".join(segmentations(kind)) + "]"
        count = max(1, size // (TRACKS * len(text)))
        videos = [
            {
                "id": n, "length": FRAMES, "height": HEIGHT, "width": WIDTH,
                "file_names": [f"v{n}/{k:05d}.jpg" for k in range(FRAMES)],
            }
            for n in range(count)
        ]  # fmt: skip
        head = {"info": {}, "categories": [{"id": 1, "name": "dog"}], "videos": videos}
        yield json.dumps(head)[:-1] + ', "annotations": ['
        for n in range(count * TRACKS):
            comma = "," if n else ""
            row = f'"id": {n + 1}, "video_id": {n // TRACKS}, "category_id": 1, "segmentations": {text}'
            yield f"{comma}{{{row}}}"
        yield "]}"

    return write


def coco_video(kind: str) -> Callable[[int], Iterator[str]]:
    """COCO video JSON of so many bytes."""

    def write(size: int) -> Iterator[str]:
        texts = segmentations(kind)
        count = max(1, size // (TRACKS * (sum(map(len, texts)) + 120 * FRAMES) + 110 * FRAMES))
        images = (
            f'{{"id": {n * FRAMES + k}, "video_id": {n}, "frame_id": {k}, "file_name": "v{n}/{k:05d}.jpg", '
            f'"height": {HEIGHT}, "width": {WIDTH}}}'
            for n in range(count)
            for k in range(FRAMES)
        )
        rows = (
            f'{{"id": {n}, "image_id": {n * FRAMES + k}, "category_id": 1, "track_id": {n * TRACKS + t + 1}, '
            f'"iscrowd": 0, "area": 1.0, "bbox": [1, 1, 9, 9], "segmentation": {texts[k]}}}'
            for n in range(count)
            for t in range(TRACKS)
            for k in range(FRAMES)
        )
        videos = [{"id": n, "name": f"v{n}", "length": FRAMES} for n in range(count)]
        yield json.dumps({"categories": [{"id": 1, "name": "dog"}], "videos": videos})[:-1] + ', "images": ['
        yield from chain([next(images)], ("," + row for row in images))
        yield '], "annotations": ['
        yield from chain([next(rows)], ("," + row for row in rows))
        yield "]}"

    return write


def cvat(kind: str) -> Callable[[int], Iterator[str]]:
    """CVAT's XML of a project of so many bytes."""

    def write(size: int) -> Iterator[str]:
        shape = polygon_element if kind == "polygons" else mask_element
        count = max(1, size // (TRACKS * sum(len(shape(k, k)) for k in range(FRAMES))))
        tasks = "".join(
            f"<task><id>{n}</id><name>v{n}</name><size>{FRAMES}</size><start_frame>0</start_frame>"
            f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size></task>"
            for n in range(count)
        )
        labels = "<labels><label><name>dog</name></label></labels>"
        yield "<annotations><version>1.1</version>"
        yield f"<meta><project><tasks>{tasks}</tasks>{labels}</project></meta>"
        bodies = [shape(k, -1) for k in range(FRAMES)]
        for n in range(count * TRACKS):
            yield f'<track id="{n}" label="dog" task_id="{n // TRACKS}">'
            first = n // TRACKS * FRAMES
            yield from (body.replace('frame="-1"', f'frame="{first + k}"') for k, body in enumerate(bodies))
            yield "</track>"
        yield "</annotations>"

    return write


def label_studio(size: int) -> Iterator[str]:
    """Label Studio's JSON of so many bytes: a task a frame, polygons with a number that tells the track."""
    shapes = [
        [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in zip(flat[::2], flat[1::2], strict=True)]
        for flat in map(outline, range(FRAMES))
    ]

    def task(n: int, k: int) -> str:
        regions = []
        for t in range(TRACKS):
            head = {"id": f"r{t}", "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT}
            value = {"points": shapes[k], "closed": True, "polygonlabels": ["dog"]}
            regions.append({**head, "from_name": "label", "type": "polygonlabels", "value": value})
            regions.append({**head, "from_name": "track", "type": "number", "value": {"number": t + 1}})
        data = {"image": f"v{n}/{k:05d}.jpg", "video_id": f"v{n}", "frame": k}
        return json.dumps({"id": n * FRAMES + k, "data": data, "annotations": [{"result": regions}]})

    count = max(1, size // (FRAMES * len(task(0, 0))))
    yield "["
    for n in range(count):
        for k in range(FRAMES):
            yield ("," if n + k else "") + task(n, k)
    yield "]"


def mots_txt(size: int) -> Iterator[str]:
    """One file of MOTS, which is one video, of so many bytes."""
    codes = [encode(blob(k))["counts"] for k in range(FRAMES)]
    for k in range(max(1, size // len(codes[0]))):
        yield f"{k} 1001 1 {HEIGHT} {WIDTH} {codes[k % FRAMES]}\n"


def polygon_element(k: int, frame: int) -> str:
    """A polygon as CVAT writes it."""
    flat = outline(k)
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in zip(flat[::2], flat[1::2], strict=True))
    return f'<polygon frame="{frame}" outside="0" keyframe="1" points="{points}"></polygon>'


def mask_element(k: int, frame: int) -> str:
    """A brush mask as CVAT writes it: run lengths row by row in the box."""
    mask = blob(k)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    inside = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    flat = inside.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    runs = ", ".join(str(run) for run in np.diff([0, *changes, flat.size]))
    height, width = inside.shape
    return (
        f'<mask frame="{frame}" outside="0" keyframe="1" rle="{runs}" left="{left}" top="{top}" '
        f'width="{width}" height="{height}"></mask>'
    )


KINDS = {
    "aviseg, polygons": aviseg("polygons"),
    "aviseg, run lengths": aviseg("rle"),
    "coco_video, polygons": coco_video("polygons"),
    "coco_video, run lengths": coco_video("rle"),
    "cvat, polygons": cvat("polygons"),
    "cvat, masks": cvat("masks"),
    "label_studio, polygons": label_studio,
    "mots_txt, one video": mots_txt,
}


if __name__ == "__main__":
    main()
