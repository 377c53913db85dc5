"""CVAT for images: frames whose shapes tell no track."""

from pathlib import Path

import numpy as np
import pytest

from components.annotate.exports import read_sources
from components.annotate.formats import Reading
from components.core.records.masks import area, decode
from components.core.run.errors import AvisError

# What datumaro 1.13.12 writes of a clip with a polygon, a mask and a label, fewer in the second frame.
OF_DATUMARO = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id></id><name>train</name><size>2</size><mode>annotation</mode><overlap></overlap>
      <start_frame>0</start_frame><stop_frame>2</stop_frame><frame_filter></frame_filter><z_order>True</z_order>
      <labels>
        <label><name>dog</name><attributes></attributes></label>
        <label><name>cello</name><attributes></attributes></label>
      </labels>
    </task>
  </meta>
  <image id="0" name="clip/00000.jpg" width="10" height="6">
    <polygon label="dog" occluded="0" outside="0" keyframe="0" points="1.00,1.00;5.00,1.00;5.00,4.00" z_order="0">
    </polygon>
    <mask label="cello" occluded="1" outside="0" keyframe="0" rle="14, 5, 5, 5, 5, 1, 25" left="0" top="0" width="10" height="6" z_order="0">
    </mask>
    <tag label="cello">
    </tag>
  </image>
  <image id="1" name="clip/00001.jpg" width="10" height="6">
    <polygon label="dog" occluded="0" outside="1" keyframe="0" points="1.00,1.00;5.00,1.00;5.00,4.00" z_order="0">
    </polygon>
  </image>
</annotations>
"""  # noqa: E501

SIZE = 'width="40" height="30"'


def polygon(left: int = 2, label: str = "dog", more: str = "", **attributes: str) -> str:
    """64 pixels."""
    points = ";".join(f"{left + x}.00,{2 + y}.00" for x, y in ((0, 0), (8, 0), (8, 8), (0, 8)))
    own = "".join(f'<attribute name="{name}">{text}</attribute>' for name, text in attributes.items())
    return (
        f'<polygon label="{label}" source="manual" occluded="0" points="{points}" z_order="0"{more}>{own}'
        "</polygon>"
    )


def image(number: int, *shapes: str, name: str = "", more: str = "") -> str:
    name = name or f"frame_{number:06d}"
    return f'<image id="{number}" name="{name}"{more} {SIZE}>{"".join(shapes)}</image>'


def task(size: int, name: str = "clip", identity: int = 1, more: str = "") -> str:
    return f"<task><id>{identity}</id><name>{name}</name><size>{size}</size>{more}</task>"


def export(meta: str, *images: str) -> str:
    return f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(images)}</annotations>"


def read(path: Path, text: str, **hints: object) -> Reading:
    path.write_text(text)
    return read_sources(path, **hints)[0].reading  # type: ignore[arg-type]


def areas(reading: Reading) -> dict[tuple[str, str], list[int]]:
    """By video and category (a further track of it: and a plus) the pixels in each frame."""
    names = {video.id: video.name for video in reading.annotations.videos}
    found: dict[tuple[str, str], list[int]] = {}
    for track in reading.annotations.tracks:
        label = reading.annotations.categories[track.category_id]
        while (names[track.video_id], label) in found:
            label += "+"
        found[names[track.video_id], label] = [
            0 if mask is None else area(mask, 30, 40) for mask in track.segmentations
        ]
    return found


def test_datumaros_images_are_a_video_and_what_is_guessed_is_said(tmp_path: Path) -> None:
    reading = read(tmp_path / "a.xml", OF_DATUMARO)
    assert [(v.name, v.length, v.height, v.width) for v in reading.annotations.videos] == [("clip", 2, 6, 10)]
    dog, cello = reading.annotations.tracks
    assert reading.annotations.categories == {1: "dog", 2: "cello"}
    assert [bool(s) for s in dog.segmentations] == [True, False]  # `outside` in the second frame
    drawn = np.zeros((6, 10), dtype=bool)
    drawn[1:3, 4:9] = drawn[3, 4] = True
    assert np.array_equal(decode(cello.segmentations[0], 6, 10), drawn)
    assert [str(change).partition(" (")[0] for change in reading.changes] == [
        "2 shapes guessed: nothing tells which object it is",
        "1 tag dropped: it is no mask",
    ]


def test_a_track_id_or_a_group_tells_the_object(tmp_path: Path) -> None:
    grouped = ' group_id="2"'
    images = [
        image(0, polygon(track_id="7"), polygon(14, track_id="9"), polygon(26, "cello", grouped)),
        image(1, polygon(14, track_id="7"), polygon(2, "cello", grouped), polygon(26, "cello", grouped)),
    ]
    reading = read(tmp_path / "a.xml", export(task(2), *images))
    assert areas(reading) == {
        ("clip", "dog"): [64, 64], ("clip", "dog+"): [64, 0], ("clip", "cello"): [64, 128],
    }  # fmt: skip
    assert reading.changes.line() == "1 mask merged"


def test_two_shapes_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    text = export(task(2), image(0, polygon()), image(1, polygon(), polygon(14)))
    with pytest.raises(AvisError, match=r"Two shapes of 'dog' .*a\.xml, image 1 .*CVAT for video 1\.1"):
        read(tmp_path / "a.xml", text)


def test_images_are_placed_by_their_numbers_and_missing_ones_are_said(tmp_path: Path) -> None:
    meta = task(4, more="<start_frame>10</start_frame><frame_filter>step=5</frame_filter>")
    images = [image(k, *([polygon(track_id="1")] if k == 25 else [])) for k in (10, 20, 25)]
    reading = read(tmp_path / "a.xml", export(meta, *images))
    assert areas(reading) == {("clip", "dog"): [0, 0, 0, 64]}
    assert reading.changes.line() == "1 frame filled"  # 15: somebody deleted it in CVAT
    with pytest.raises(AvisError, match="Frame 30 lies outside the task's 4 frames, from 10 in steps of 5"):
        read(tmp_path / "a.xml", export(meta, image(30)))


def test_a_projects_images_belong_to_their_tasks_and_are_numbered_on(tmp_path: Path) -> None:
    tasks = f"<project><tasks>{task(2, 'one', 5)}{task(2, 'two', 6)}</tasks></project>"
    images = [
        image(k, polygon(track_id="1"), more=f' subset="default" task_id="{5 + k // 2}"') for k in range(3)
    ]
    images.append(image(3, more=' subset="default" task_id="6"'))
    assert areas(read(tmp_path / "a.xml", export(tasks, *images))) == {
        ("one", "dog"): [64, 64], ("two", "dog"): [64, 0],
    }  # fmt: skip
    with pytest.raises(AvisError, match="image belongs to no task of the project"):
        read(tmp_path / "a.xml", export(tasks, image(0)))


def test_folders_of_a_task_are_videos(tmp_path: Path) -> None:
    images = [image(k, polygon(track_id="1"), name=f"up/{'ab'[k // 2]}/{k % 2}.jpg") for k in range(4)]
    assert areas(read(tmp_path / "a.xml", export(task(4), *images))) == {
        ("a", "dog"): [64, 64], ("b", "dog"): [64, 64],
    }  # fmt: skip
    only = export(task(2), *images[:2])
    assert list(areas(read(tmp_path / "a.xml", only))) == [("a", "dog")]
    assert list(areas(read(tmp_path / "a.xml", only, sizes={"clip": (30, 40)}))) == [("clip", "dog")]
    reading = read(tmp_path / "a.xml", export(task(4), *images), why_lost={"b": "no sound"}.get)
    assert (list(areas(reading)), reading.lost) == ([("a", "dog")], {"b": "no sound"})


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('label="dog"', "", "has no label"),
        ("polygon", "circle", "has a <circle>"),
        ('id="1"', 'id="0"', "have one id"),
        ('id="1"', 'id="x"', "id is 'x', not a whole number"),
        ('name="frame_000001" width="40"', 'name="frame_000001" width="41"', "differ in size"),
        ("polygon", "box", "has 2 shapes and none is a polygon or a mask"),
    ],
)
def test_bad_images_get_one_clear_message(tmp_path: Path, before: str, after: str, message: str) -> None:
    text = export(task(2), image(0, polygon(track_id="1")), image(1, polygon(track_id="1")))
    assert before in text
    with pytest.raises(AvisError, match=message) as caught:
        read(tmp_path / "a.xml", text.replace(before, after))
    assert "a.xml" in str(caught.value)


def test_attributes_that_a_track_cannot_hold_are_said(tmp_path: Path) -> None:
    text = export(task(1), image(0, polygon(track_id="1", annotator="ann", colour="red")))
    reading = read(tmp_path / "a.xml", text)
    assert reading.annotations.tracks[0].annotator == "ann"
    assert reading.changes.sentences() == [
        "1 attribute dropped: a track has no place for it "
        f"({tmp_path / 'a.xml'}, image 0 (frame_000000), attribute colour)"
    ]
