"""Where MOTS20, KITTI, TrackEval, DAVIS 2016, SAM 2 and Pascal VOC put their files, and how they count."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.annotate.exports import read_sources
from components.annotate.formats import Reading, find_format
from components.core.records.annotations import AnnotationSet, Track, Video
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.tools.convert import write_target

HEIGHT, WIDTH = 6, 8
SQUARE = np.zeros((HEIGHT, WIDTH), bool)
SQUARE[1:4, 2:4] = True
INFO = """[Sequence]
name=MOTS20-02
imDir=img1
frameRate=30
seqLength=4
imWidth=8
imHeight=6
imExt=.jpg
"""
BOXES = "1,1,10.0,20.0,30.0,40.0,1,1,0.86\n"
KITTI_BOXES = "0 -1 DontCare -1 -1 -10.000000 219.31 188.49 245.50 218.56 -1000 -1000 -1000 -10 -1 -1 -1\n"


def line(frame: int, number: int = 2001, kind: int = 2) -> str:
    return f"{frame} {number} {kind} {HEIGHT} {WIDTH} {encode(SQUARE)['counts']}\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def picture(path: Path, *numbers: tuple[int, int], kind: type = np.uint8, mode: str = "P") -> None:
    """A PNG with (number, column) painted from top to bottom."""
    canvas = np.zeros((HEIGHT, WIDTH), kind)
    for number, column in numbers:
        canvas[1:4, column : column + 2] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(canvas)
    if kind is np.uint8 and mode != "L":
        image = image.convert(mode)
    image.save(path)


def read(path: Path, format_name: str = "auto") -> Reading:
    (source,) = read_sources(path, format_name)
    return source.reading


def tracks(reading: Reading) -> dict[str, list[tuple[str, list[int]]]]:
    """(category, pixels per frame) of each track, by video."""
    annotations = reading.annotations
    return {
        video.name: [
            (
                annotations.categories[track.category_id],
                [int(decode(mask, video.height, video.width).sum()) for mask in track.segmentations],
            )
            for track in annotations.tracks
            if track.video_id == video.id
        ]
        for video in annotations.videos
    }


def test_mots20_counts_from_1_and_tells_the_length_beside(tmp_path: Path) -> None:
    for name in ("MOTS20-02", "MOTS20-05"):
        put(tmp_path / "train" / name / "gt" / "gt.txt", line(1) + line(3) + line(2, 10000, 10))
        put(tmp_path / "train" / name / "det" / "det.txt", BOXES)
        put(tmp_path / "train" / name / "img1" / "000001.jpg", "")
        put(tmp_path / "train" / name / "seqinfo.ini", INFO.replace("02", name[-2:]))
    reading = read(tmp_path)
    seen = [("pedestrian", [6, 0, 6, 0])]
    assert tracks(reading) == {"MOTS20-02": seen, "MOTS20-05": seen}
    assert reading.changes.line() == "2 categories guessed, 2 regions dropped"
    (tmp_path / "train" / "MOTS20-02" / "seqinfo.ini").unlink()
    reading = read(tmp_path / "train" / "MOTS20-02")
    assert tracks(reading) == {"MOTS20-02": [("pedestrian", [6, 0, 6])]}
    assert "1 video guessed" in reading.changes.line()
    put(tmp_path / "train" / "MOTS20-02" / "seqinfo.ini", "[Sequence]\nseqLength=x\n")
    with pytest.raises(AvisError, match=r"does not tell seqLength.*seqinfo\.ini"):
        read(tmp_path)


def test_lines_of_kitti_count_from_0_and_results_for_mots20_from_1(tmp_path: Path) -> None:
    put(tmp_path / "instances_txt" / "0000.txt", line(1))
    put(tmp_path / "evaluate_mots.seqmap", "0000 empty 000000 000002\n")
    assert tracks(read(tmp_path)) == {"0000": [("pedestrian", [0, 6])]}
    put(tmp_path / "data" / "MOTS20-11.txt", line(1))
    reading = read(tmp_path / "data")
    assert tracks(reading) == {"MOTS20-11": [("pedestrian", [6])]}
    assert "1 video guessed" in reading.changes.line()


@pytest.mark.parametrize("boxes", [BOXES, KITTI_BOXES, "1,1,10,20,30,40,-1,-1,-1,-1\n"])
def test_boxes_are_refused_by_name(tmp_path: Path, boxes: str) -> None:
    put(tmp_path / "gt" / "gt.txt", boxes)
    put(tmp_path / "gt" / "labels.txt", "person\n")
    for path in (tmp_path, tmp_path / "gt" / "gt.txt"):
        with pytest.raises(AvisError, match=r"These are boxes, as MOTChallenge and KITTI.*gt\.txt, line 1"):
            read(path)


@pytest.mark.parametrize("between", ["\t", "  "])
def test_lines_may_have_other_spaces(tmp_path: Path, between: str) -> None:
    put(tmp_path / "0000.txt", line(1).replace(" ", between))
    for path in (tmp_path, tmp_path / "0000.txt"):
        assert tracks(read(path)) == {"0000": [("pedestrian", [0, 6])]}


def test_lines_of_robmots_are_refused_with_the_way_to_read_them(tmp_path: Path) -> None:
    mots = line(0)
    size = f" {HEIGHT} {WIDTH} "
    put(tmp_path / "data" / "0000.txt", mots.replace(size, f" 0.99{size}"))
    for path in (tmp_path / "data", tmp_path / "data" / "0000.txt"):
        with pytest.raises(AvisError, match=r"a line of RobMOTS.*0000\.txt, line 1") as caught:
            read(path)
        assert "labels.txt" in str(caught.value.fix)
    fields = (tmp_path / "data" / "0000.txt").read_text().split()
    put(tmp_path / "data" / "0000.txt", " ".join(fields[:3] + fields[4:]))  # as awk does it
    assert tracks(read(tmp_path / "data")) == {"0000": [("pedestrian", [6])]}


def test_pictures_of_mots20_count_from_1_and_those_of_cvat_from_0(tmp_path: Path) -> None:
    for number in (1, 2):
        picture(tmp_path / "mots" / "0002" / f"{number:06d}.png", (2001, 0), kind=np.uint16)
        picture(tmp_path / "cvat" / "instances" / f"frame_{number:06d}.png", (1001, 0), kind=np.uint16)
    reading = read(tmp_path / "mots")
    assert tracks(reading) == {"0002": [("pedestrian", [6, 6])]}
    assert "1 video guessed" in reading.changes.line()
    assert tracks(read(tmp_path / "cvat")) == {"cvat": [("car", [0, 6, 6])]}


def test_classes_of_two_label_files_stay_apart(tmp_path: Path) -> None:
    for name, labels in (("a", "dog\ncello\n"), ("b", "cow\n")):
        put(tmp_path / name / "instances" / "labels.txt", labels)
        picture(tmp_path / name / "instances" / "000000.png", (1001, 0), kind=np.uint16)
    assert tracks(read(tmp_path)) == {"a": [("dog", [6])], "b": [("cow", [6])]}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("dog\ncello", ["dog", "cello"]),
        ("1 dog\n2 cello", ["dog", "cello"]),
        ("2: dog\n1: cow", ["cow", "dog"]),
    ],
)
def test_label_files_of_other_tools(tmp_path: Path, labels: str, names: list[str]) -> None:
    put(tmp_path / "labels.txt", labels)
    picture(tmp_path / "v" / "000000.png", (1001, 0), (2001, 4), kind=np.uint16)
    assert [name for name, _ in tracks(read(tmp_path))["v"]] == names


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("background\ndog\n", "begin with background: is it class 0 or class 1.*labels.txt"),
        ("# label:color_rgb:parts:actions\ndog:128,0,0::\n", "label map of Pascal VOC.*labels.txt"),
        ("1 dog\n1 cow\n", "name or number stands twice"),
    ],
)
def test_label_files_that_can_be_read_in_two_ways_are_refused(
    tmp_path: Path, labels: str, message: str
) -> None:
    put(tmp_path / "labels.txt", labels)
    put(tmp_path / "v.txt", line(0, 1001, 1))
    with pytest.raises(AvisError, match=message):
        read(tmp_path)


def test_a_class_called_ignored_is_one_and_the_tenth_of_ten_is_none(tmp_path: Path) -> None:
    put(tmp_path / "labels.txt", "dog\nignored\n")
    put(tmp_path / "v.txt", line(0, 1001, 1) + line(1, 2001, 2))
    reading = read(tmp_path)
    assert tracks(reading) == {"v": [("dog", [6, 0])]} and reading.changes.line() == "1 region dropped"
    names = {k: f"c{k}" for k in range(1, 12)}
    video = Video(1, "v", ["v/00000.jpg"], 1, HEIGHT, WIDTH)
    annotations = AnnotationSet(names, [video], [Track(1, 1, 10, [encode(SQUARE)])])
    for name in ("mots_txt", "mots_png"):
        write_target(tmp_path / name, annotations, find_format(name))
        reading = read(tmp_path / name)
        assert tracks(reading) == {"v": [("c10", [6])]} and not reading.changes


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_video_of_0_and_255_has_one_object(tmp_path: Path, mode: str) -> None:
    picture(tmp_path / "bear" / "00000.png", (255, 0), mode=mode)
    picture(tmp_path / "bear" / "00001.png", mode=mode)
    picture(tmp_path / "boat" / "00000.png", (255, 0), (1, 4), mode=mode)
    reading = read(tmp_path)
    assert tracks(reading) == {"bear": [("object", [6, 0])], "boat": [("object", [6])]}
    assert reading.changes.line() == "1 mask guessed, 1 region dropped"


def test_names_of_classes_beside_pictures_of_8_bits_are_said(tmp_path: Path) -> None:
    """As where a tool saved MOTS's 16 bits as 8: 1001 is 233 then, and so is 2025."""
    picture(tmp_path / "a" / "000000.png", (1001 % 256, 0), (2025 % 256, 4), mode="L")
    picture(tmp_path / "b" / "000000.png", (1001 % 256, 0), mode="L")
    assert not read(tmp_path).changes
    put(tmp_path / "labels.txt", "car\ncello\n")
    reading = read(tmp_path)
    assert tracks(reading) == {"a": [("object", [12])], "b": [("object", [6])]}
    (said,) = reading.changes.sentences()
    assert said.startswith("1 file of classes dropped: pictures of 8 bits") and "labels.txt" in said


def test_sam_2_writes_a_picture_per_object_or_one_for_all(tmp_path: Path) -> None:
    for frame in range(3):
        picture(tmp_path / "each" / "clip_a" / "001" / f"{frame:05d}.png", *[(1, 0)][:frame])
        picture(tmp_path / "each" / "clip_a" / "002" / f"{frame:05d}.png", (1, 4))
        picture(tmp_path / "all" / "clip_a" / f"{frame:05d}.png", *[(1, 0)][:frame], (2, 4))
    seen = [("object", [0, 6, 6]), ("object", [6, 6, 6])]
    for folder in ("each", "all"):
        reading = read(tmp_path / folder)
        assert sorted(tracks(reading)["clip_a"]) == seen and not reading.changes
    reading = read(tmp_path / "each" / "clip_a")
    assert tracks(reading) == {"clip_a": seen} and reading.changes.line() == "1 video guessed"
    picture(tmp_path / "each" / "clip_a" / "002" / "00000.png", (1, 0), (2, 4))
    with pytest.raises(AvisError, match=r"several objects.*002/00000\.png.*davis"):
        read(tmp_path / "each")


@pytest.mark.parametrize(
    ("numbers", "pixels", "said"),
    [
        ((0, 4, 16), [6, 6, 0, 0, 6], "3 frames renamed, 2 frames filled"),
        ((30, 60), [0, 6, 6], "2 frames renamed, 1 frame filled"),
        ((1, 2, 4), [6, 6, 0, 6], "1 video guessed, 1 frame filled"),
        ((2, 3), [0, 0, 6, 6], "2 frames filled"),
    ],
)
def test_frames_of_masklets_keep_their_time(
    tmp_path: Path, numbers: tuple[int, ...], pixels: list[int], said: str
) -> None:
    for number in numbers:
        picture(tmp_path / "sav_1" / "000" / f"{number:05d}.png", (1, 0))
    reading = read(tmp_path)
    assert tracks(reading) == {"sav_1": [("object", pixels)]} and reading.changes.line() == said


@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_pictures_of_pascal_voc_tell_no_objects_over_time(tmp_path: Path, mode: str) -> None:
    put(tmp_path / "labelmap.txt", "# label:color_rgb:parts:actions\ndog:128,0,0::\n")
    for folder in ("SegmentationClass", "SegmentationObject"):
        picture(tmp_path / folder / "frame_000000.png", (1, 0), mode=mode)
    with pytest.raises(AvisError, match=r"Pascal VOC.*one object over time.*Class/frame.*MOTS PNG"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("kind", "number", "place"),
    [(np.uint16, 2001, "default/instances"), (np.uint8, 1, "train"), (np.uint8, 1, "default")],
)
def test_a_folder_that_is_called_as_a_part_of_a_set_is_no_video(
    kind: type, number: int, place: str, tmp_path: Path
) -> None:
    """Datumaro's and CVAT's MOTS PNG: the archive, or the folder, is called as the video is."""
    folder = tmp_path / "clip_a"
    picture(folder / place / "00000.png", (number, 2), kind=kind)
    (folder / "labels.txt").write_text("car\npedestrian\n")
    archive = shutil.make_archive(str(tmp_path / "clip_b"), "zip", folder)
    assert [list(tracks(read(path))) for path in (folder, Path(archive))] == [["clip_a"], ["clip_b"]]
    picture(
        folder / place.replace("default", "val").replace("train", "val") / "00000.png", (number, 2), kind=kind
    )
    with pytest.raises(
        AvisError, match=rf"'{place}' and 'val.*nothing tells their videos.*clip_a.*of each video"
    ):
        read(folder)


def test_folders_called_001_are_videos_where_the_media_say_so(tmp_path: Path) -> None:
    for name in ("001", "002"):
        picture(tmp_path / "a" / name / "00000.png", (1, 2))
    with pytest.raises(
        AvisError, match=r"'001' is called as a video with media.*a/001.*name the format: davis"
    ):
        read_sources(tmp_path / "a", sizes={"001": (HEIGHT, WIDTH), "002": (HEIGHT, WIDTH)})
    assert list(tracks(read(tmp_path / "a", "davis"))) == ["001", "002"]
    (source,) = read_sources(tmp_path / "a", sizes={"a": (HEIGHT, WIDTH), "001": (HEIGHT, WIDTH)})
    assert list(tracks(source.reading)) == ["a"]


def test_masks_in_colours_are_refused_with_the_cause(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "v" / "00000.png")
    with pytest.raises(AvisError, match=r"in colours, first v/00000.png: .*one number a pixel"):
        read_sources(tmp_path)
