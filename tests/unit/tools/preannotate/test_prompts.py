from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.tools.preannotate.prompts import read_prompts

HEADER = "video_id,track,category,frame,left,top,right,bottom,x,y,inside\n"


def read(tmp_path: Path, rows: str, header: str = HEADER) -> object:
    (tmp_path / "prompts.csv").write_text(header + rows)
    return read_prompts(tmp_path / "prompts.csv")


def test_rows_of_one_object_belong_together(tmp_path: Path) -> None:
    rows = "a,1,dog,0,1,2,30,40,,,\na,1,dog,0,,,,,5,6,\na,1,dog,3,,,,,7.5,8,0\na,2,cat,0,,,,,1,1,1\n"
    found = read(tmp_path, rows)
    assert list(found) == ["a"] and list(found["a"]) == ["1", "2"]  # type: ignore
    first = found["a"]["1"]  # type: ignore
    assert first.category == "dog" and first.frames[0].box == (1, 2, 30, 40)
    assert first.frames[0].points == [(5, 6, True)] and first.frames[3].points == [(7.5, 8, False)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../a,1,dog,0,1,2,3,4,,,", r"video_id.*row 2"),
        ("a,,dog,0,1,2,3,4,,,", r"track is missing.*row 2"),
        ("a,1,dog,-1,1,2,3,4,,,", r"no frame number.*row 2"),
        ("a,1,dog,0,5,2,3,4,,,", r"no area.*row 2"),
        ("a,1,dog,0,1,2,3,,,,", r"either a whole box or a point"),
        ("a,1,dog,0,,,,,nan,1,", r"no number of pixels.*field x"),
        ("a,1,dog,0,,,,,1,1,yes", r"inside is 'yes'"),
        ("a,1,dog,0,1,2,3,4,,,\na,1,cat,0,,,,,1,1,", r"is a dog in an earlier row.*row 3"),
        ("a,1,dog,0,1,2,3,4,,,\na,1,dog,0,1,2,3,4,,,", r"two boxes.*row 3"),
        ("", "no prompts"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(AvisError, match=message):
        read(tmp_path, row + "\n")


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"column 'track' is missing"):
        read(tmp_path, "a,1\n", "video_id,frame\n")
    with pytest.raises(AvisError, match=r"column 'label' is unknown"):
        read(tmp_path, "a\n", "video_id,track,category,frame,label\n")


@pytest.mark.parametrize(
    "row", ["a,1,dog,0,1,2,3,4,5,6,", "a,1,dog,0,1,2,,,5,6,1", "a,1,dog," + "9" * 5000 + ",,,,,5,6,"]
)
def test_nothing_of_a_row_is_dropped_in_silence(tmp_path: Path, row: str) -> None:
    with pytest.raises(AvisError, match="row 2"):
        read(tmp_path, row + "\n")
