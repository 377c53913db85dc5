from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from components.annotate.exports import detect_format, read_sources
from components.annotate.formats import Hints, Reading, find_format
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.tools.convert import convert

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


def read(path: Path, hints: Hints | None = None) -> Reading:
    found = detect_format(path)[0]
    assert found.read is not None
    return found.read(path, hints or Hints())


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_masks_run_row_by_row_in_their_box_and_hold_until_outside(tmp_path: Path) -> None:
    found, reason = detect_format(write(tmp_path / "task.xml", TASK))
    annotations = read(tmp_path / "task.xml").annotations
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
    if message is None:
        read(path)
        return
    with pytest.raises(AvisError, match=message) as error:
        read(path)
    assert "task.xml" in str(error.value)


def test_masks_survive_the_way_to_cvat_and_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [random.random((20, 30)) < 0.3 for _ in range(4)]
    shapes[1][0, 0] = True  # a mask that begins in the frame's corner
    segmentations = [None, encode(shapes[0]), encode(shapes[1]), None, encode(shapes[3])]
    video = Video(7, "clip", [f"clip/{k:05d}.jpg" for k in range(5)], length=5, height=20, width=30)
    annotations = AnnotationSet({1: "dog", 2: "cow"}, [video], [Track(9, 7, 2, segmentations)], {})
    write_annotations(tmp_path / "a.json", annotations)
    done = convert(tmp_path / "a.json", tmp_path / "b.xml", target_format="cvat")
    assert done.lost == ["the ids of videos are not kept: they are numbered anew from 1"]
    convert(tmp_path / "b.xml", tmp_path / "c.json", target_format="aviseg")
    returned = read_annotations(tmp_path / "c.json")
    assert returned.categories[returned.tracks[0].category_id] == "cow"
    assert returned.tracks[0].segmentations == segmentations
    assert [track.id for track in returned.tracks] == [9]


def test_unknown_files_and_formats_name_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"not recognised.*aviseg, coco_video, cvat"):
        detect_format(write(tmp_path / "x.txt", "frame,mask"))
    write(tmp_path / "t.xml", TASK)
    with pytest.raises(AvisError, match="Did you mean cvat"):
        convert(tmp_path / "t.xml", tmp_path / "y", target_format="cvta")


SIZE = "<original_size><width>8</width><height>5</height></original_size>"
PROJECT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><project><id>3</id><name>all</name><tasks>
 <task><id>11</id><name>clip_a</name><size>3</size><mode>interpolation</mode><start_frame>10</start_frame>
  <frame_filter>step=5</frame_filter><assignee><username>ann</username></assignee>
  <original_size><width>8</width><height>5</height></original_size></task>
 <task><id>12</id><name>clip_b.mp4</name><size>2</size><start_frame>0</start_frame><frame_filter/>
  <original_size><width>4</width><height>4</height></original_size></task>
</tasks><labels><label><name>dog</name></label><label><name>cello</name></label></labels></project></meta>
<track id="0" label="cello" source="manual" group_id="7" task_id="11">
 <mask frame="10" keyframe="1" outside="0" occluded="0" rle="0, 2" left="0" top="0" width="2" height="1"/>
 <mask frame="15" keyframe="1" outside="1" occluded="0" rle="0, 2" left="0" top="0" width="2" height="1"/>
</track>
<track id="1" label="cello" source="auto" group_id="7" task_id="11">
 <mask frame="20" keyframe="1" outside="0" occluded="1" rle="0, 3" left="1" top="2" width="3" height="1"/>
</track>
<track id="2" label="cello" source="manual" task_id="11">
 <mask frame="15" keyframe="1" outside="0" occluded="0" rle="0, 1" left="7" top="4" width="1" height="1"/>
 <mask frame="20" keyframe="1" outside="1" occluded="0" rle="0, 1" left="7" top="4" width="1" height="1"/>
</track>
<track id="3" label="dog" source="manual" task_id="12">
 <polygon frame="0" keyframe="1" outside="0" occluded="0" points="0.00,0.00;2.00,0.00;2.00,2.00">
  <attribute name="annotator">Zoë</attribute><attribute name="track_id">41</attribute></polygon>
 <polygon frame="1" keyframe="0" outside="0" occluded="0" points="0.00,0.00;3.00,0.00;3.00,3.00"/>
</track></annotations>
"""


def test_a_project_has_a_video_per_task_and_masks_of_a_group_are_one_track(tmp_path: Path) -> None:
    annotations = read(write(tmp_path / "all.xml", PROJECT)).annotations
    assert annotations.categories == {1: "dog", 2: "cello"}
    assert [(v.name, v.length, v.height, v.width) for v in annotations.videos] == [
        ("clip_a", 3, 5, 8), ("clip_b", 2, 4, 4),
    ]  # fmt: skip
    cello, other, dog = annotations.tracks
    assert [decode(s, 5, 8).sum() for s in cello.segmentations] == [2, 0, 3]
    assert [decode(s, 5, 8).sum() for s in other.segmentations] == [0, 1, 0]
    assert (cello.annotator, dog.annotator) == ("ann", "Zoë")
    assert [s[0][2] for s in dog.segmentations] == [2.0, 3.0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            'frame="15" keyframe="1" outside="0"',
            'frame="16" keyframe="1" outside="0"',
            "from 10 in steps of 5",
        ),
        ('task_id="12"', 'task_id="13"', "belongs to no task of the project"),
        ("step=5", "step=0", "not 'step=N'"),
        ("<name>clip_a</name>", "<name>../clip_a</name>", "leads to another folder"),
        ("<width>8</width>", "<width>8000000000</width>", "8000000000x5 pixels"),
        ("<size>3</size>", "<size>" + "9" * 10_000 + "</size>", "frames"),
        ("<track id", '<image id="0"/><track id', "'CVAT for images', which forgets the tracks"),
        (
            "<original_size><width>8</width><height>5</height></original_size>",
            "",
            "does not tell the frames' size",
        ),
    ],
)
def test_a_bad_project_gets_one_clear_message(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in PROJECT
    with pytest.raises(AvisError, match=message):
        read(write(tmp_path / "all.xml", PROJECT.replace(before, after, 1)))


def test_the_size_of_frames_uploaded_as_pictures_comes_from_the_media(tmp_path: Path) -> None:
    path = write(tmp_path / "all.xml", PROJECT.replace(SIZE, ""))
    annotations = read(path, Hints(sizes={"clip_a": (5, 8)})).annotations
    assert (annotations.videos[0].height, annotations.videos[0].width) == (5, 8)


def test_polygons_are_one_track_and_masks_a_track_each_as_cvat_wants_them(tmp_path: Path) -> None:
    square = [[1.0, 1.0, 5.0, 1.0, 5.0, 4.5]]
    mask = encode(np.ones((5, 8), dtype=bool))
    video = Video(1, "clip", [f"clip/{k:05d}.jpg" for k in range(4)], length=4, height=5, width=8)
    tracks = [Track(1, 1, 1, [None, square, square, None]), Track(2, 1, 1, [mask, None, square, mask])]
    write_annotations(tmp_path / "a.json", AnnotationSet({1: "dog"}, [video], tracks, {}))
    done = convert(tmp_path / "a.json", tmp_path / "b.xml", target_format="cvat")
    assert [sentence for sentence in done.lost if "polygons of 1 frame become masks" in sentence]
    root = ElementTree.parse(tmp_path / "b.xml").getroot()
    shapes = [[(s.tag, s.get("frame"), s.get("outside")) for s in track] for track in root.iterfind("track")]
    assert shapes[0] == [("polygon", "1", "0"), ("polygon", "2", "0"), ("polygon", "3", "1")]
    assert shapes[1:] == [
        [("mask", "0", "0"), ("mask", "1", "1")],
        [("mask", "2", "0"), ("mask", "3", "1")],
        [("mask", "3", "0")],
    ]  # fmt: skip
    back = read_sources(tmp_path / "b.xml")[0].reading.annotations
    assert back.tracks[0].segmentations == tracks[0].segmentations
    with pytest.raises(AvisError, match="Name a folder or a"):
        two = AnnotationSet({1: "dog"}, [video, video], [], {})
        find_format("cvat").write(tmp_path / "c.xml", two)  # type: ignore[misc]
    assert not (tmp_path / "c.xml").exists()
