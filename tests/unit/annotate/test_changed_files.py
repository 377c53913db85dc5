"""Files of every format but CVAT's (test_cvat.py), changed at random: read so that all decodes, or refused.

With `--hypothesis-profile slow`, 500 changes a format.
"""

import contextlib
import copy
import functools
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.annotate.exports import read_sources
from components.annotate.formats import find_format
from components.annotate.merge import unite_all
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.convert import write_target
from tests.unit.annotate import test_burst, test_via

JSON_FORMATS = ["aviseg", "coco_video", "datumaro", "label_studio", "sav", "burst"]
FOLDER_FORMATS = ["davis", "mots_png", "mots_txt", "sav_folder", "labelme", "via", "via_folder"]
LABELME = Path(__file__).parents[2] / "data" / "annotation_exports" / "labelme_5.4.1"
VALUES = [
    None, True, "", 0, 1, -1, 7, 1.5, 3.0, "1", "2.0", 1e9, 10**30, "9" * 30, float("nan"),
    [], {}, [None], [[1, 2]], [[0, 0, 5, 0, 5, 3]],
    {"size": [6, 8], "counts": "x"}, {"size": [6, 8], "counts": [48]},
    "../x", "a\\b", "a/b", "é", "polygon", "mask", "bbox",
]  # fmt: skip
LONGEST_S = 900 if settings.default.derandomize else 3000  # of the 500 changes of one format

NAMES = [
    "00007.png",
    "x.png",
    "a/00000.png",
    "000/00000.png",
    "../b/00000.png",
    "00001.PNG",
    "labels.txt",
    "é.txt",
]
TEXTS = [
    b"",
    b"0",
    b"-1",
    b"10000",
    b"9" * 30,
    b"\xff",
    b"\n",
    b" ",
    b"background\n",
    b"1,1,1,1,1,1,1,1,1\n",
    b"nan",
]


def base() -> AnnotationSet:
    """Two videos of 6 x 8 pixels, with a polygon, run lengths and a frame without a mask."""
    left, right = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    left[1:4, :3], right[2:5, 5:7] = True, True
    videos = [
        Video(k, name, [f"{name}/{n:05d}.jpg" for n in range(3)], 3, 6, 8) for k, name in ((1, "v"), (2, "w"))
    ]
    return AnnotationSet(
        {1: "dog", 2: "cello"},
        videos,
        [
            Track(1, 1, 1, [encode(left), None, [[0.0, 1, 3, 1, 3, 4, 0, 4]]], annotator="Ada"),
            Track(2, 1, 2, [encode(right), encode(right), None]),
            Track(3, 2, 1, [encode(left), None, encode(right)]),
        ],
    )


@functools.cache
def files() -> dict[str, dict[str, bytes]]:
    """What our own writers write, by format: the files by their names.

    No fixture: Hypothesis would print all of it.
    """
    written: dict[str, dict[str, bytes]] = {}
    for name in (*JSON_FORMATS[:5], *FOLDER_FORMATS[:3]):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "a.json"
            write_target(target, base(), find_format(name))
            pieces = sorted(target.rglob("*")) if target.is_dir() else [target]
            written[name] = {
                "a.json" if piece == target else piece.relative_to(target).as_posix(): piece.read_bytes()
                for piece in pieces
                if piece.is_file()
            }
    written["sav"] = {"a.json": written["sav"]["v_manual.json"]}
    of_davis = [content for name, content in written["davis"].items() if name.startswith("v/")]
    written["sav_folder"] = {
        f"v/{number:03d}/{4 * k:05d}.png": content for number in (0, 1) for k, content in enumerate(of_davis)
    }
    for name, content in written["sav_folder"].items():  # one object in each
        pixels = np.asarray(Image.open(io.BytesIO(content))) == 1 + int(name[2:5])
        written["sav_folder"][name] = png(pixels.astype(np.uint8))
    written["labelme"] = {
        file.relative_to(LABELME).as_posix(): file.read_bytes() for file in sorted(LABELME.rglob("*.json"))
    }
    written["burst"] = {"a.json": json.dumps(test_burst.document()).encode()}
    frames = [f"{k:05d}.png" for k in range(3)]
    drawn = {"1_a": test_via.drawn([], 1), "3_b": test_via.drawn([], 2, vid="3")}
    projects = {
        "via": test_via.project_2(test_via.pictures()),
        "via_folder": test_via.project_3(2, drawn, frames),
    }
    for name, project in projects.items():
        content = json.dumps(project).replace(".jpg", ".png").encode()
        written[name] = {"clip.json": content, **dict.fromkeys(frames, png(np.zeros((6, 8), np.uint8)))}
    return written


def png(pixels: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (object or list, key) in a JSON document."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [*((value, key) for key in keys), *(place for key in keys for place in places(value[key]))]


def change_json(content: bytes, data: st.DataObject) -> bytes:
    document = json.loads(content)
    for _ in range(data.draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        holder, key = found[data.draw(st.integers(0, len(found) - 1))]
        what = data.draw(st.sampled_from(["value", "value", "drop", "double", "text"]))
        if what == "drop":
            del holder[key]
        elif what == "double" and isinstance(holder, list):
            holder.append(holder[key])
        elif what == "text":
            holder[key] = str(holder[key])
        else:
            holder[key] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    changed = json.dumps(document).encode()
    cut = data.draw(st.integers(0, 40))
    return changed[: len(changed) - cut] if cut > 37 else changed


def change_folder(pieces: dict[str, bytes], data: st.DataObject) -> dict[str, bytes]:
    changed = dict(pieces)
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(changed)))
        ways = ["drop", "rename", "bytes", "bytes", "cut", "picture"]
        what = data.draw(st.sampled_from([*ways, *["values"] * 6] if name.endswith(".json") else ways))
        content = changed[name]
        if what == "values":
            with contextlib.suppress(ValueError):  # it is no JSON any more
                changed[name] = change_json(content, data)
            continue
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        if what == "drop" and len(changed) > 1:
            del changed[name]
        elif what == "rename":
            new = data.draw(st.sampled_from(NAMES))
            changed[f"{name.rpartition('/')[0] or 'v'}/{new}".replace("/../", "/")] = changed.pop(name)
        elif what == "bytes":
            changed[name] = content[:at] + data.draw(st.sampled_from(TEXTS)) + content[at + 1 :]
        elif what == "cut":
            changed[name] = content[:at]
        else:
            size = data.draw(st.sampled_from([(6, 8), (8, 6), (1, 1)]))
            kind = data.draw(st.sampled_from([np.uint8, np.uint16, np.bool_]))
            changed[name] = png(np.full(size, data.draw(st.sampled_from([0, 1, 7, 255])), kind))
    return changed


def refused_or_comes_back(path: Path, name: str, written: Path) -> None:
    """What is taken comes back from our own file; what is not is one message with its place."""
    try:
        sources = read_sources(path, name)
        taken = unite_all([source.reading.annotations for source in sources], [one.name for one in sources])
    except AvisError as error:
        assert str(path) in str(error) and "Traceback" not in str(error)
        return
    write_annotations(written, taken)  # every mask decodes, at its video's size
    again = read_annotations(written)
    assert [(v.name, v.length) for v in again.videos] == [(v.name, v.length) for v in taken.videos]
    assert again.categories == taken.categories
    assert [[bool(mask) for mask in track.segmentations] for track in again.tracks] == [
        [bool(mask) for mask in track.segmentations] for track in taken.tracks
    ]


@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("name", JSON_FORMATS)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("changed") / "a.json"
    path.write_bytes(change_json(files()[name]["a.json"], data))
    refused_or_comes_back(path, name, path.with_name("taken.json"))


@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("name", FOLDER_FORMATS)
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_a_changed_folder_is_read_or_refused(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("changed") / "a"
    for inside, content in change_folder(files()[name], data).items():
        (path / inside).parent.mkdir(parents=True, exist_ok=True)
        if not (path / inside).is_dir():
            (path / inside).write_bytes(content)
    refused_or_comes_back(path, name.partition("_folder")[0], path.with_name("taken.json"))
