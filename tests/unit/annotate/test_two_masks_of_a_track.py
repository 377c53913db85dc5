"""Two masks of one track in one frame: every format unites them, and says and counts that."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.annotate.exports import read_sources
from components.core.records.masks import decode, encode
from tests.unit.annotate import (
    test_burst,
    test_cvat,
    test_cvat_images,
    test_label_studio,
    test_labelme,
    test_via,
)

HEIGHT, WIDTH = 30, 40


def square(left: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[2:4, left : left + 3] = True
    return mask


def polygon(left: int) -> list[float]:
    """6 pixels."""
    return [left, 2.0, left + 3.0, 2.0, left + 3.0, 4.0, left, 4.0]


def write(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def coco(folder: Path) -> Path:
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "track_id": 3, "segmentation": [polygon(10 * n)]}
        for n in (0, 1)
    ]
    image = {"id": 1, "file_name": "clip/00000.jpg", "height": HEIGHT, "width": WIDTH}
    categories = [{"id": 1, "name": "dog"}]
    return write(folder / "a.json", {"images": [image], "annotations": rows, "categories": categories})


def datumaro(folder: Path) -> Path:
    shape = {"type": "polygon", "label_id": 0, "group": 1, "attributes": {"track_id": 3}}
    item = {
        "id": "clip/00000", "image": {"path": "clip/00000.jpg", "size": [HEIGHT, WIDTH]},
        "annotations": [{**shape, "points": polygon(left)} for left in (0, 10)],
    }  # fmt: skip
    labels = {"label": {"labels": [{"name": "dog"}]}}
    return write(folder / "a.json", {"categories": labels, "items": [item]})


def cvat_tracks(folder: Path) -> Path:
    tracks = [test_cvat.track_element(n, test_cvat.brush(0, 10 * n, track_id="3")) for n in (0, 1)]
    return write(folder / "a.xml", test_cvat.single(1, *tracks))


def cvat_group(folder: Path) -> Path:
    tracks = [test_cvat.track_element(n, test_cvat.brush(0, 10 * n), group=3) for n in (0, 1)]
    return write(folder / "a.xml", test_cvat.single(1, *tracks))


def cvat_images(folder: Path) -> Path:
    shapes = [test_cvat_images.polygon(10 * n, track_id="3") for n in (0, 1)]
    task, image = test_cvat_images.task(1), test_cvat_images.image(0, *shapes)
    return write(folder / "a.xml", test_cvat_images.export(task, image))


def label_studio(folder: Path) -> Path:
    regions: list[dict[str, Any]] = []
    for number, left in enumerate((0, 50)):
        points = [[left + x, y] for x, y in ((0, 0), (30, 0), (30, 50), (0, 50))]
        value = {"points": points, "closed": True, "polygonlabels": ["dog"]}
        track = test_label_studio.region("number", {"number": 3}, "track")
        shape = test_label_studio.region("polygonlabels", value)
        regions += [{**part, "id": f"r{number}"} for part in (shape, track)]
    return write(folder / "a.json", [test_label_studio.task(0, *regions)])


def labelme(folder: Path) -> Path:
    copied = Path(shutil.copytree(test_labelme.EXPORT, folder / "labelme"))
    file = copied / "clip_a" / "00000.json"
    document = json.loads(file.read_text())
    document["shapes"].append(document["shapes"][0])
    write(file, document)
    return copied


def via_2(folder: Path) -> Path:
    found = test_via.pictures()
    next(iter(found.values()))["regions"].append(test_via.region("1", "dog", 5))
    return test_via.write(folder, test_via.project_2(found))


def via_3(folder: Path) -> Path:
    drawn = {f"{n}_a": test_via.drawn([], 1 + 2 * n) for n in (0, 1)}
    return test_via.write(folder, test_via.project_3(2, drawn, [f"{k:05d}.jpg" for k in range(3)]))


def mots_txt(folder: Path) -> Path:
    codes = [encode(square(left))["counts"] for left in (0, 10)]
    (folder / "labels.txt").write_text("dog\n")
    return write(folder / "clip.txt", "".join(f"0 1001 1 {HEIGHT} {WIDTH} {code}\n" for code in codes))


def burst(folder: Path) -> Path:
    document = test_burst.document()
    document["sequences"][0]["track_category_ids"]["01"] = 371  # the track's number once more
    document["sequences"][0]["segmentations"][0]["01"] = {"rle": test_burst.code(4), "is_gt": True}
    return write(folder / "a.json", document)


def test_two_tracks_of_a_group_stay_apart_in_datumaro_and_that_is_said(tmp_path: Path) -> None:
    path = datumaro(tmp_path)
    document = json.loads(path.read_text())
    document["items"][0]["annotations"][1]["attributes"] = {"track_id": 4}
    (source,) = read_sources(write(path, document))
    assert [track.id for track in source.reading.annotations.tracks] == [3, 4]
    assert source.reading.changes.line() == "1 mask guessed"


@pytest.mark.parametrize(
    ("write_two", "pixels"),
    [
        (coco, 12), (datumaro, 12), (cvat_tracks, 40), (cvat_group, 40), (cvat_images, 128),
        (label_studio, 8), (labelme, 6), (via_2, 12), (via_3, 10), (mots_txt, 12), (burst, 12),
    ],
)  # fmt: skip
def test_they_are_united_said_and_counted(
    tmp_path: Path, write_two: Callable[[Path], Path], pixels: int
) -> None:
    (source,) = read_sources(write_two(tmp_path))
    annotations = source.reading.annotations
    video = annotations.videos[0]
    assert decode(annotations.tracks[0].segmentations[0], video.height, video.width).sum() == pixels
    merged = [
        change for change in source.reading.changes if change.unit == "mask" and change.kind == "merged"
    ]
    why = "its track has another one in the same frame"
    assert [(change.why, change.count) for change in merged] == [(why, 1)] and merged[0].examples
