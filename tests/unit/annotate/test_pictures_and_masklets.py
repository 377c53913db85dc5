"""MOTS, DAVIS, SA-V and Datumaro as their own tools write them, and what is wrong with such files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.annotate.exports import Source, read_sources
from components.annotate.formats import find_format
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.tools.convert import write_target

HEIGHT, WIDTH = 6, 8


def picture(path: Path, numbers: list[tuple[int, int]], kind: type = np.uint16, width: int = WIDTH) -> None:
    """A PNG with (number, column) painted from top to bottom."""
    canvas = np.zeros((HEIGHT, width), kind)
    for number, column in numbers:
        canvas[1:4, column : column + 2] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(canvas)
    if kind is np.uint8:
        image = image.convert("P")
    image.save(path)


def read(path: Path) -> tuple[Source, list[tuple[str, list[int]]]]:
    """The only source, and (category, pixels per frame) of each track."""
    (source,) = read_sources(path)
    annotations = source.reading.annotations
    sizes = {video.id: (video.height, video.width) for video in annotations.videos}
    tracks = [
        (
            annotations.categories[track.category_id],
            [int(decode(mask, *sizes[track.video_id]).sum()) for mask in track.segmentations],
        )
        for track in annotations.tracks
    ]
    return source, tracks


def test_mots_pictures_of_kitti(tmp_path: Path) -> None:
    picture(tmp_path / "instances" / "0002" / "000000.png", [(1005, 0), (2001, 3), (10000, 6)])
    picture(tmp_path / "instances" / "0002" / "000002.png", [(1005, 2)])
    source, tracks = read(tmp_path)
    assert (source.format.name, source.reading.annotations.videos[0].name) == ("mots_png", "0002")
    assert sorted(tracks) == [("car", [6, 0, 6]), ("pedestrian", [6, 0, 0])]
    names, missing, ignored = source.reading.changes.sentences()
    assert names.startswith("2 categories guessed: there is no labels.txt, the names are those of KITTI MOTS")
    assert missing.startswith("1 frame filled") and missing.endswith("(0002, frame 1)")
    assert ignored.startswith("1 region dropped: it is one to ignore (10000)")


def test_mots_lines_of_the_published_description(tmp_path: Path) -> None:
    (tmp_path / "0002.txt").write_text(
        "52 1005 1 375 1242 WSV:2d;1O10000O10000\n0 10000 10 375 1242 WSV:2d;1O10000O10000\n"
    )
    with pytest.raises(
        AvisError, match=r"mask does not decode.*0002\.txt, video '0002', track 1005, frame 52"
    ):
        read(tmp_path / "0002.txt")  # the example there is cut off
    code = encode(np.eye(HEIGHT, WIDTH, dtype=bool))["counts"]
    (tmp_path / "0002.txt").write_text(
        f"1 2007 2 {HEIGHT} {WIDTH} {code}\n0 10000 10 {HEIGHT} {WIDTH} {code}\n"
    )
    source, tracks = read(tmp_path / "0002.txt")
    assert tracks == [("pedestrian", [0, 6])]
    assert source.reading.changes.line() == "2 categories guessed, 1 region dropped"


def test_mots_classes_stand_in_the_nearest_folder_above_the_pictures(tmp_path: Path) -> None:
    for video in ("a", "b"):
        picture(tmp_path / "default" / "instances" / video / "000000.png", [(1001, 0)])
    assert read(tmp_path)[0].reading.changes.line() == "2 categories guessed"
    (tmp_path / "default" / "instances" / "labels.txt").write_text("dog\ncello\n")
    (tmp_path / "labels.txt").write_text("cow\n")  # farther away
    source, tracks = read(tmp_path)
    assert tracks == [("dog", [6]), ("dog", [6])] and not source.reading.changes
    (tmp_path / "default" / "instances" / "labels.txt").unlink()
    assert [name for name, _ in read(tmp_path)[1]] == ["cow", "cow"]
    with pytest.raises(AvisError, match="no class 1"):  # an empty file names none
        (tmp_path / "labels.txt").write_text("")
        read(tmp_path)
    names = read(tmp_path / "default")[
        0
    ].reading.changes.sentences()  # what lies above the source is not read
    assert len(names) == 1 and names[0].startswith("2 categories guessed")


def test_davis_pictures_with_void(tmp_path: Path) -> None:
    picture(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", [(1, 0), (2, 3), (255, 6)], np.uint8)
    picture(tmp_path / "Annotations" / "480p" / "bear" / "00001.png", [(2, 3)], np.uint8)
    source, tracks = read(tmp_path)
    assert (source.format.name, source.reading.annotations.videos[0].name) == ("davis", "bear")
    assert tracks == [("object", [6, 0]), ("object", [6, 6])]
    assert source.reading.changes.line() == "1 region dropped"


def test_sav_files_and_folders(tmp_path: Path) -> None:
    square, nothing = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    square[1:4, 2:4] = True
    document = {
        "video_id": "sav_000001", "video_duration": 1.0, "video_frame_count": 5.0, "masklet_num": 2,
        "video_height": float(HEIGHT), "video_width": float(WIDTH),
        "masklet": [[encode(square), encode(nothing)], [encode(square), encode(square)]],
        "masklet_id": [0, 4],
    }  # fmt: skip
    (tmp_path / "sav_000001_manual.json").write_text(json.dumps(document))
    source, tracks = read(tmp_path / "sav_000001_manual.json")
    assert source.format.name == "sav" and tracks == [("object", [6, 6]), ("object", [0, 6])]
    folder = tmp_path / "Annotations_6fps" / "sav_000002"
    for name, frames in (("000", (0, 4, 8)), ("001", (4,))):
        for frame in frames:
            picture(folder / name / f"{frame:05d}.png", [(255, 2)], np.uint8)
    source, tracks = read(tmp_path / "Annotations_6fps")
    assert source.format.name == "sav" and tracks == [("object", [6, 6, 6]), ("object", [0, 6, 0])]
    assert source.reading.changes.line() == "3 frames renamed"


def of_cvat() -> dict[str, Any]:
    """As CVAT's Datumaro export of a task has it."""
    shape = {"id": 0, "group": 0, "label_id": 1, "z_order": 0}
    code = encode(np.eye(HEIGHT, WIDTH, dtype=bool))
    return {
        "info": {},
        "categories": {"label": {"labels": [{"name": "cow", "parent": ""}, {"name": "dog", "parent": ""}]}},
        "items": [
            {"id": "frame_000000", "attr": {"frame": 0}, "image": {"path": "f0.PNG", "size": [HEIGHT, WIDTH]},
             "annotations": [
                 {**shape, "type": "polygon", "points": [1.0, 1, 5, 1, 5, 4, 1, 4],
                  "attributes": {"track_id": 3}},
                 {**shape, "type": "bbox", "bbox": [1, 1, 2, 2], "attributes": {"track_id": 4}},
                 {**shape, "type": "mask", "rle": code, "attributes": {}},
             ]},
            {"id": "frame_000001", "attr": {"frame": 1}, "image": {"path": "f1.PNG", "size": [HEIGHT, WIDTH]},
             "annotations": [
                 {**shape, "type": "mask", "rle": code, "attributes": {"track_id": 3, "annotator": "Ada"}},
             ]},
        ],
    }  # fmt: skip


def test_datumaro_of_cvat(tmp_path: Path) -> None:
    (tmp_path / "clip.json").write_text(json.dumps(of_cvat()))
    source, tracks = read(tmp_path / "clip.json")
    assert (source.format.name, source.reading.annotations.videos[0].name) == ("datumaro", "clip")
    assert tracks == [("dog", [12, 6])] and source.reading.annotations.tracks[0].annotator == "Ada"
    assert source.reading.changes.line() == "1 bbox dropped, 1 mask dropped"


def test_attributes_of_datumaro_and_coco_are_not_lost_in_silence(tmp_path: Path) -> None:
    document = of_cvat()
    document["items"][1]["annotations"][0]["attributes"].update(outside=True, occluded=True, breed="pug")
    (tmp_path / "clip.json").write_text(json.dumps(document))
    source, tracks = read(tmp_path / "clip.json")
    assert tracks == [("dog", [12, 0])]
    said = source.reading.changes.line()
    assert said == "1 bbox dropped, 1 mask dropped, 1 attribute dropped, 1 shape dropped"


@pytest.mark.parametrize("name", ["davis", "mots_png"])
def test_pixels_of_two_tracks_go_to_the_smaller_and_are_counted(tmp_path: Path, name: str) -> None:
    large, small = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    large[:, :5], small[2:4, 4:6] = True, True
    video = Video(1, "v", ["v/00000.jpg"], 1, HEIGHT, WIDTH)
    tracks = [Track(1, 1, 1, [encode(small)]), Track(2, 1, 1, [encode(large)])]
    lost = write_target(tmp_path / "out", AnnotationSet({1: "dog"}, [video], tracks), find_format(name))
    assert lost == ["masks overlap in 1 frame: 2 pixels went to the smaller alone"]
    assert sorted(pixels for _, pixels in read(tmp_path / "out")[1]) == [[4], [28]]


def test_frames_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "v" / "00000.png", [(1, 0)], np.uint8)
    picture(tmp_path / "v" / "00001.png", [(1, 0)], np.uint8, width=9)
    with pytest.raises(AvisError, match=r"v/00000\.png has 8x6 pixels, v/00001\.png has 9x6"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["items"][0].update(id="../x/frame_0"), "leads to another folder"),
        (lambda d: d["items"][1].update(image={"size": [9, 9]}), "differ in size"),
        (lambda d: d["items"][1].update(attr={"frame": 0}), "Frame 0 of the video 'clip' stands twice"),
        (
            lambda d: d["items"][1]["annotations"][0].update(label_id=7),
            "label_id 7 is not among the 2 labels",
        ),
        (
            lambda d: d["items"][1]["annotations"][0].update(rle={"size": [6, 8], "counts": "x"}),
            "does not decode",
        ),
        (lambda d: d.update(categories={}), "list of labels is missing"),
        (
            lambda d: [a["attributes"].clear() for item in d["items"] for a in item["annotations"]],
            "No mask or polygon has attributes.track_id",
        ),
    ],
)
def test_a_bad_datumaro_file_is_one_message_with_its_place(tmp_path: Path, change: Any, message: str) -> None:
    document = of_cvat()
    change(document)
    (tmp_path / "clip.json").write_text(json.dumps(document))
    with pytest.raises(AvisError, match=message) as caught:
        read(tmp_path / "clip.json")
    assert "clip.json" in str(caught.value)


def test_classes_without_a_name_and_pictures_that_are_none_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "000000.png", [(3001, 0)])
    with pytest.raises(AvisError, match=r"no class 3: known are 1 car, 2 pedestrian.*labels\.txt"):
        read(tmp_path)
    (tmp_path / "labels.txt").write_text("dog\ncow\nhorse\n")
    assert read(tmp_path)[1] == [("horse", [6])]
    (tmp_path / "a" / "000001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(AvisError, match=r"picture cannot be read.*000001"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["davis", "mots_png", "mots_txt", "sav", "audacity", "elan"])
def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    video = Video(1, "v", ["v/00000.jpg"], 1, HEIGHT, WIDTH)
    track = Track(1, 1, 1, [encode(np.ones((HEIGHT, WIDTH), bool))])
    with pytest.raises(AvisError, match="out"):
        write_target(tmp_path / "out", AnnotationSet({1: "dog"}, [video], [track]), find_format(name))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]
