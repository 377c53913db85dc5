"""The three published layouts, whole and damaged."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.tools.avsbench.layouts import Layout, check_files, find_videos
from tests.support.avs_folders import write_avss, write_ms3, write_s4, write_table


def test_s4(tmp_path: Path) -> None:
    write_s4(tmp_path)
    one, two = find_videos(tmp_path, "s4", "test")
    check_files([one, two], frames=True, sound=True)
    assert (one.name, one.group, two.name, two.group) == ("-aB3_x", "race_car", "second", "horse_clip-clop")
    data = tmp_path / "s4_data"
    assert one.frames[0] == data / "visual_frames/test/race_car/-aB3_x/-aB3_x_1.png"
    assert one.masks[4] == data / "gt_masks/test/race_car/-aB3_x/-aB3_x_5.png"
    assert one.sound == data / "audio_wav/test/race_car/-aB3_x.wav"
    (third,) = find_videos(tmp_path, "s4", "train")
    check_files([third], frames=True, sound=True)
    assert len(third.frames) == 5 and len(third.masks) == 1


def test_ms3(tmp_path: Path) -> None:
    write_ms3(tmp_path)
    videos = find_videos(tmp_path, "ms3", "test")
    check_files(videos, frames=True, sound=True)
    assert [(video.name, video.group) for video in videos] == [("first", ""), ("pause", ""), ("silent", "")]
    data = tmp_path / "ms3_data"
    assert videos[0].frames[4] == data / "visual_frames/first/first.mp4_5.png"
    assert videos[0].masks[0] == data / "gt_masks/test/first/first_1.png"
    assert videos[0].sound == data / "audio_wav/test/first.wav"


def test_avss(tmp_path: Path) -> None:
    write_avss(tmp_path)
    videos = find_videos(tmp_path, "avss", "test")
    check_files(videos, frames=True, sound=True)
    assert [(video.group, len(video.frames), len(video.masks)) for video in videos] == [
        ("v1s", 5, 5),
        ("v1m", 5, 5),
        ("v2", 10, 10),
    ]
    home = tmp_path / "v2" / "new_0_10000"
    assert videos[2].frames[0] == home / "frames/0.jpg"
    assert videos[2].masks[9] == home / "labels_rgb/9.png"
    assert videos[2].sound == home / "audio.wav"
    table = tmp_path / "metadata.csv"
    table.write_text(table.read_text().replace("test", "train"))
    assert [len(video.masks) for video in find_videos(tmp_path, "avss", "train")] == [1, 5, 10]


@pytest.mark.parametrize("kind", ["masks", "frames", "sound"])
def test_missing_files_are_counted_and_the_first_is_named(tmp_path: Path, kind: str) -> None:
    videos = find_videos(write_ms3(tmp_path), "ms3", "test")
    paths = {"masks": videos[1].masks[1:3], "frames": videos[1].frames[1:3], "sound": [videos[1].sound]}[kind]
    for path in paths:
        path.unlink()
    message = rf"^{len(paths)} of the \d+ files of these videos are missing, the first \({paths[0]}\)"
    with pytest.raises(AvisError, match=message):
        check_files(videos, frames=True, sound=True)
    if kind == "masks":
        with pytest.raises(AvisError, match=message):
            check_files(videos, frames=False, sound=False)
    else:
        check_files(videos, frames=False, sound=False)


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", ".hidden", "a/b", "a b", "", "x" * 200])
@pytest.mark.parametrize("layout", ["s4", "ms3", "avss"])
def test_names_that_would_leave_the_folder(tmp_path: Path, layout: Layout, name: str) -> None:
    tables = {
        "s4": ("s4_meta_data.csv", ["name", "start", "category", "split"], [name, "0", "dog", "test"]),
        "ms3": ("ms3_meta_data.csv", ["name", "split"], [name, "test"]),
        "avss": ("metadata.csv", ["uid", "label", "split"], [name, "v2", "test"]),
    }
    file, header, row = tables[layout]
    write_table(tmp_path / file, [header, row])
    with pytest.raises(AvisError, match=rf"cannot be a file name \({tmp_path / file}, line 2\)"):
        find_videos(tmp_path, layout, "test")


def test_a_category_that_would_leave_the_folder(tmp_path: Path) -> None:
    table = [["name", "start", "category", "split"], ["a", "0", "../../x", "test"]]
    write_table(tmp_path / "s4_meta_data.csv", table)
    with pytest.raises(AvisError, match=r"'\.\./\.\./x' cannot be a file name"):
        find_videos(tmp_path, "s4", "test")


S4_HEADER = "name,start,category,split\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no s4_meta_data.csv .* Name the folder of the layout s4"),
        (b"", "no column 'category' .* It has: none"),
        (b"name,split\na,test\n", "no column 'category' .* It has: name, split. Is --layout what"),
        (b",".join([b"x" * 99] * 5000) + b"\n", "It has: (x{40}, ){9}x{40} and 4990 more"),
        (S4_HEADER.encode() + b"a,0,dog\n", "the row has 3 cells, the table 4 columns .*line 2"),
        (S4_HEADER.encode() + b"a,0,dog,test\na,1,dog,test\n", "a stands twice in the split test .*line 3"),
        (S4_HEADER.encode() + b"a,0,dog,train\n", r"no video of the split 'test' .* train \(1 videos\)"),
        (S4_HEADER.encode() + b"".join(b"a,0,dog,s%d\n" % k for k in range(99)), r"\(1 videos\) and 89 more"),
        (b"\xff\xfe\x00", "the table cannot be read"),
        (S4_HEADER.encode() + b'a,0,"dog"x,test\n', "the table cannot be read"),
    ],
)
def test_damaged_tables(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "s4_meta_data.csv").write_bytes(content)
    with pytest.raises(AvisError, match=message) as caught:
        find_videos(tmp_path, "s4", "test")
    assert re.search(re.escape(str(tmp_path)), str(caught.value))


def test_one_name_in_two_categories_is_two_videos(tmp_path: Path) -> None:
    (tmp_path / "s4_meta_data.csv").write_text(S4_HEADER + "a,0,dog,test\n\na,0,cat,test\n")
    assert [video.group for video in find_videos(tmp_path, "s4", "test")] == ["dog", "cat"]


def test_an_unknown_subset(tmp_path: Path) -> None:
    write_table(tmp_path / "metadata.csv", [["uid", "label", "split"], ["a", "../v2", "test"]])
    with pytest.raises(AvisError, match=r"of the subset '\.\./v2' .* There are: v1s, v1m, v2"):
        find_videos(tmp_path, "avss", "test")


@pytest.mark.parametrize(("layout", "write"), [("s4", write_s4), ("ms3", write_ms3), ("avss", write_avss)])
def test_another_layouts_folder(tmp_path: Path, layout: Layout, write: Callable[[Path], Path]) -> None:
    write(tmp_path)
    for other in ("s4", "ms3", "avss"):
        if other != layout:
            with pytest.raises(AvisError, match=f"Name the folder of the layout {other}"):
                find_videos(tmp_path, other, "test")  # type: ignore[arg-type]
