import gzip
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.annotate.exports import detect_format, read_sources
from components.annotate.formats import Hints, Reading, find_format
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.changes import Kind
from components.core.records.masks import area, decode, encode
from components.core.run.errors import AvisError
from components.tools.convert import convert
from tests.unit.annotate import test_cvat_images
from tests.unit.annotate.test_changed_files import LONGEST_S, refused_or_comes_back

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
    assert np.array_equal(decode(track.segmentations[4], 5, 8), square)
    assert np.array_equal(decode(track.segmentations[5], 5, 8), square)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('rle="1, 2, 3" left', 'rle="1, 2, 2" left', "covers 5 pixels, its box has 6"),
        ('rle="1, 2, 3" left', 'rle="-1, 4, 3" left', "a run of less than no pixels"),
        ('left="2" top="1" width="3"', 'left="6" top="1" width="3"', "outside the frame of 8x5"),
        ("5.0,4.0;1.0,4.0", "5.0,4.0", None),
        (";5.0,4.0;1.0,4.0", "", "at least 3 points"),
        ('frame="4"', 'frame="9"', "outside the task's 6 frames"),
        ("<size>6</size>", "<size>many</size>", "not a whole number"),
        ("</track>", "", "broken"),
        ("<annotations>", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>', "document type"),
        ('<polygon frame="4"', '<circle frame="4"', "made of <circle>"),
        ('width="3" height="2"', 'width="-3" height="-2"', "box has -3x-2 pixels"),
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
    with pytest.raises(AvisError, match=r"not recognised.*aviseg, burst, coco_video, cvat"):
        detect_format(write(tmp_path / "x.txt", "frame,mask"))
    for content, said in ((gzip.compress(b"{}"), "packed with gzip"), ("{}".encode("utf-16"), "in UTF-16")):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(AvisError, match=f"{said}.*x.json"):
            detect_format(tmp_path / "x.json")
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
        ("<track id", '<image id="0"/><track id', "images and tracks, which no export of CVAT has"),
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


# Below, element order and attributes are those of CVAT's dump_as_cvat_interpolation (formats/cvat.py) and
# ProjectData (bindings.py).
def task_element(
    number: int, name: str, size: int, *, start: int = 0, step: int = 1, subset: str = ""
) -> str:
    stop = start + (size - 1) * step
    return (
        f"<task><id>{number}</id><name>{name}</name><size>{size}</size><mode>interpolation</mode>"
        f"<overlap>5</overlap><bugtracker></bugtracker><created>c</created><updated>u</updated>"
        f"<subset>{subset}</subset><start_frame>{start}</start_frame><stop_frame>{stop}</stop_frame>"
        f"<frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter><segments><segment>"
        f"<id>{number}</id><start>0</start><stop>{size - 1}</stop><url>u</url></segment></segments>"
        "<owner><username>o</username><email></email></owner><assignee></assignee>"
        "<original_size><width>40</width><height>30</height></original_size></task>"
    )


def polygon(frame: int, left: int = 2, outside: int = 0, keyframe: int = 1) -> str:
    """64 pixels."""
    points = ";".join(f"{left + x}.00,{2 + y}.00" for x, y in ((0, 0), (8, 0), (8, 8), (0, 8)))
    return (
        f'<polygon frame="{frame}" keyframe="{keyframe}" outside="{outside}" occluded="0" '
        f'points="{points}" z_order="0"></polygon>'
    )


def brush(frame: int, left: int = 2, outside: int = 0, track_id: str = "") -> str:
    """20 pixels."""
    attribute = f'<attribute name="track_id">{track_id}</attribute>' if track_id else ""
    return (
        f'<mask frame="{frame}" keyframe="1" outside="{outside}" occluded="0" rle="0, 20" left="{left}" '
        f'top="3" width="5" height="4" z_order="0">{attribute}</mask>'
    )


def track_element(number: int, *shapes: str, label: str = "dog", task: int = 0, group: int = 0) -> str:
    more = (f' task_id="{task}" subset="default"' if task else "") + (f' group_id="{group}"' if group else "")
    return f'<track id="{number}" label="{label}" source="manual"{more}>{"".join(shapes)}</track>'


LABELS = "<labels><label><name>dog</name></label><label><name>cello</name></label></labels>"
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta>'


def project(tasks: list[str], *tracks: str) -> str:
    return (
        f"{HEAD}<project><id>3</id><name>all</name><tasks>{''.join(tasks)}</tasks>{LABELS}</project></meta>"
        f"{''.join(tracks)}</annotations>"
    )


def single(size: int, *tracks: str) -> str:
    return f"{HEAD}{task_element(1, 'clip', size)}</meta>{''.join(tracks)}</annotations>".replace(
        "</frame_filter>", f"</frame_filter>{LABELS}"
    )


def pixels(reading: Reading) -> dict[tuple[str, int], dict[int, int]]:
    """Area of each mask by video and place of the track among all, then by frame."""
    videos = {video.id: video for video in reading.annotations.videos}
    return {
        (videos[track.video_id].name, number): {
            k: area(segmentation, 30, 40)
            for k, segmentation in enumerate(track.segmentations)
            if segmentation is not None
        }
        for number, track in enumerate(reading.annotations.tracks)
    }


def said(reading: Reading) -> list[tuple[Kind, str, int]]:
    return [(change.kind, change.unit, change.count) for change in reading.changes]


@pytest.mark.parametrize("sizes", [(6, 6), (3, 6)])  # (3, 6): the numbers fit the second task's own, too
def test_a_projects_frames_are_numbered_on_from_task_to_task(tmp_path: Path, sizes: tuple[int, int]) -> None:
    first, second = sizes
    tasks = [task_element(11, "clip_a.mp4", first), task_element(12, "clip_b.mp4", second)]
    text = project(
        tasks,
        track_element(0, *(polygon(k) for k in range(first)), task=11),
        track_element(1, polygon(first), polygon(first + 1), polygon(first + 2, outside=1), task=12),
    )
    reading = read(write(tmp_path / "a.xml", text))
    assert pixels(reading) == {
        ("clip_a", 0): dict.fromkeys(range(first), 64),
        ("clip_b", 1): {0: 64, 1: 64},
    }
    assert not reading.changes


def test_numbering_counts_start_and_step_and_begins_anew_in_each_subset(tmp_path: Path) -> None:
    tasks = [
        task_element(1, "clip_a", 3, start=10, step=5, subset="train"),
        task_element(2, "clip_b", 4, start=2, subset="train"),
        task_element(3, "clip_c", 2, subset="val"),
    ]
    text = project(
        tasks,
        track_element(0, brush(20), task=1),
        track_element(1, brush(10 + 3 * 5 + 2 + 1), task=2),
        track_element(2, brush(1), task=3),
    )
    reading = read(write(tmp_path / "a.xml", text))
    assert pixels(reading) == {("clip_a", 0): {2: 20}, ("clip_b", 1): {1: 20}, ("clip_c", 2): {1: 20}}
    assert not reading.changes


def test_frames_that_only_fit_each_task_alone_are_read_so_and_that_is_said(tmp_path: Path) -> None:
    tasks = [task_element(1, "clip_a", 6), task_element(2, "clip_b", 6)]
    reading = read(write(tmp_path / "a.xml", project(tasks, track_element(0, brush(2), task=2))))
    assert pixels(reading) == {("clip_b", 0): {2: 20}}
    assert said(reading) == [(Kind.GUESSED, "video", 1)]
    tracks = [track_element(0, brush(2), task=2), track_element(1, brush(12), task=2)]
    with pytest.raises(AvisError, match=r"Frame 2 lies outside the task's 6 frames, from 6 "):
        read(write(tmp_path / "a.xml", project(tasks, *tracks)))


@pytest.mark.parametrize("shape", [brush, polygon])
def test_a_shape_of_one_frame_lasts_one_frame_also_without_an_end(tmp_path: Path, shape: object) -> None:
    assert callable(shape)
    tracks = [track_element(0, shape(1), shape(2, outside=1)), track_element(1, shape(4))]
    reading = read(write(tmp_path / "a.xml", single(6, *tracks)))
    assert [list(frames) for frames in pixels(reading).values()] == [[1], [4]]
    assert not reading.changes


def test_masks_of_the_last_two_frames_are_not_united(tmp_path: Path) -> None:
    tracks = [track_element(0, brush(4, track_id="1")), track_element(1, brush(5, left=20, track_id="1"))]
    reading = read(write(tmp_path / "a.xml", single(6, *tracks)))
    assert pixels(reading) == {("clip", 0): {4: 20, 5: 20}}
    assert np.flatnonzero(decode(reading.annotations.tracks[0].segmentations[5], 30, 40).any(axis=0))[0] == 20
    assert not reading.changes


def test_frames_that_a_polygon_is_repeated_on_are_counted(tmp_path: Path) -> None:
    text = single(8, track_element(0, polygon(1), polygon(3)))
    reading = read(write(tmp_path / "a.xml", text))
    assert list(pixels(reading)["clip", 0]) == [1, 2, 3, 4, 5, 6, 7]
    assert said(reading) == [(Kind.FILLED, "frame", 5)]


def test_polygons_of_a_group_are_one_object_unless_their_labels_differ(tmp_path: Path) -> None:
    tracks = [
        track_element(0, *(polygon(k) for k in range(4)), group=1),
        track_element(1, *(polygon(k, left=14) for k in range(4)), group=1),
        track_element(2, *(polygon(k, left=26) for k in range(4)), group=1, label="cello"),
    ]
    reading = read(write(tmp_path / "a.xml", single(4, *tracks)))
    assert pixels(reading) == {
        ("clip", 0): dict.fromkeys(range(4), 128),
        ("clip", 1): dict.fromkeys(range(4), 64),
    }
    assert said(reading) == [(Kind.MERGED, "mask", 4), (Kind.MERGED, "track", 1)]


OTHERS = {
    "box": '<box frame="0" keyframe="1" outside="0" occluded="0" xtl="1.00" ytl="1.00" xbr="5.00" ybr="5.00" '
    'z_order="0"></box>',
    "ellipse": '<ellipse frame="0" keyframe="1" outside="0" occluded="0" cx="9.00" cy="9.00" rx="3.00" '
    'ry="2.00" z_order="0"></ellipse>',
    "polyline": '<polyline frame="0" keyframe="1" outside="0" occluded="0" points="1.00,1.00;5.00,5.00" '
    'z_order="0"></polyline>',
    "points": '<points frame="0" keyframe="1" outside="0" occluded="0" points="1.00,1.00" '
    'z_order="0"></points>',
    "cuboid": '<cuboid frame="0" keyframe="1" outside="0" occluded="0" xtl1="1.00" ytl1="1.00" z_order="0">'
    "</cuboid>",
    "skeleton": '<skeleton frame="0" keyframe="1" z_order="0"><points label="nose" keyframe="1" outside="0" '
    'occluded="0" points="1.00,1.00"></points></skeleton>',
}


@pytest.mark.parametrize("name", OTHERS)
def test_shapes_that_are_no_masks_are_dropped_by_name(tmp_path: Path, name: str) -> None:
    other = track_element(1, OTHERS[name])
    reading = read(write(tmp_path / "a.xml", single(4, track_element(0, brush(2)), other)))
    assert pixels(reading) == {("clip", 0): {2: 20}}
    assert said(reading) == [(Kind.DROPPED, name, 1)]
    with pytest.raises(AvisError, match="none is a polygon or a mask"):  # else it would count as silent
        read(write(tmp_path / "a.xml", single(4, other)))


def test_a_track_without_shapes_is_said(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "a.xml", single(4, track_element(0, brush(2)), track_element(1))))
    assert pixels(reading) == {("clip", 0): {2: 20}} and said(reading) == [(Kind.DROPPED, "track", 1)]


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(re.sub(r"<label>\s*<name>[^<]*</name>", "<label><name/>", WHOLE, count=1))
    with pytest.raises(AvisError, match=r"A label has no name.*a\.xml"):
        read_sources(tmp_path / "a.xml")


def test_the_size_of_a_jobs_video_stands_beside_the_job(tmp_path: Path) -> None:
    task = task_element(7, "x", 6).replace("<task>", "<job>").replace("</task>", "</job>")
    task = task.replace("<name>x</name>", "")  # JobData._init_meta: no name, no source
    size = re.search(r"<original_size>.*</original_size>", task)
    assert size is not None
    text = f"{HEAD}{task.replace(size[0], '')}<dumped>d</dumped>{size[0]}</meta>{track_element(0, brush(4))}"
    path = write(tmp_path / "clip_9.xml", f"{text}</annotations>")
    video = read_sources(path)[0].reading.annotations.videos[0]
    assert (video.name, video.length, video.height, video.width) == ("clip_9", 6, 30, 40)


def test_two_tasks_of_one_id_are_refused(tmp_path: Path) -> None:
    tasks = [task_element(1, "clip_a", 6), task_element(1, "clip_b", 6)]
    with pytest.raises(AvisError, match="Two tasks of the project have the id '1'"):
        read(write(tmp_path / "a.xml", project(tasks)))


WHOLE = project(
    [task_element(1, "clip_a", 3, start=4, step=2), task_element(2, "clip_b", 4)],
    track_element(0, polygon(4), polygon(6), polygon(8, outside=1), task=1, group=1),
    track_element(1, polygon(4, left=14), task=1, group=1),
    track_element(2, brush(11, track_id="5"), brush(12, outside=1), task=2),
    track_element(3, OTHERS["skeleton"].replace('frame="0"', 'frame="4"'), task=1),
)
VALUES = ["", "0", "1", "-1", "7", "1e9", "nan", "9" * 30, "a", "0, 20", "1,1;2,2", "step=3", "é", "../x"]


def change(root: ElementTree.Element, data: st.DataObject) -> None:
    """One to three changes of a document, at random."""
    for _ in range(data.draw(st.integers(1, 3))):
        parents = [element for element in root.iter() if len(element)]
        parent = data.draw(st.sampled_from(parents))
        child = data.draw(st.sampled_from(list(parent)))
        what = data.draw(st.sampled_from(["drop", "double", "text", "tag", "attribute", "no attribute"]))
        if what == "drop" and len(parent) > 1:
            parent.remove(child)
        elif what == "double":
            parent.append(child)
        elif what == "text":
            child.text = data.draw(st.sampled_from(VALUES))
        elif what == "tag":
            child.tag = data.draw(st.sampled_from(["mask", "polygon", "box", "track", "task", "image", "x"]))
        elif child.attrib:
            name = data.draw(st.sampled_from(sorted(child.attrib)))
            if what == "attribute":
                child.set(name, data.draw(st.sampled_from(VALUES)))
            else:
                del child.attrib[name]


@pytest.mark.timeout(LONGEST_S)
@pytest.mark.parametrize("whole", [WHOLE, test_cvat_images.OF_DATUMARO], ids=["video", "images"])
@settings(max_examples=settings.default.max_examples // 2)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_with_a_message(
    whole: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = ElementTree.fromstring(whole.split("\n", 1)[1])
    change(root, data)
    path = tmp_path_factory.mktemp("fuzz") / "a.xml"
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    refused_or_comes_back(path, "cvat", path.with_suffix(".json"))
