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
             "area": 2.0, "bbox": [0.0, 0.0, 2.0, 4.0], "iscrowd": 1, "attributes": attributes},
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
        "2 masks guessed: iscrowd marks its run lengths, as CVAT and Datumaro do, and is taken for no crowd",
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
        ("annotations.0.track_id", 3.5, "no whole number .*annotation 1, field track_id"),
        ("annotations.0.track_id", -1, "belongs to no track"),
        ("annotations.0.iscrowd", 2, "2 is neither 0 nor 1 .*annotation 1, field iscrowd"),
        ("annotations", None, "'annotations' is missing or null: the labels of this set"),
        ("annotations.0.image_id", 7, r"image_id 7 is not among the images .*annotations\[0\]"),
        ("annotations.0.category_id", 7, "category_id 7 is not among"),
        ("annotations.0.segmentation.size", [6, 4], r"RLE size is \[6, 4\]"),
        ("annotations.0.segmentation.counts", "zz", "does not decode.*track 3, frame 1"),
        ("annotations.0.segmentation", [[1, 2, 3]], "at least 6 coordinates"),
        ("annotations.0.segmentation", "x", "polygons, an RLE or null, not str"),
        ("images.1.frame_index", 0, "Frame 0 of the video 'train/clip_1' stands twice"),
        ("images.1.frame_index", 10**9, "Frame 1000000000 is none"),
        ("images.1.id", 50, "id 50 stands twice"),
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


def plain(**of_image: Any) -> dict[str, Any]:
    """Three frames of plain COCO without videos, an annotation in each, as pycocotools takes them."""
    return {
        "categories": [{"id": 0, "name": "dog"}],
        "images": [
            {"id": k, "file_name": f"a/{k:05d}.jpg", "width": 6, "height": 4, **of_image} for k in range(3)
        ],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 0, "track_id": 7, "iscrowd": 0,
             "segmentation": [[1.0, 1, 4, 1, 4, 3, 1, 3]], "bbox": [1, 1, 3, 2], "area": 6}
            for k in range(3)
        ],
    }  # fmt: skip


def taken(path: Path, document: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """(name, length, track ids with pixels per frame) of each video, and what was changed."""
    reading = read_sources(write(path / "a.json", document))[0].reading
    videos = [
        (
            video.name,
            video.length,
            {
                track.id: [int(decode(s, video.height, video.width).sum()) for s in track.segmentations]
                for track in reading.annotations.tracks
                if track.video_id == video.id
            },
        )
        for video in reading.annotations.videos
    ]
    return videos, [str(change).partition(" (")[0] for change in reading.changes]


def test_ids_from_0_are_ids(tmp_path: Path) -> None:
    assert taken(tmp_path, plain()) == ([("a", 3, {7: [6, 6, 6]})], [])


@pytest.mark.parametrize("write_id", [float, str, lambda number: f"{number}.0"])
def test_ids_are_the_same_however_a_writer_has_them(tmp_path: Path, write_id: Any) -> None:
    document = plain()
    for row in document["annotations"]:
        row.update(image_id=write_id(row["image_id"]), category_id=write_id(0), track_id=write_id(7))
    for row in document["images"]:
        row.update(width=write_id(6))
    assert taken(tmp_path, document) == ([("a", 3, {7: [6, 6, 6]})], [])


def test_a_track_may_be_named_in_the_attributes_and_by_a_text(tmp_path: Path) -> None:
    document = plain()
    for row in document["annotations"]:
        del row["track_id"]
        row["attributes"] = {"occluded": False, "instance_id": "Rex"}
    why = "1 track renamed: its id is no number, tracks are numbered"
    assert taken(tmp_path, document) == ([("a", 3, {1: [6, 6, 6]})], [why])


@pytest.mark.parametrize(
    ("paths", "names", "said"),
    [
        ([r"a\0.jpg", r"a\1.jpg", r"b\0.jpg"], ["a", "b"], ["3 paths renamed"]),
        (["C:/x/a/0.jpg", "C:/x/a/1.jpg", "C:/x/b/0.jpg"], ["a", "b"], ["2 videos renamed"]),
        (["JPEGImages/a/0.jpg", "JPEGImages/a/1.jpg", "./JPEGImages/a/2.jpg"], ["a"], ["1 video renamed"]),
        (["x/a/0.jpg", "x/a/1.jpg", "y/b/0.jpg"], ["x-a", "y-b"], ["2 videos renamed"]),
        (["0.jpg", "1.jpg", "2.jpg"], ["a"], []),
    ],
)
def test_the_folder_of_a_picture_is_its_video(
    tmp_path: Path, paths: list[str], names: list[str], said: list[str]
) -> None:
    document = plain()
    for row, path in zip(document["images"], paths, strict=True):
        row["file_name"] = path
    videos, changes = taken(tmp_path, document)
    assert [name for name, _, _ in videos] == names
    assert [length for _, length, _ in videos] == ([3] if len(names) == 1 else [2, 1])
    assert [change.partition(":")[0] for change in changes][: len(said)] == said


@pytest.mark.parametrize(
    ("pattern", "length", "pixels", "said"),
    [
        ("a/{}.jpg", None, [6, 6, 6], "1 video guessed: its frames begin with number 1, which is taken"),
        ("a/{}.jpg", 3, [6, 6, 6], ""),
        ("a/{}.jpg", 4, [0, 6, 6, 6], "1 frame filled"),
        ("frame_{:06d}.PNG", None, [0, 6, 6, 6], "1 frame filled"),  # CVAT counts from 0
    ],
)
def test_frames_that_are_counted_from_1(
    tmp_path: Path, pattern: str, length: int | None, pixels: list[int], said: str
) -> None:
    document = plain(video_id=0)
    document["videos"] = [{"id": 0, "name": "v", "length": length}]
    for k, row in enumerate(document["images"], start=1):
        row["file_name"] = pattern.format(k)
    videos, changes = taken(tmp_path, document)
    assert videos == [("v", len(pixels), {7: pixels})]
    assert "".join(changes).startswith(said) and bool(changes) == bool(said)


def test_polygons_that_are_none_and_crowds_and_sizes_are_said(tmp_path: Path) -> None:
    document = plain(video_id=0)
    document["videos"] = [{"id": 0, "name": "v", "height": 9, "width": 9}]
    document["annotations"][0]["segmentation"].append([1, 1, 2, 2])
    document["annotations"][1].update(iscrowd=True)
    document["annotations"][2].update(segmentation=[[1, 1, 2, 2]], ignore=1)
    assert taken(tmp_path, document) == (
        [("v", 3, {7: [6, 6, 0]})],
        [
            "1 video guessed: its size is not that of its images, which is taken",
            "2 polygons dropped: it has fewer than 3 points",
            "1 mask guessed: ignore is set, taken for a crowd",
            "1 mask dropped: none of its polygons has 3 points",
            "1 track guessed: iscrowd is set in some of its frames, all of it is taken for a crowd",
        ],
    )


def test_what_attributes_say_is_not_lost_in_silence(tmp_path: Path) -> None:
    document = plain()
    document["annotations"][1]["attributes"] = {"occluded": True, "outside": True, "breed": "pug"}
    videos, changes = taken(tmp_path, document)
    assert videos == [("a", 3, {7: [6, 0, 6]})]
    assert changes == [
        "1 attribute dropped: a track has no place for it",
        "1 shape dropped: its attribute `outside` is set: the object is not in view",
    ]


def test_a_mask_that_is_not_in_its_own_box_and_a_score_are_said(tmp_path: Path) -> None:
    document = plain()
    column = {"size": [4, 6], "counts": "53`0"}  # of a frame of 4 rows: 5 and 3 pixels, and 16
    document["annotations"][0] |= {"segmentation": column, "bbox": [1, 1, 1, 3]}
    assert taken(tmp_path, document) == ([("a", 3, {7: [3, 6, 6]})], [])
    document["annotations"][0]["bbox"] = [5, 0, 1, 3]
    document["annotations"][1]["bbox"] = [1, 1, 4, 3]  # corners in the place of a size: over half of it
    document["annotations"][2] |= {"bbox": [0.2, 0.2, 0.5, 0.5], "score": 0.5}
    videos, said = taken(tmp_path, document)
    assert videos == [("a", 3, {7: [3, 6, 6]})]
    assert [line.partition(":")[0] for line in said] == ["2 masks guessed", "1 row guessed"]


def test_coordinates_without_a_list_of_polygons_are_one_polygon(tmp_path: Path) -> None:
    document = plain()
    expected, _ = taken(tmp_path, document)
    (flat,) = document["annotations"][0]["segmentation"]
    pairs = [flat[k : k + 2] for k in range(0, len(flat), 2)]
    for found, why in (
        (flat, "its coordinates are one list and no list of polygons"),
        (pairs, "its points are pairs"),
    ):
        document["annotations"][0]["segmentation"] = found
        assert taken(tmp_path, document) == (expected, [f"1 mask guessed: {why}, taken as one polygon"])


def test_images_without_a_size_take_that_of_the_video_or_of_its_media(tmp_path: Path) -> None:
    document = plain()
    for row in document["images"]:
        del row["width"], row["height"]
    path = write(tmp_path / "a.json", document)
    assert read_sources(path, sizes={"a": (4, 6)})[0].reading.annotations.videos[0].width == 6
    with pytest.raises(AvisError, match=r"size of the frames of 'a' is not in the file.*a\.json"):
        read_sources(path)


def test_a_set_whose_labels_are_kept_back_is_not_one_in_which_nothing_sounds(tmp_path: Path) -> None:
    document = plain()
    del document["annotations"]
    with pytest.raises(AvisError, match=r"'annotations' is missing or null.*a\.json.*write an empty list"):
        taken(tmp_path, document)
    assert taken(tmp_path, {**document, "annotations": []}) == ([("a", 3, {})], [])


def test_a_folder_in_an_export_of_datumaro_is_the_video() -> None:
    exports = Path(__file__).parents[2] / "data" / "annotation_exports"
    (source,) = read_sources(exports / "datumaro_1.5.1_instances_default.json")
    annotations = source.reading.annotations
    assert [(video.name, video.length) for video in annotations.videos] == [("clip_a", 3)]
    tracks = [
        (track.id, annotations.categories[track.category_id], [bool(mask) for mask in track.segmentations])
        for track in annotations.tracks
    ]
    assert tracks == [(3, "dog", [False, True, True]), (4, "cello", [False, True, True])]
    assert source.reading.changes.line() == "1 frame filled"  # Datumaro was given frames 1 and 2
