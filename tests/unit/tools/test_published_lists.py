"""Lists of clips as AudioSet, VGGSound, AVSpeech, Kinetics and ACAV publish them, and as Excel saves them."""

from pathlib import Path

import pytest

from components.core.raw.manifest import read_manifest
from components.core.run.errors import AvisError
from components.tools.manifests.from_ids import MadeOfList, read_list
from pipelines.commands.data.manifest import from_ids
from pipelines.commands.options import Split

AUDIOSET = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=2, num_segs=2, num_unique_labels=3, num_positive_labels=4
# YTID, start_seconds, end_seconds, positive_labels
--aAbBcCdD0, 30.000, 40.000, "/m/09x0r,/t/dd00088"
-0xXyYzZ-_1, 0.000, 10.000, "/m/04rlf"
"""
VGGSOUND = '---a-b_C2yQ,1,"people marching",test\n--0ABC4-hqg,30,"dog barking, howling",train\n'
KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
"playing guitar",aBcDeFgHiJk,15,25,validate,0
abseiling,aBcDeFgHiJk,30,40,train,0
"""
ID = "aBcDeFgHiJk"
STRONG = f"""segment_id\tstart_time_seconds\tend_time_seconds\tlabel\tpresent
{ID}_30000\t0.000\t10.000\t/m/03m9d0z\tPRESENT
{ID}_30000\t2.100\t2.500\t/m/09x0r\tPRESENT
--aAbBcCdD0_1500\t0.000\t1.000\t/m/09x0r\tNOT_PRESENT
"""


def read(text: str, name: str = "list.csv") -> MadeOfList:
    return read_list(text.splitlines(), name)


@pytest.mark.parametrize(
    ("text", "name", "clips"),
    [
        (AUDIOSET, "AudioSet", [(30, 40, None), (0, 10, None)]),
        (AUDIOSET.split("labels\n", 2)[-1], "AudioSet", [(30, 40, None), (0, 10, None)]),
        (VGGSOUND, "VGGSound", [(1, 11, "test"), (30, 40, "train")]),
        (f"{ID},15.000000,18.000000,0.531250,0.411111\n", "AVSpeech", [(15, 18, None)]),
        (KINETICS, "Kinetics", [(15, 25, "val"), (30, 40, "train")]),
        (KINETICS.split("\n", 1)[1], "Kinetics", [(15, 25, "val"), (30, 40, "train")]),
        (f'"{ID}","15","18"\n', "ids and addresses", [(15, 18, None)]),
        (
            f"\ufeff{ID};15;18\r\n-BcDeFgHiJk;1:05;1:10\r\n",
            "ids and addresses",
            [(15, 18, None), (65, 70, None)],
        ),
        (f"{ID}\t1:00:05\t1:00:10.5\n", "ids and addresses", [(3605, 3610.5, None)]),
        (
            f"Video ID;start_in_ms;end_in_ms\n{ID};1500;123456789\n",
            "a table with a header",
            [(1.5, 123456.789, None)],
        ),
        (
            f"YouTube ID;Start (s);End [s];Split\n{ID};12,5;40;Train\n",
            "a table with a header",
            [(12.5, 40, "train")],
        ),
        (f"youtube_id,start_s,duration\n{ID},12.5,10\n", "a table with a header", [(12.5, 22.5, None)]),
        (STRONG, "AudioSet-strong", [(30, 40, None), (1.5, 11.5, None)]),
        (STRONG.split("\n", 1)[1], "AudioSet-strong", [(30, 40, None), (1.5, 11.5, None)]),
        (f"sep=;\n{ID};1,5;1:05,25\n", "ids and addresses", [(1.5, 65.25, None)]),
        (f"{ID};1,5;dog;train\n", "VGGSound", [(1.5, 11.5, "train")]),
        (f"{ID};15,000000;18,500000;0,531250;0,411111\n", "AVSpeech", [(15, 18.5, None)]),
        (KINETICS.replace("validate", "holdout_test"), "Kinetics", [(15, 25, "test"), (30, 40, "train")]),
        (f"split,start_s,end_s,id\ntest,,,{ID}\ntrain,1,2,{ID}\n", "a table with a header", None),
        (f"youtube_id\n{ID}\n", "a table with a header", [(None, None, None)]),
    ],
)
def test_lists_are_recognised(
    text: str, name: str, clips: list[tuple[float | None, float | None, str | None]] | None
) -> None:
    made = read(text)
    assert made.name == name
    found = [(entry.start_s, entry.end_s, entry.split) for entry in made.entries]
    assert found == (clips or [(None, None, "test"), (1, 2, "train")])
    assert len({entry.video_id for entry in made.entries}) == len(found)


@pytest.mark.parametrize("text", [f"{ID},15\n", f"youtube_id,start\n{ID},15\n"])
def test_acav_is_known_by_the_name_of_its_file(text: str) -> None:
    made = read(text, "lists/ACAV10M.csv")
    assert (made.name, made.entries[0].start_s, made.entries[0].end_s) == ("ACAV", 15, 25)
    assert "1 clip filled: the list gives only its start, and a clip of ACAV lasts 10 s" in str(
        made.changes.sentences()
    )
    with pytest.raises(AvisError, match=r"start and .*end.*\(list.csv, line 1\)"):
        read(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"# mine\n{ID} 15\n", r"needs its start and its end \(list.csv, line 2\)"),
        (
            f"{ID},15,18,dog,loud\n",
            r"5 columns are not understood \(list.csv, line 1\).*Kinetics \(label, id",
        ),
        (f"{ID},dog\n", "needs its start and its end"),
        (f"{ID},30,dog\n", r"'dog' is no time \(list.csv, line 1\).*Understood are"),
        ("name,begin\n", r"neither a YouTube id.*line 1\).*Understood are"),
        (STRONG + f"{ID}\t0\t1\t/m/1\n", r"with 4 columns is no row of AudioSet-strong \(list.csv, line 5\)"),
        (STRONG + f"{ID}_3000\t0\n", "with 2 columns is no row of AudioSet-strong"),
        (f"{ID};15,000;18,000\n", r"'15,000' may mean 15\.000 or 15000 \(list.csv, line 1\)"),
        (f"{ID};15,5\n", "needs its start and its end"),
        ("#NAME?,30,40\n", r"a spreadsheet has put an error in place of a cell \(list.csv, line 1\)"),
        (AUDIOSET + "#NAME?, 1, 2, a\n", r"spreadsheet .*line 6"),
        (VGGSOUND + f"{ID},3\n", r"has 2 columns, the list began as VGGSound \(list.csv, line 3\)"),
        (VGGSOUND + f"{ID},3,dog,holdout\n", r"'holdout' is no split \(list.csv, line 3\)"),
        (AUDIOSET + f"{ID}, 3\n", r"needs its start and its end \(list.csv, line 6\)"),
        (AUDIOSET + f"{ID}, x, 4, a\n", r"'x' is no time \(list.csv, line 6\)"),
        (f"id,end\n{ID},3\n", "no column of the table is a start"),
        (
            f"video_id,url,start,end\na,{ID},3,4\n",
            r"2 columns .* tell the video: video_id, url \(list.csv, line 1\).*Keep the one with YouTube ids",
        ),
        (f"youtube_id\n{ID},3,5\n", "has 3 columns"),
        (f"youtube_id,start_frame,split\n{ID},300,train\n", "column 'start_frame' may tell a part"),
        (f"{ID},12500,40000\n", r"458 minutes, or milliseconds \(list.csv, line 1\).*start_ms"),
        (f"{ID},15000,18000\n", r"50 minutes, or milliseconds \(list.csv, line 1\).*start_ms"),
        (f"youtube_id,start,end\n{ID},15000,18000\n", r"50 minutes, or milliseconds \(list.csv, line 2\)"),
        (f'{ID},1,2\n"{ID},3,4\n', r"no CSV.*line 2"),
        (
            VGGSOUND + VGGSOUND.replace(",test", ",train"),
            r"stands twice, and differently: split test and train \(list.csv, lines 1 and 3\)",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(AvisError, match=said):
        read(text)


def test_the_command_says_what_it_recognised_and_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "vgg.csv", tmp_path / "m.csv"
    source.write_text(VGGSOUND)
    from_ids(source, out, split=None, add=False)
    assert [entry.split for entry in read_manifest(out)] == ["test", "train"]
    said = capsys.readouterr().out
    assert "read as VGGSound." in said and "2 clips filled" in said and "lasts 10 s" in said
    with pytest.raises(AvisError, match="strict reading was asked for: 2 clips filled"):
        from_ids(source, tmp_path / "n.csv", split=None, add=False, strict=True)
    from_ids(source, tmp_path / "n.csv", split=Split.val, add=False)
    assert {entry.split for entry in read_manifest(tmp_path / "n.csv")} == {"val"}


def test_what_is_read_otherwise_or_twice_is_said() -> None:
    said = " ".join(read(STRONG).changes.sentences())
    assert f"1 row merged: it is another event of the same clip ({ID}_30000)" in said
    assert "2 clips filled" in said and "a clip of AudioSet lasts 10 s" in said
    said = " ".join(read(f"{ID};1,5;3\n").changes.sentences())
    assert "1 time guessed: its comma is read as a decimal point (1,5 in list.csv, line 1)" in said
    twice = read(VGGSOUND + VGGSOUND)
    assert len(twice.entries) == 2
    said = " ".join(twice.changes.sentences())
    assert "2 rows merged: the same clip stands in another line (lines 1 and 3, lines 2 and 4)" in said
    two_classes = KINETICS.replace("30,40,train", "15,25,validate")
    assert len(read(two_classes).entries) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 and more", r"workbook of Excel \(.xlsx\).*Save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "workbook of an old Excel"),
        (b"PAR1 and more", "a Parquet file"),
        (b"\x1f\x8b\x08", "packed with gzip"),
        ("Bär".encode("cp1252"), "not UTF-8 text.*Save it as CSV UTF-8"),
    ],
)
def test_files_that_are_no_text_are_refused_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.xlsx").write_bytes(content)
    with pytest.raises(AvisError, match=said):
        from_ids(tmp_path / "list.xlsx", tmp_path / "m.csv", split=None, add=False)


def test_excels_unicode_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"youtube_id\tstart_s\tend_s\r\n{ID}\t1,5\t3\r\n", encoding="utf-16")
    from_ids(tmp_path / "list.txt", tmp_path / "m.csv", split=None, add=False)
    (entry,) = read_manifest(tmp_path / "m.csv")
    assert (entry.start_s, entry.end_s) == (1.5, 3)


@pytest.mark.parametrize(
    "address", ["https://youtu.be/aBcDeFgHiJk?t=30", "https://www.youtube.com/watch?v=aBcDeFgHiJk&t=1m5s"]
)
def test_a_time_in_an_address_is_said_where_no_part_is_told(address: str) -> None:
    made = read_list([address], "list.txt")
    assert [(entry.start_s, entry.end_s) for entry in made.entries] == [(None, None)]
    assert made.changes.sentences() == [
        "1 time dropped: the time in the address is no part's start and end: all of the video is taken "
        f"({address})"
    ]
    assert not read_list([f"{address} 30 40"], "list.txt").changes
