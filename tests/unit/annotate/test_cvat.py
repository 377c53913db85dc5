from pathlib import Path

import numpy as np
import pytest

from components.annotate.formats import detect_format
from components.annotate.stage import convert
from components.core.errors import AvisError
from components.core.masks import decode, encode
from components.core.records import AnnotationSet, Track, Video, read_annotations, write_annotations

TASK = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><name>clip_1.mp4</name><size>6</size><start_frame>0</start_frame>
<labels><label><name>dog</name></label><label><name>cello</name></label></labels>
<original_size><width>8</width><height>5</height></original_size></task></meta>
<track id="0" label="cello">
 <mask frame="1" outside="0" rle="1, 2, 3" left="2" top="1" width="3" height="2"/>
 <mask frame="3" outside="1" rle="1, 2, 3" left="2" top="1" width="3" height="2"/>
 <polygon frame="4" outside="0" points="1.0,1.0;5.0,1.0;5.0,4.0;1.0,4.0"/>
</track></annotations>
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_masks_run_row_by_row_in_their_box_and_hold_until_outside(tmp_path: Path) -> None:
    found, reason = detect_format(write(tmp_path / "task.xml", TASK))
    annotations = found.read(tmp_path / "task.xml")
    assert found.name == "cvat" and "1.1" in reason
    assert [video.name for video in annotations.videos] == ["clip_1"]
    track = annotations.tracks[0]
    assert annotations.categories[track.category_id] == "cello"
    expected = np.zeros((5, 8), dtype=bool)
    expected[1, 3:5] = True
    for k in (1, 2):
        assert np.array_equal(decode(track.segmentations[k], 5, 8), expected)
    assert track.segmentations[0] is None and track.segmentations[3] is None
    square = np.zeros((5, 8), dtype=bool)
    square[1:4, 1:5] = True
    assert np.array_equal(decode(track.segmentations[5], 5, 8), square)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('rle="1, 2, 3" left', 'rle="1, 2, 2" left', "covers 5 pixels, its box has 6"),
        ('left="2" top="1" width="3"', 'left="6" top="1" width="3"', "outside the frame of 8x5"),
        ("5.0,4.0;1.0,4.0", "5.0,4.0", None),
        (";5.0,4.0;1.0,4.0", "", "at least 3 points"),
        ('frame="4"', 'frame="9"', "outside the task's 6 frames"),
        ("<size>6</size>", "<size>many</size>", "not a whole number"),
        ("</track>", "", "broken"),
        ("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>', "document type"),
        ('<polygon frame="4"', '<box frame="4"', "made of <box>"),
    ],
)
def test_a_bad_task_gets_one_clear_message(
    tmp_path: Path, before: str, after: str, message: str | None
) -> None:
    path = write(tmp_path / "task.xml", TASK.replace(before, after, 1))
    reader = detect_format(path)[0].read
    if message is None:
        reader(path)
        return
    with pytest.raises(AvisError, match=message) as error:
        reader(path)
    assert "task.xml" in str(error.value)


def test_masks_survive_the_way_to_cvat_and_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [random.random((20, 30)) < 0.3 for _ in range(4)]
    shapes[1][0, 0] = True  # a mask that begins in the frame's corner
    segmentations = [None, encode(shapes[0]), encode(shapes[1]), None, encode(shapes[3])]
    video = Video(7, "clip", [f"clip/{k:05d}.jpg" for k in range(5)], length=5, height=20, width=30)
    annotations = AnnotationSet({3: "dog", 4: "cow"}, [video], [Track(1, 7, 4, segmentations)], {})
    write_annotations(tmp_path / "a.json", annotations)
    assert convert(tmp_path / "a.json", tmp_path / "b.xml", target_format="cvat") == []
    convert(tmp_path / "b.xml", tmp_path / "c.json", target_format="aviseg")
    returned = read_annotations(tmp_path / "c.json")
    assert returned.categories[returned.tracks[0].category_id] == "cow"
    assert returned.tracks[0].segmentations == segmentations


def test_unknown_files_and_formats_name_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"not recognised.*aviseg, cvat"):
        detect_format(write(tmp_path / "x.txt", "frame,mask"))
    write(tmp_path / "t.xml", TASK)
    with pytest.raises(AvisError, match="Did you mean cvat"):
        convert(tmp_path / "t.xml", tmp_path / "y", target_format="cvta")
