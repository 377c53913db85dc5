import json
from pathlib import Path

import numpy as np
import pytest

from components.core.records import masks
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.run.errors import AvisError


def example() -> AnnotationSet:
    mask = np.zeros((6, 8), bool)
    mask[1:3, 2:5] = True
    video = Video(1, "a-b", ["a-b/00000.jpg", "a-b/00001.jpg", "a-b/00002.jpg"], 3, 6, 8)
    polygon = [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0]]
    track = Track(7, 1, 2, [masks.encode(mask), None, polygon])
    return AnnotationSet({1: "person", 2: "violin"}, [video], [track], {"note": "é"})


def test_annotations_read_as_they_were_written_and_bytes_are_stable(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    write_annotations(first, example())
    assert read_annotations(first) == example()
    write_annotations(second, read_annotations(first))
    assert first.read_bytes() == second.read_bytes()
    row = json.loads(first.read_text())["annotations"][0]
    assert row["areas"] == [6, None, 16]
    assert row["bboxes"] == [[2.0, 1.0, 3.0, 2.0], None, [0.0, 0.0, 4.0, 4.0]]


def breakage(document: dict, path: str, value: object) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        document = document[part]
    if value is KeyError:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("videos", KeyError, "'videos' is missing"),
        ("videos.0.id", "1", r"'1' is no whole number.*videos\[0\], field id"),
        ("videos.0.length", 4, "length is 4, but there are 3 file_names.*video 'a-b'"),
        ("videos.0.file_names.1", "a-b/../../x.jpg", "frame 1 lies outside"),
        ("videos.0.file_names.0", "../x.jpg", r"cannot be a file name.*videos\[0\], field file_names"),
        ("videos.0.width", 0, "not positive"),
        ("annotations.0.video_id", 9, "video_id 9 is not among the videos.*annotation 7"),
        ("annotations.0.category_id", 9, "category_id 9 is not among.*annotation 7, video 'a-b'"),
        ("annotations.0.segmentations", [None], "1 segmentations for 3 frames.*annotation 7, video 'a-b'"),
        ("annotations.0.segmentations.2", {"size": [5, 8], "counts": "0"}, "video 'a-b', frame 2"),
        ("annotations.0.segmentations.1", [[1, 2]], "at least 6.*frame 1"),
        ("categories.0.name", "", r"categories\[0\], field name"),
    ],
)
def test_bad_annotations_name_annotation_video_and_frame(
    tmp_path: Path, path: str, value: object, message: str
) -> None:
    file = tmp_path / "test.json"
    write_annotations(file, example())
    document = json.loads(file.read_text())
    breakage(document, path, value)
    file.write_text(json.dumps(document))
    with pytest.raises(AvisError, match=message):
        read_annotations(file)


def test_a_mask_that_does_not_decode_is_not_written(tmp_path: Path) -> None:
    annotations = example()
    annotations.tracks[0].segmentations[1] = {"size": [6, 8], "counts": "zz"}
    with pytest.raises(AvisError, match="annotation 7, video 'a-b', frame 1"):
        write_annotations(tmp_path / "x.json", annotations)
    assert list(tmp_path.iterdir()) == []


def test_sounding_intervals_and_annotator_survive(tmp_path: Path) -> None:
    video = Video(1, "clip", ["clip/00000.jpg"], length=1, height=4, width=4)
    track = Track(1, 1, 1, [None], sounding=[(0.0, 0.5), (0.5, 1.0)], annotator="Ada")
    write_annotations(tmp_path / "a.json", AnnotationSet({1: "dog"}, [video], [track]))
    assert read_annotations(tmp_path / "a.json").tracks == [track]


@pytest.mark.parametrize("sounding", ["0-1", [[1]], [[2, 1]], [[0, 2], [1, 3]], [[-1, 1]], [[0, "9"]]])
def test_wrong_sounding_intervals_are_refused(tmp_path: Path, sounding: object) -> None:
    video = Video(1, "clip", ["clip/00000.jpg"], length=1, height=4, width=4)
    write_annotations(tmp_path / "a.json", AnnotationSet({1: "dog"}, [video], [Track(1, 1, 1, [None])]))
    document = json.loads((tmp_path / "a.json").read_text())
    document["annotations"][0]["sounding"] = sounding
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(AvisError, match="interval") as caught:
        read_annotations(tmp_path / "a.json")
    assert "annotation 1" in str(caught.value) and "sounding" in str(caught.value)
