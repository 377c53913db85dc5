"""What names of frames and folders can mean otherwise: lost frames, other videos' frames, systems' files."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from components.annotate.exports import detect_format, read_sources
from components.annotate.formats import Reading
from components.annotate.sound_labels import read_sound_labels
from components.core.records.changes import Changes
from components.core.records.masks import area, decode, encode
from components.core.run.errors import AvisError

HEIGHT, WIDTH = 12, 20
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def numbered(number: int, left: int) -> NDArray[np.uint8]:
    """A square of a number at a column, which tells the frame that it was drawn for."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[2:6, left : left + 4] = number
    return pixels


def picture(path: Path, pixels: NDArray[Any], mode: str = "P") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette([0, 0, 0, 128, 0, 0])
    image.save(path, format="PNG")


def polygon(left: int) -> list[list[float]]:
    return [[left, 2, left + 4, 2, left + 4, 6, left, 6]]


def coco(names: list[str]) -> dict[str, Any]:
    """A file in which the mask of name k is at column k."""
    return {
        "images": [
            {"id": k, "file_name": name, "height": HEIGHT, "width": WIDTH} for k, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "track_id": 1, "segmentation": polygon(k)}
            for k in range(len(names))
        ],
    }


def youtube_vis(names: list[str]) -> dict[str, Any]:
    size = {"height": HEIGHT, "width": WIDTH, "length": len(names)}
    return {
        "videos": [{"id": 1, "file_names": names, **size}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {
                "id": 1,
                "video_id": 1,
                "category_id": 1,
                "segmentations": [polygon(k) for k in range(len(names))],
            }
        ],
    }


def put(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def read(path: Path, **hints: Any) -> Reading:
    (source,) = read_sources(path, **hints)
    return source.reading


def columns(reading: Reading, video: str = "clip") -> list[int | None]:
    """Where the video's first track is, frame by frame."""
    (one,) = (one for one in reading.annotations.videos if one.name == video)
    track = next(track for track in reading.annotations.tracks if track.video_id == one.id)
    found = [decode(mask, one.height, one.width) for mask in track.segmentations]
    return [int(mask.any(axis=0).argmax()) if mask.any() else None for mask in found]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_a_lost_first_picture_shifts_nothing_where_another_video_has_it(tmp_path: Path, mode: str) -> None:
    for k in (1, 2, 3):
        picture(tmp_path / "clip" / f"{k:05d}.png", numbered(1, k), mode)
    assert columns(read(tmp_path)) == [1, 2, 3]
    assert columns(read(tmp_path, lengths={"clip": 3})) == [1, 2, 3]
    lost = [None, 1, 2, 3]
    assert columns(read(tmp_path, lengths={"clip": 4})) == lost
    picture(tmp_path / "other" / "00000.png", numbered(1, 0), mode)
    reading = read(tmp_path)
    assert columns(reading) == lost
    assert reading.changes.sentences() == [
        "1 frame filled: the source does not have it, taken as without a mask (clip, frame 0)"
    ]


def test_labelme_writes_no_file_for_a_first_frame_without_shapes(tmp_path: Path) -> None:
    for k in (1, 2):
        shape = {
            "label": "dog", "group_id": 1, "shape_type": "polygon",
            "points": [[k, 2], [k + 4, 2], [k + 4, 6], [k, 6]],
        }  # fmt: skip
        row = {"shapes": [shape], "imagePath": f"{k}.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        put(tmp_path / "clip" / f"{k}.json", row)
    assert columns(read(tmp_path, lengths={"clip": 3})) == [None, 1, 2]
    (tmp_path / "clip" / "0.jpg").write_bytes(b"")
    assert columns(read(tmp_path)) == [None, 1, 2]


def test_datumaro_and_label_studio_count_from_1_as_the_other_formats_do(tmp_path: Path) -> None:
    items = [
        {
            "id": f"clip/{k:05d}",
            "image": {"path": "", "size": [HEIGHT, WIDTH]},
            "annotations": [
                {"type": "polygon", "label_id": 0, "points": polygon(k)[0], "attributes": {"track_id": 1}}
            ],
        }
        for k in (1, 2)
    ]
    labels = {"label": {"labels": [{"name": "dog"}]}}
    file = put(tmp_path / "datumaro.json", {"items": items, "categories": labels})
    assert columns(read(file)) == [1, 2]
    assert columns(read(file, lengths={"clip": 3})) == [None, 1, 2]
    file = put(tmp_path / "tasks.json", [task(f"/data/local-files/?d=x/clip/{k}.jpg", k) for k in (1, 2)])
    assert columns(read(file)) == [1, 2]
    assert columns(read(file, lengths={"clip": 3})) == [None, 1, 2]


def task(address: str, left: int, labels: tuple[str, ...] = ("dog",)) -> dict[str, Any]:
    points = [
        [100 * x / WIDTH, 100 * y / HEIGHT] for x, y in ((left, 2), (left + 4, 2), (left + 4, 6), (left, 6))
    ]
    region = {
        "id": "r", "type": "polygonlabels", "original_width": WIDTH, "original_height": HEIGHT,
        "value": {"points": points, "polygonlabels": list(labels)},
    }  # fmt: skip
    return {"data": {"image": address}, "annotations": [{"result": [region]}]}


def test_an_address_that_s3_signed_tells_the_frame_by_its_path(tmp_path: Path) -> None:
    signed = "https://bucket.s3.amazonaws.com/clip/{}.jpg?X-Amz-Expires=3600&X-Amz-Signature=ab{}"
    file = put(tmp_path / "tasks.json", [task(signed.format(k, 7 - k), k) for k in (0, 1, 2)])
    assert columns(read(file)) == [0, 1, 2]


def test_a_region_with_two_labels_is_refused(tmp_path: Path) -> None:
    file = put(tmp_path / "tasks.json", [task("clip/0.jpg", 0, ("dog", "cello"))])
    with pytest.raises(AvisError, match="has 2 labels, dog, cello"):
        read(file)


@pytest.mark.parametrize(
    "names",
    [
        ["vidA_000.jpg", "vidA_001.jpg", "vidB_002.jpg"],
        ["clip/f_0000_jpg.rf.0a1b9.jpg", "clip/f_0001_jpg.rf.ffee7.jpg"],
        ["clip/f0_00.033.jpg", "clip/f1_00.066.jpg"],
    ],
)
def test_names_that_differ_in_more_than_the_last_number_tell_no_frame(
    tmp_path: Path, names: list[str]
) -> None:
    with pytest.raises(AvisError, match="differ in more than the last number"):
        read(put(tmp_path / "coco.json", coco(names)))
    for name in names:
        picture(tmp_path / "davis" / "clip" / name.rpartition("/")[2].replace(".jpg", ".png"), numbered(1, 1))
    with pytest.raises(AvisError, match="differ in more than the last number"):
        read(tmp_path / "davis")


def test_names_of_numbers_without_zeros_are_read_by_number(tmp_path: Path) -> None:
    names = [f"clip/{k}.jpg" for k in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert columns(read(put(tmp_path / "coco.json", coco(names)))) == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 2]


@pytest.mark.parametrize("last", ["clip/1.jpg", "clip/10.jpg"])
def test_frames_in_another_order_than_that_of_time_are_refused(tmp_path: Path, last: str) -> None:
    names = ["clip/1.jpg", last, "clip/2.jpg"]
    with pytest.raises(AvisError, match="are not in the order of time"):
        read(put(tmp_path / "annotations.json", youtube_vis(names)))
    reading = read(
        put(tmp_path / "annotations.json", youtube_vis(["clip/1.jpg", "clip/2.jpg", "clip/10.jpg"]))
    )
    assert columns(reading) == [0, 1, 2]
    images = "".join(
        f'<image id="{k}" name="{name}" width="{WIDTH}" height="{HEIGHT}"/>' for k, name in enumerate(names)
    )
    task = "<id>1</id><name>clip</name><size>3</size>"
    (tmp_path / "annotations.json").unlink()
    (tmp_path / "cvat.xml").write_text(
        f"<annotations><version>1.1</version><meta><task>{task}</task></meta>{images}</annotations>"
    )
    with pytest.raises(AvisError, match="task's frames are not in the order of time"):
        read(tmp_path / "cvat.xml")


@pytest.mark.parametrize("last", ["1.jpg", "10.jpg"])
def test_numbers_of_frames_in_another_order_than_their_names_are_refused(tmp_path: Path, last: str) -> None:
    names = ["1.jpg", last, "2.jpg"]
    rows = coco([f"clip/{name}" for name in names])
    for number, image in enumerate(rows["images"]):
        image["frame_id"] = number
    items = [
        {"id": f"clip/{name[:-4]}", "attr": {"frame": k}, "annotations": [],
         "image": {"path": f"clip/{name}", "size": [HEIGHT, WIDTH]}}
        for k, name in enumerate(names)
    ]  # fmt: skip
    labels = {"label": {"labels": [{"name": "dog"}]}}
    tasks = [
        {"data": {"image": f"s3://bucket/clip/{name}", "video_id": "clip", "frame": k,
                  "width": WIDTH, "height": HEIGHT}, "annotations": [{"result": []}]}
        for k, name in enumerate(names)
    ]  # fmt: skip
    for document in (rows, {"items": items, "categories": labels}, tasks):
        path = put(tmp_path / "clip.json", document)
        with pytest.raises(AvisError, match=r"jpg' comes after.* are not in the order of time"):
            read(path)
    for image in rows["images"]:
        image["file_name"] = "clip1.mp4"
    assert columns(read(put(tmp_path / "clip.json", rows))) == [0, 1, 2]


def test_a_track_for_each_mask_is_said(tmp_path: Path) -> None:
    document = coco([f"clip/{k}.jpg" for k in range(4)])
    for row in document["annotations"]:
        row["track_id"] = row["id"]
    said = "each of its tracks has a mask in one frame alone: are they masks, and not objects?"
    path = put(tmp_path / "coco.json", document)
    assert read(path).changes.sentences() == [f"1 video guessed: {said} (clip)"]
    document["annotations"][3]["track_id"] = 0
    assert not read(put(path, document)).changes


def test_two_categories_of_one_name_are_refused(tmp_path: Path) -> None:
    document = youtube_vis(["clip/0.jpg"])
    document["categories"].append({"id": 2, "name": "dog"})
    with pytest.raises(AvisError, match="The category 'dog' stands twice"):
        read(put(tmp_path / "annotations.json", document))


def test_files_that_systems_put_beside_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "davis"
    for k, ending in enumerate(("png", "png", "PNG")):
        picture(folder / "clip" / f"{k:05d}.{ending}", numbered(1, k))
        (folder / "clip" / f"._{k:05d}.png").write_bytes(APPLE_DOUBLE)
    (folder / "clip" / "@eaDir").mkdir()
    (folder / "clip" / "@eaDir" / "00000.png").write_bytes(b"")
    assert columns(read(folder)) == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "davis.zip", "w") as archive:
        for file in sorted(folder.rglob("0*")):
            if "@eaDir" not in file.parts:
                archive.write(file, f"clip/{file.name}")
                archive.writestr(f"__MACOSX/clip/._{file.name}", APPLE_DOUBLE)
    assert columns(read(tmp_path / "davis.zip")) == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "coco.zip", "w") as archive:
        archive.writestr("coco.json", json.dumps(coco(["clip/0.jpg", "clip/1.jpg"])))
        archive.writestr("__MACOSX/._coco.json", APPLE_DOUBLE)
    assert columns(read(tmp_path / "coco.zip")) == [0, 1]


def test_gray_frames_beside_a_file_of_labels_are_no_labels(tmp_path: Path) -> None:
    gray = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    for k in range(2):
        picture(tmp_path / "images" / "clip" / f"{k}.png", gray, "L")
    with pytest.raises(AvisError, match="The picture has 240 gray levels from 0 to 239"):
        read(tmp_path, format_name="davis")
    put(tmp_path / "annotations" / "instances.json", coco(["clip/0.png", "clip/1.png"]))
    assert columns(read(tmp_path)) == [0, 1]


def test_masks_with_soft_edges_are_refused(tmp_path: Path) -> None:
    hard = Image.fromarray(numbered(255, 3))
    soft = np.asarray(hard.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BILINEAR))
    picture(tmp_path / "hard" / "clip" / "00000.png", numbered(255, 3), "L")
    picture(tmp_path / "soft" / "clip" / "00000.png", numbered(255, 3), "L")
    picture(tmp_path / "soft" / "clip" / "00001.png", soft[::2, ::2], "L")
    assert columns(read(tmp_path / "hard")) == [3]
    (tmp_path / "soft" / "clip" / "00000.png").unlink()
    with pytest.raises(AvisError, match="these are shades") as caught:
        read(tmp_path / "soft")
    assert "00001.png" in str(caught.value.where)


def test_videos_that_are_called_by_numbers_are_no_objects(tmp_path: Path) -> None:
    for name in ("0001", "0002"):
        for k in range(2):
            picture(tmp_path / "train" / name / f"{k:05d}.png", numbered(1, k))
    reading = read(tmp_path)
    assert [video.name for video in reading.annotations.videos] == ["0001", "0002"]
    picture(tmp_path / "sav" / "clip" / "000" / "00000.png", numbered(1, 5))
    picture(tmp_path / "sav" / "clip" / "001" / "00000.png", numbered(1, 7))
    objects = read(tmp_path / "sav").annotations
    assert [(video.name, len(objects.tracks)) for video in objects.videos] == [("clip", 2)]


def test_plain_numbers_in_16_bits_are_refused_with_the_cause(tmp_path: Path) -> None:
    picture(tmp_path / "clip" / "00000.png", numbered(2, 1).astype(np.uint16), "I")
    with pytest.raises(AvisError, match="A pixel of 16 bits is 2, and class") as caught:
        read(tmp_path)
    assert "8 bits" in str(caught.value.fix)


def test_the_masks_of_these_tests_have_pixels() -> None:
    assert area(encode(numbered(1, 0) > 0)) == area(polygon(0), HEIGHT, WIDTH) == 16


@pytest.mark.timeout(900)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for_and_a_device_not_read(tmp_path: Path) -> None:
    pipe, zeros = tmp_path / "pipe.txt", tmp_path / "zeros.json"
    os.mkfifo(pipe)
    zeros.symlink_to("/dev/zero")
    for path in (pipe, zeros):
        with pytest.raises(AvisError, match="neither a file nor a folder") as error:
            read_sources(path, "coco_video", setting="the path")
        assert str(path) in str(error.value)
        with pytest.raises(AvisError, match="neither a file nor a folder"):
            detect_format(path)
        with pytest.raises(AvisError, match="no sound labels"):
            read_sound_labels(path, Changes())
    (tmp_path / "v.txt").write_text("0.0\t1.0\tdog\n")
    assert list(read_sound_labels(tmp_path, Changes())) == ["v"]
