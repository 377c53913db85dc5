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
        (f"segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n{ID}_30000\t0\t1\t/m/1\n", "neither"),
        (VGGSOUND + f"{ID},3\n", r"has 2 columns, the list began as VGGSound \(list.csv, line 3\)"),
        (VGGSOUND + f"{ID},3,dog,holdout\n", r"'holdout' is no split \(list.csv, line 3\)"),
        (AUDIOSET + f"{ID}, 3\n", r"needs its start and its end \(list.csv, line 6\)"),
        (AUDIOSET + f"{ID}, x, 4, a\n", r"'x' is no time \(list.csv, line 6\)"),
        (f"id,end\n{ID},3\n", "no column of the table is a start"),
        (f"youtube_id\n{ID},3,5\n", "has 3 columns"),
        (f'{ID},1,2\n"{ID},3,4\n', r"no CSV.*line 2"),
        (VGGSOUND + VGGSOUND, r"stands twice \(list.csv, lines 1 and 3\)"),
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
    from_ids(source, tmp_path / "n.csv", split=Split.val, add=False)
    assert {entry.split for entry in read_manifest(tmp_path / "n.csv")} == {"val"}
