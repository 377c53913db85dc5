"""YouTube-VIS, OVIS and UVO as their files have it: what differs from ours is read as it is meant."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.annotate.clock import Clock
from components.annotate.exports import read_sources
from components.annotate.formats import Reading
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError

SQUARE = [[1.0, 1, 4, 1, 4, 3, 1, 3]]
EYE = np.eye(4, 6, dtype=bool)


def document(*files: list[str]) -> dict[str, Any]:
    """A video of three frames for each list, with a track of a polygon, a null and a compressed RLE."""
    return {
        "info": {"description": "UVO", "version": "1.0"}, "licenses": [],
        "categories": [{"id": 1, "name": "object", "supercategory": "object"}],
        "videos": [
            {"id": k, "width": 6, "height": 4, "length": 3, "date_captured": "", "license": 1,
             "file_names": names, "coco_url": "", "flickr_url": ""}
            for k, names in enumerate(files)
        ],
        "annotations": [
            {"id": k, "video_id": k, "category_id": 1, "iscrowd": 0, "width": 6, "height": 4, "length": 1,
             "bboxes": [[1, 1, 3, 2], None, [0, 0, 4, 4]], "areas": [6, None, 4],
             "segmentations": [SQUARE, None, encode(EYE)]}
            for k in range(len(files))
        ],
    }  # fmt: skip


def frames(folder: str) -> list[str]:
    return [f"{folder}{k}.png" for k in range(3)]


def read(path: Path, content: dict[str, Any]) -> Reading:
    (path / "valid.json").write_text(json.dumps(content))
    (source,) = read_sources(path / "valid.json")
    assert source.format.name == "aviseg"
    return source.reading


def pixels(reading: Reading) -> list[list[int]]:
    return [[int(decode(s, 4, 6).sum()) for s in track.segmentations] for track in reading.annotations.tracks]


@pytest.mark.parametrize(
    ("folders", "names", "said"),
    [
        (["00f88c4f0a/", "0a7a2514aa/"], ["00f88c4f0a", "0a7a2514aa"], "nothing"),
        (["train/YFCC100M/v_1/f", "train/YFCC100M/v_2/f"], ["v_1", "v_2"], "2 videos renamed"),
        (["v_1/img1/", "v_2/img1/"], ["v_1", "v_2"], "2 videos renamed"),
        (["HACS/v/", "AVA/w/"], ["HACS-v", "AVA-w"], "2 videos renamed"),
        (["JPEGImages/v/"], ["v"], "1 video renamed"),
        (["JPEGImages\\v\\"], ["v"], "3 paths renamed, 1 video renamed"),
    ],
)
def test_a_video_is_called_after_the_folder_that_is_its_own(
    tmp_path: Path, folders: list[str], names: list[str], said: str
) -> None:
    reading = read(tmp_path, document(*(frames(folder) for folder in folders)))
    videos = reading.annotations.videos
    assert [video.name for video in videos] == names and reading.changes.line() == said
    assert all(file.startswith(f"{video.name}/") for video in videos for file in video.file_names)
    assert pixels(reading) == [[6, 0, 4]] * len(folders)
    assert [track.id for track in reading.annotations.tracks] == list(range(len(folders)))


def test_run_lengths_as_a_list_and_ids_as_floats_and_texts_are_read(tmp_path: Path) -> None:
    content = document(frames("v/"))
    (row,) = content["annotations"]
    row.update(id="7", video_id=0.0, category_id="1", iscrowd=True)
    row["segmentations"] = [{"size": [4, 6], "counts": [3, 2, 19]}, [], [*SQUARE, [1, 1, 2, 2]]]
    row["bboxes"] = [[0, 0, 2, 4], None, [1, 1, 3, 2]]
    del content["videos"][0]["length"]
    reading = read(tmp_path, content)
    (track,) = reading.annotations.tracks
    assert pixels(reading) == [[2, 0, 6]] and (track.id, track.iscrowd) == (7, 1)
    assert reading.annotations.videos[0].length == 3
    assert reading.changes.sentences() == [
        f"1 polygon dropped: it has fewer than 3 points ({tmp_path}/valid.json, annotations[0], frame 2)"
    ]


def test_every_fifth_frame_is_said_and_told_to_who_places_it(tmp_path: Path) -> None:
    content = document(frames("v/"))
    content["videos"][0]["file_names"] = [f"v/{k:05d}.jpg" for k in (10, 15, 20)]
    reading = read(tmp_path, content)
    assert reading.clocks == {"v": Clock(10, 5)} and pixels(reading) == [[6, 0, 4]]
    assert reading.changes.sentences() == [
        "1 video guessed: its frames are numbered in steps, and taken one after the other (v, every 5th)"
    ]


def test_a_gap_in_the_numbers_is_said(tmp_path: Path) -> None:
    content = document(frames("v/"))
    content["videos"][0]["file_names"] = [f"v/{k:05d}.jpg" for k in (0, 1, 3)]
    reading = read(tmp_path, content)
    assert not reading.clocks and pixels(reading) == [[6, 0, 4]]
    assert reading.changes.sentences() == [
        "1 video guessed: its frames are numbered with gaps, and taken one after the other (v, 3 after 1)"
    ]


def test_a_box_without_a_mask_is_said(tmp_path: Path) -> None:
    content = document(frames("v/"))
    content["annotations"][0].update(
        bboxes=[[1, 1, 3, 2], [1, 1, 2, 2]], segmentations=[SQUARE, None, SQUARE]
    )
    (said,) = read(tmp_path, content).changes.sentences()
    assert said.startswith("1 box dropped: it has no mask") and said.endswith("annotations[0], frame 1)")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bboxes": [[1, 1, 3, 2], None, [0, 0, 6, 4]]}, []),  # wider, as people draw them
        ({"bboxes": [[1, 1, 3, 2], None, [4, 0, 2, 4]]}, ["annotations[0], frame 2"]),
        ({"bboxes": [[1, 1, 4, 3], None, [0, 0, 1, 1]]}, ["annotations[0], frame 2"]),  # shares of the frame
        ({"segmentations": [SQUARE, None, {"size": [4, 6], "counts": [3, 1, 5, 1, 5, 1, 8]}]}, []),
        ({"segmentations": [SQUARE, None, encode(EYE[:, ::-1])]}, ["annotations[0], frame 2"]),
        ({"bboxes": [None, 3, ["x", 1, 2, 3]]}, []),
        ({"height": 6, "width": 4}, ["annotations[0]"]),
        ({"score": 0.3}, ["annotations[0]"]),
    ],
)
def test_what_a_row_tells_beside_its_masks_and_otherwise_is_said(
    tmp_path: Path, change: dict[str, Any], said: list[str]
) -> None:
    content = document(frames("v/"))
    content["annotations"][0] |= change
    changes = [found for found in read(tmp_path, content).changes if found.kind == "guessed"]
    assert [example.partition("valid.json, ")[2] for found in changes for example in found.examples] == said


def test_frames_without_a_folder_are_of_the_video_that_its_row_names(tmp_path: Path) -> None:
    content = document(frames(""))
    with pytest.raises(AvisError, match=r"file_names must be a list.*videos\[0\]"):
        read(tmp_path, content)
    content["videos"][0]["name"] = "v"
    assert read(tmp_path, content).annotations.videos[0].file_names == ["v/0.png", "v/1.png", "v/2.png"]
    del content["videos"][0]["file_names"]
    assert read(tmp_path, content).annotations.videos[0].file_names[2] == "v/00002.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(annotations=None), "missing or null: the labels of this set are not in the file"),
        (lambda d: d.pop("annotations"), "missing or null: the labels of this set are not in the file"),
        (
            lambda d: d["annotations"][0].update(segmentations=None),
            r"boxes \(bboxes\) and no masks .*annotations\[0\]",
        ),
        (lambda d: d["annotations"][0].update(segmentations=[None]), "1 segmentations for 3 frames"),
        (lambda d: d["annotations"][0].update(iscrowd="x"), "'x' is no whole number .*field iscrowd"),
        (lambda d: d["videos"][0].update(length=4), "length is 4, but there are 3 file_names"),
        (lambda d: d["videos"].append({**d["videos"][0], "id": 9}), "The video 'v' stands there twice"),
        (lambda d: d["videos"][0].update(width=None), "None is no whole number .*field width"),
        (lambda d: d["videos"][0].update(file_names=["v/0", "v/1", "w/2"]), "frame 2 lies outside"),
    ],
)
def test_what_is_none_is_one_message(tmp_path: Path, change: Any, message: str) -> None:
    content = document(frames("v/"))
    change(content)
    with pytest.raises(AvisError, match=message) as caught:
        read(tmp_path, content)
    assert "valid.json" in str(caught.value)
