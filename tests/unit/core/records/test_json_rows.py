import json
from pathlib import Path

import pytest

from components.core.records import json_rows
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.json_rows import read_list, read_object
from components.core.run.errors import AvisError


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_rows_come_one_by_one_with_their_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", b'\xef\xbb\xbf {"x": [1, {"y": "\xc3\xa9"}], "z": {"w": 2}} ')
    document = read_object(path, "annotations")
    assert list(document.rows("x")) == [(f"{path}, x[0]", 1), (f"{path}, x[1]", {"y": "é"})]
    assert document.value("z") == {"w": 2} and document.value("q", 5) == 5 and document.keys == ("x", "z")
    assert [row for _, row in read_list(write(tmp_path / "b.json", b"[[], 3]"), "results")] == [[], 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"   ", "not valid JSON"),
        (b'{"x": [1, 2], "y"', "truncated.*a.json.*cut off"),
        (b'{"x": [{"a": [0, NaN]}]}', r"near .*\"a\": \[0, NaN.*NaN or Infinity is no number in JSON"),
        (b'{"x": [1, {"a": "\xff"}]}', r"utf-8.*a.json, x\[1\]"),
        (b'{"x": [1, {"a": ' + b"1" * 10_000 + b"}]}", r"out of range.*a.json, x\[1\]"),
        (b'{"x": ' + b"[" * 200_000, "recursion depth"),
        (b"[1]", "must be a JSON object"),
        (b"<x/>", "not valid JSON"),
        (b'{"x": {}}', "the list 'x' is missing"),
        (b'{"y": []}', "the list 'x' is missing"),
    ],
)
def test_a_bad_file_gets_one_message_that_names_the_row(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AvisError, match=message):
        list(read_object(write(tmp_path / "a.json", content), "annotations").rows("x"))


def test_a_missing_file_and_an_object_where_a_list_belongs(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match=r"there are no results .*none\.json"):
        list(read_list(tmp_path / "none.json", "results"))
    with pytest.raises(AvisError, match="must be a JSON list"):
        list(read_list(write(tmp_path / "a.json", b"{}"), "results"))


def test_run_lengths_as_lists_are_compressed_while_reading(tmp_path: Path) -> None:
    video = Video(1, "a", ["a/0.jpg", "a/1.jpg"], length=2, height=2, width=3)
    code = {"size": [2, 3], "counts": [1, 2, 3]}
    write_annotations(tmp_path / "a.json", AnnotationSet({1: "dog"}, [video], [Track(1, 1, 1, [code, None])]))
    assert json.loads((tmp_path / "a.json").read_text())["annotations"][0]["segmentations"][0] == code
    assert read_annotations(tmp_path / "a.json").tracks[0].segmentations == [
        {"size": [2, 3], "counts": "123"}, None,
    ]  # fmt: skip


def test_rows_are_found_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        1, "a,b", '"],[', "\\", '\\"', ["é", {"x": [[], {}], "y,": '}\\",'}], [], {}, None, -2.5, "\\\\",
        [[3, 4], "]"],
    ]  # fmt: skip
    for text in (
        json.dumps({"x": rows}, ensure_ascii=False),
        json.dumps({"x": rows}, indent=3) + "\n",
        '{"x": [ ]}',
    ):
        path = write(tmp_path / "a.json", text.encode())
        for size in range(1, 40):
            monkeypatch.setattr(json_rows, "_BLOCK_BYTES", size)
            found = list(read_object(path, "annotations").rows("x"))
            assert [row for _, row in found] == json.loads(text)["x"]
            assert [where for where, _ in found] == [f"{path}, x[{k}]" for k in range(len(found))]


@pytest.mark.parametrize(
    ("content", "twice"),
    [
        (b'{"a": [1], "b": 2, "a": []}', '"a"'),
        (b'{"b": "}", "a": {"a": 1}, "b": 2}', '"b"'),
        (b'{"a":1,"\\u0061":2}', '"a"'),
    ],
)
def test_a_field_that_stands_twice_is_refused(tmp_path: Path, content: bytes, twice: str) -> None:
    with pytest.raises(AvisError, match=f"the field {twice} stands twice"):
        read_object(write(tmp_path / "a.json", content), "rows")


def test_equal_names_in_different_objects_are_no_field_twice(tmp_path: Path) -> None:
    content = b' {"a" : {"a": "\\"a\\":", "b": 1}, "b" :\n[{"a": 1}, {"a": 2}], "c\\"": 3 } \n'
    assert read_object(write(tmp_path / "a.json", content), "rows").keys == ("a", "b", 'c"')
