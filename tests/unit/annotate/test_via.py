"""Projects of VGG Image Annotator 2 and 3, as it saves them, and what it exports."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.annotate.exports import read_sources
from components.annotate.formats import Reading
from components.core.records.masks import decode
from components.core.run.errors import AvisError

CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"


def region(track: str, label: str, x: int, name: str = "polygon") -> dict[str, Any]:
    shape = {"name": name, "all_points_x": [x, x + 3, x + 3, x], "all_points_y": [1, 1, 3, 3]}
    return {"shape_attributes": shape, "region_attributes": {"track_id": track, "label": label}}


def pictures() -> dict[str, Any]:
    """Of VIA 2: by name and bytes, in the order in which they were added."""
    regions = [[region("1", "dog", 1), region("2", "cello", 4)], [], [region("1", "dog", 2)]]
    return {
        f"{k:05d}.jpg{900 + k}": {
            "filename": f"{k:05d}.jpg", "size": 900 + k, "regions": regions[k], "file_attributes": {}
        }
        for k in range(3)
    }  # fmt: skip


def project_2(found: dict[str, Any]) -> dict[str, Any]:
    attributes = {
        "track_id": {"type": "text", "description": "", "default_value": ""},
        "label": {"type": "dropdown", "description": "", "options": {"dog": "", "cello": ""}},
    }
    return {
        "_via_settings": {"ui": {}, "core": {"buffer_size": 18}, "project": {"name": "clip_a"}},
        "_via_img_metadata": found,
        "_via_attributes": {"region": attributes, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(found),
    }


def project_3(kind: int, metadata: dict[str, Any], files: list[str]) -> dict[str, Any]:
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "__VIA_PROJECT_REV_ID__", "pname": "p",
                    "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__", "created": 1588343615019,
                    "data_format_version": "3.1.1", "vid_list": [str(k + 1) for k in range(len(files))]},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
        "attribute": {
            "1": {"aname": "track_id", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
            "2": {"aname": "label", "anchor_id": "FILE1_Z1_XY1", "type": 4,
                  "options": {"0": "dog", "1": "cello"}},
        },
        "file": {str(k + 1): {"fid": str(k + 1), "fname": name, "type": kind, "loc": 1, "src": ""}
                 for k, name in enumerate(files)},
        "metadata": metadata,
        "view": {str(k + 1): {"fid_list": [str(k + 1)]} for k in range(len(files))},
    }  # fmt: skip


def drawn(
    time_s: list[float], x: float, track: str = "7", label: str = "1", vid: str = "1"
) -> dict[str, Any]:
    xy = [7, x, 1.0, x + 3, 1.0, x + 3, 3.0, x, 3.0]
    return {"vid": vid, "flg": 0, "z": time_s, "xy": xy, "av": {"1": track, "2": label}}


def write(folder: Path, document: dict[str, Any], pictures_too: bool = True) -> Path:
    if pictures_too:
        for k in range(3):
            Image.new("RGB", (8, 6)).save(folder / f"{k:05d}.jpg")
    path = folder / "clip_a.json"
    path.write_text(json.dumps(document))
    return path


def read(path: Path, **hints: Any) -> Reading:
    (source,) = read_sources(path, **hints)
    assert source.format.name == "via"
    return source.reading


def pixels(reading: Reading) -> dict[str, list[int]]:
    annotations = reading.annotations
    return {
        f"{annotations.categories[t.category_id]} {t.id}": [
            int(decode(s, 6, 8).sum()) for s in t.segmentations
        ]
        for t in annotations.tracks
    }


@pytest.mark.parametrize("export", [False, True])
def test_a_project_of_pictures_and_its_export_are_read_with_the_size_of_the_pictures(
    tmp_path: Path, export: bool
) -> None:
    reading = read(write(tmp_path, pictures() if export else project_2(pictures())))
    assert [(v.name, v.length, v.height, v.width) for v in reading.annotations.videos] == [
        ("clip_a", 3, 6, 8)
    ]
    assert pixels(reading) == {"dog 1": [6, 0, 6], "cello 2": [6, 0, 0]} and not reading.changes


def test_without_pictures_the_size_and_the_length_are_those_of_the_media(tmp_path: Path) -> None:
    path = write(tmp_path, project_2(pictures()), pictures_too=False)
    with pytest.raises(AvisError, match=r"size of the frames of 'clip_a' is not in the file.*extract"):
        read(path)
    reading = read(path, sizes={"clip_a": (6, 8)}, lengths={"clip_a": 5})
    assert pixels(reading) == {"dog 1": [6, 0, 6, 0, 0], "cello 2": [6, 0, 0, 0, 0]}
    assert reading.changes.line() == "2 frames filled"


def test_what_is_no_polygon_or_tells_no_object_is_said(tmp_path: Path) -> None:
    found = pictures()
    found["00000.jpg900"]["regions"].append(region("3", "dog", 1, name="rect"))
    found["00002.jpg902"]["regions"][0]["region_attributes"]["track_id"] = ""
    found["00000.jpg900"]["regions"][0]["region_attributes"]["breed"] = "pug"
    reading = read(write(tmp_path, project_2(found)))
    assert pixels(reading) == {"dog 1": [6, 0, 0], "cello 2": [6, 0, 0]}
    assert reading.changes.line() == "1 attribute dropped, 1 rect dropped, 1 mask dropped"


def test_a_project_that_tells_no_objects_is_refused_with_what_to_add(tmp_path: Path) -> None:
    found = pictures()
    for row in found.values():
        for one in row["regions"]:
            del one["region_attributes"]["track_id"]
    with pytest.raises(AvisError, match=r"object over time.*Add the region attribute 'track_id'"):
        read(write(tmp_path, project_2(found)))


def test_regions_of_a_video_are_of_the_picture_of_their_second(tmp_path: Path) -> None:
    metadata = {
        "1_a": drawn([0.5], 1), "1_b": drawn([2.1], 2), "1_c": drawn([2.44], 3),
        "1_d": {**drawn([1.4], 1), "xy": [2, 1, 1, 3, 3]}, "1_e": {**drawn([0.0, 2.0], 1), "xy": []},
    }  # fmt: skip
    path = write(tmp_path, project_3(4, metadata, ["park.mp4"]), pictures_too=False)
    reading = read(path, sizes={"park": (6, 8)}, lengths={"park": 4})
    assert pixels(reading) == {"cello 7": [6, 0, 6, 0]}
    assert not decode(reading.annotations.tracks[0].segmentations[2], 6, 8)[:, 2].any()  # x begins at 3
    assert reading.changes.line() == (
        "1 temporal segment dropped, 1 mask dropped, 1 video guessed, 1 rectangle dropped"
    )


def test_pictures_of_a_project_of_via_3(tmp_path: Path) -> None:
    metadata = {"1_a": drawn([], 1, label="0"), "3_b": drawn([], 2, label="0", vid="3")}
    reading = read(write(tmp_path, project_3(2, metadata, [f"{k:05d}.jpg" for k in range(3)])))
    assert pixels(reading) == {"dog 7": [6, 0, 6]} and not reading.changes


def twice(project: dict[str, Any]) -> None:
    project["file"]["2"]["fname"] = "00000.jpg"


def unlisted(project: dict[str, Any]) -> None:
    del project["file"]["3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (twice, r"'00000.jpg' stands there twice .*clip_a.json, file 2"),
        (unlisted, r"shows the file '3', which is not listed .*metadata 3_b"),
    ],
)
def test_regions_are_not_lost_in_silence(tmp_path: Path, change: Any, message: str) -> None:
    metadata = {"1_a": drawn([], 1, label="0"), "3_b": drawn([], 2, label="0", vid="3")}
    project = project_3(2, metadata, [f"{k:05d}.jpg" for k in range(3)])
    change(project)
    with pytest.raises(AvisError, match=message):
        read(write(tmp_path, project))


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, project_2(pictures()))
    (tmp_path / "00001.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(AvisError, match=r"picture cannot be read: .*00001\.jpg"):
        read(path)


@pytest.mark.parametrize(
    "text", [CSV, "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n"]
)
def test_its_csv_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "via").write_text(text)
    with pytest.raises(AvisError, match=r"CSV files of VGG Image Annotator.*Save the project as JSON"):
        read_sources(tmp_path / "via")
