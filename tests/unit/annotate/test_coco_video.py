import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.annotate.exports import read_sources
from components.core.records.masks import decode
from components.core.run.errors import AvisError
from components.tools.convert import convert


def of_cvat() -> dict[str, Any]:
    """As CVAT's 'COCO 1.0' export of a task of four frames has it; frame 2 was deleted."""
    square = [1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]
    attributes = {"occluded": False, "track_id": 0, "keyframe": True}
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": ""},
        "categories": [{"id": 1, "name": "dog", "supercategory": ""}, {"id": 2, "name": "cow"}],
        "images": [
            {"id": k + 1, "width": 6, "height": 4, "file_name": f"frame_{k:06d}.PNG", "license": 0}
            for k in (0, 1, 3)
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 2, "segmentation": [square], "area": 6.0,
             "bbox": [1.0, 1.0, 3.0, 2.0], "iscrowd": 0, "attributes": attributes},
            {"id": 2, "image_id": 4, "category_id": 2, "segmentation": {"counts": [3, 2, 19], "size": [4, 6]},
             "area": 2.0, "bbox": [0.0, 3.0, 2.0, 1.0], "iscrowd": 1, "attributes": attributes},
            {"id": 3, "image_id": 4, "category_id": 2, "segmentation": {"counts": [23, 1], "size": [4, 6]},
             "area": 1.0, "bbox": [5.0, 3.0, 1.0, 1.0], "iscrowd": 1, "attributes": attributes},
            {"id": 4, "image_id": 2, "category_id": 1, "segmentation": [], "bbox": [1, 1, 2, 2], "iscrowd": 0,
             "attributes": {"track_id": 5}},
        ],
    }  # fmt: skip


def of_tao() -> dict[str, Any]:
    """Tracks and frame_index as TAO has them, and RLE as strings."""
    return {
        "info": {},
        "videos": [{"id": 8, "name": "train/clip_1", "width": 6, "height": 4}],
        "images": [
            {"id": 50 + k, "video_id": 8, "frame_index": k, "file_name": f"x/{30 * k}.jpg",
             "width": 6, "height": 4}
            for k in (0, 1)
        ],
        "tracks": [{"id": 3, "category_id": 9, "video_id": 8}, {"id": 4, "category_id": 9, "video_id": 8}],
        "categories": [{"id": 9, "name": "dog", "synset": "dog.n.01"}],
        "annotations": [
            {"id": 1, "image_id": 51, "track_id": 3, "category_id": 9, "iscrowd": 1,
             "segmentation": {"size": [4, 6], "counts": "32c0"}}
        ],
    }  # fmt: skip


def write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_an_export_of_cvat_names_its_video_after_the_file_and_missing_frames_are_said(tmp_path: Path) -> None:
    source = read_sources(write(tmp_path / "clip_7.json", of_cvat()))[0]
    annotations = source.reading.annotations
    assert (source.format.name, source.reason) == ("coco_video", "a JSON object with images and annotations")
    assert [(v.name, v.length) for v in annotations.videos] == [("clip_7", 4)]
    cow, dog = annotations.tracks
    assert (annotations.categories[cow.category_id], cow.iscrowd) == ("cow", 0)
    assert [decode(s, 4, 6).sum() for s in cow.segmentations] == [6, 0, 0, 3]
    assert dog.segmentations == [None] * 4
    assert [str(change).partition(" (")[0] for change in source.reading.changes] == [
        "1 frame filled: the source does not have it, taken as without a mask",
        "1 mask merged: its track has another one in the same frame",
        "1 box dropped: it has no mask, taken as a frame without one",
    ]


def test_tao_tracks_keep_their_ids_and_names_with_folders_become_one_name(tmp_path: Path) -> None:
    annotations = read_sources(write(tmp_path / "tao.json", of_tao()))[0].reading.annotations
    assert [(v.id, v.name, v.length) for v in annotations.videos] == [(8, "train-clip_1", 2)]
    assert [(t.id, t.iscrowd) for t in annotations.tracks] == [(3, 1), (4, 0)]
    assert annotations.tracks[0].segmentations[0] is None and annotations.tracks[0].segmentations[1]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("images.1.width", 7, r"differ in size: x/0.jpg has 6x4 pixels, x/30.jpg has 7x4"),
        ("annotations.0.track_id", None, "belongs to no track"),
        ("annotations.0.track_id", "3", "no whole number .*annotation 1, field track_id"),
        ("annotations.0.image_id", 7, r"image_id 7 is not among the images .*annotations\[0\]"),
        ("annotations.0.category_id", 7, "category_id 7 is not among"),
        ("annotations.0.segmentation.size", [6, 4], r"RLE size is \[6, 4\]"),
        ("annotations.0.segmentation.counts", "zz", "does not decode.*track 3, frame 1"),
        ("annotations.0.segmentation", [[1, 2]], "at least 6 coordinates"),
        ("annotations.0.segmentation", "x", "polygons, an RLE or null, not str"),
        ("images.1.frame_index", 0, "Frame 0 of the video 'train/clip_1' stands twice"),
        ("images.1.frame_index", 10**9, "Frame 1000000000 is none"),
        ("images.1.id", 50, "id 50 is none, or stands twice"),
        ("images.0", 3, r"3 is no object .*images\[0\]"),
        ("videos.0.name", "../x", "leads to another folder"),
        ("videos.0.id", 9, "video_id 8 is not among the videos"),
        ("categories.0.name", "", "no text"),
        ("tracks.0.category_id", 1, "video_id or category_id is not in the file"),
        ("images", {}, "the list 'images' is missing"),
    ],
)
def test_a_bad_file_gets_one_message_and_writes_nothing(
    tmp_path: Path, place: str, value: object, message: str
) -> None:
    document: Any = of_tao()
    *parents, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    inner = document
    for part in parents:
        inner = inner[part]
    inner[last] = value
    source = write(tmp_path / "a.json", document)
    with pytest.raises(AvisError, match=message) as caught:
        convert(source, tmp_path / "b.json", target_format="aviseg")
    assert "a.json" in str(caught.value) and "taken for coco_video because" in str(caught.value)
    assert list(tmp_path.iterdir()) == [source]


def panoptic() -> dict[str, Any]:
    """Of the images of `of_cvat`, as Datumaro writes it: the masks are in pictures."""
    segment = {"id": 1, "category_id": 1, "area": 6.0, "bbox": [1, 1, 3, 2], "iscrowd": 0}
    rows = [{"image_id": 1, "file_name": "frame_000000.png", "segments_info": [segment]}]
    return {**of_cvat(), "annotations": rows}


@pytest.mark.parametrize("zipped", [False, True])
def test_of_a_folder_of_coco_files_the_instances_are_read_and_the_others_said(
    tmp_path: Path, zipped: bool
) -> None:
    folder = tmp_path / "export" / "annotations"
    folder.mkdir(parents=True)
    write(folder / "instances_default.json", of_cvat())
    write(folder / "panoptic_default.json", panoptic())
    write(folder / "stuff_default.json", of_cvat())
    write(folder / "image_info_default.json", {**of_cvat(), "annotations": []})
    write(folder / "instances_other.json", of_cvat())
    source = tmp_path / "export"
    if zipped:
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", source))
    first, second = read_sources(source)
    assert [Path(one.name).name for one in (first, second)] == [
        "instances_default.json",
        "instances_other.json",
    ]
    assert len(first.reading.annotations.tracks) == 2
    why = "file beside an instances file, which alone is read"
    assert [str(change) for change in first.reading.changes if change.unit == "file"] == [
        f"1 file dropped: COCO's {kind} {why} ({kind}_default.json)"
        for kind in ("image_info", "panoptic", "stuff")
    ]
    assert second.reading.changes.count("file") == 0


def test_a_panoptic_file_alone_says_what_to_export(tmp_path: Path) -> None:
    write(tmp_path / "panoptic_default.json", panoptic())
    with pytest.raises(AvisError, match=r"COCO panoptic \(segments_info\).*panoptic_default.*COCO instances"):
        read_sources(tmp_path)
