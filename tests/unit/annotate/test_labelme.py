"""LabelMe's own files, written by its LabelFile."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.annotate.exports import read_sources
from components.annotate.formats import Reading
from components.core.records.masks import decode
from components.core.run.errors import AvisError

EXPORT = Path(__file__).parents[2] / "data" / "annotation_exports" / "labelme_5.4.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXPORT, tmp_path / "labelme"))


def change(file: Path, shape: int | None = None, **values: Any) -> None:
    document = json.loads(file.read_text())
    (document if shape is None else document["shapes"][shape]).update(values)
    file.write_text(json.dumps(document))


def read(path: Path) -> Reading:
    (source,) = read_sources(path)
    assert source.format.name == "labelme"
    return source.reading


def pixels(reading: Reading) -> dict[str, list[int]]:
    annotations = reading.annotations
    return {
        annotations.categories[track.category_id]: [int(decode(s, 6, 8).sum()) for s in track.segmentations]
        for track in annotations.tracks
    }


@pytest.mark.parametrize("zipped", [False, True])
def test_shapes_of_a_group_are_one_object(folder: Path, zipped: bool) -> None:
    if zipped:
        folder = Path(shutil.make_archive(str(folder), "zip", folder))
    reading = read(folder)
    assert [(video.name, video.length) for video in reading.annotations.videos] == [("clip_a", 2)]
    assert pixels(reading) == {"dog": [6, 6], "cello": [6, 6]} and not reading.changes
    mask = decode(reading.annotations.tracks[1].segmentations[1], 6, 8)
    assert np.argwhere(mask).min(axis=0).tolist() == [1, 4]  # the second frame's begins at x 4, y 1


def test_pictures_beside_tell_the_length_and_shapes_that_are_no_masks_are_said(folder: Path) -> None:
    (folder / "clip_a" / "00003.jpg").touch()
    change(folder / "clip_a" / "00001.json", shape=0, shape_type="rectangle")
    change(folder / "clip_a" / "00001.json", shape=1, group_id=None)
    change(folder / "clip_a" / "00000.json", shape=1, flags={"blurred": True, "cut": False})
    change(folder / "clip_a" / "00000.json", shape=0, description="barks")
    reading = read(folder)
    assert pixels(reading) == {"dog": [6, 0, 0, 0], "cello": [6, 0, 0, 0]}
    assert reading.changes.line() == (
        "2 frames filled, 1 description dropped, 1 flag dropped, 1 rectangle dropped, 1 mask dropped"
    )


def test_last_frames_of_which_nobody_wrote_a_file_are_those_of_the_media(folder: Path) -> None:
    (source,) = read_sources(folder, lengths={"clip_a": 5})
    assert pixels(source.reading) == {"dog": [6, 6, 0, 0, 0], "cello": [6, 6, 0, 0, 0]}
    assert source.reading.changes.line() == "3 frames filled"


@pytest.mark.parametrize(
    ("shape", "values", "message"),
    [
        (1, {"mask": "@"}, r"no picture in base64.*00001\.json, shapes\[1\]"),
        (1, {"points": [[3, 1], [7, 3]]}, "4x3 pixels does not fill the box"),
        (1, {"points": [[6, 1], [9, 3]]}, "reaches outside the frame of 8x6"),
        (0, {"label": ""}, r"no text.*shapes\[0\]"),
        (0, {"points": [[1, 2, 3]]}, r"not \[x, y\]"),
        (None, {"imageWidth": 9}, r"differ in size: 00000\.json has 8x6 pixels, 00001\.json has 9x6"),
        (None, {"shapes": None}, "list 'shapes' is missing"),
    ],
)
def test_a_bad_file_is_one_message_with_its_place(
    folder: Path, shape: int | None, values: dict[str, Any], message: str
) -> None:
    change(folder / "clip_a" / "00001.json", shape, **values)
    with pytest.raises(AvisError, match=message) as caught:
        read(folder)
    assert "labelme" in str(caught.value)


def test_without_groups_and_from_one_file_no_objects_are_known(folder: Path) -> None:
    with pytest.raises(AvisError, match=r"is one frame.*00000\.json.*Name the folder"):
        read_sources(folder / "clip_a" / "00000.json")
    for file in folder.rglob("*.json"):
        for shape in (0, 1):
            change(file, shape, group_id=None)
    with pytest.raises(AvisError, match=r"No shape of the video 'clip_a' has a group_id.*Group ID"):
        read_sources(folder)
