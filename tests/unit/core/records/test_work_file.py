import pickle
from pathlib import Path

import pytest

from components.core.records import work_file
from components.core.records.work_file import Frames, Numbered, WorkFile, on_disk, taken
from components.core.run.errors import AvisError

VALUES = [None, [], [[0.1, 1, 2.5, 3, 4, 5]], {"size": [6, 8], "counts": "é" * 5000}, "x", [1, [2.0, None]]]


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 22])
def test_values_come_back_as_they_were(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_file, "_BLOCK_BYTES", block_bytes)
    file = WorkFile(tmp_path / "new")
    places = [file.add(value) for value in VALUES * 3]
    assert [file.get(place) for place in reversed(places)] == [*reversed(VALUES * 3)]
    assert repr(file.get(places[2])) == repr(VALUES[2])  # 1 stays whole, 2.5 a fraction
    assert not list(tmp_path.rglob("new/*"))  # it has no name


def test_a_full_disk_and_a_number_that_is_too_large_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AvisError, match="more than 64 bits"):
        WorkFile().add(10**30)
    full = Path("/dev/full")
    monkeypatch.setattr(work_file, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(work_file.tempfile, "TemporaryFile", lambda dir: full.open("wb"))
    with pytest.raises(AvisError, match="the disk is full"):
        WorkFile().add("x")


@pytest.mark.parametrize("least_merged", [1, 1000])
def test_numbers_in_any_order_stand_in_theirs(least_merged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_file, "_LEAST_MERGED", least_merged)
    numbered, plain = Numbered(WorkFile()), dict[int, str]()
    for number in (5, 9, 2, 7, 2, 9, 1, 30, 8, 0, 4, 3):
        numbered[number] = plain[number] = f"{number} {len(plain)}"
        assert number in numbered and numbered[number] == plain[number] and 6 not in numbered
    del numbered[7], plain[7]
    assert dict(numbered) == plain and list(numbered) == sorted(plain) and len(numbered) == len(plain)
    with pytest.raises(KeyError):
        numbered[7]
    with pytest.raises(KeyError):
        del numbered[7]


def test_numbers_without_a_gap_may_get_one() -> None:
    numbered, plain = Numbered(WorkFile()), dict[int, str]()
    for number in (0, 1, 2, 3, 1):
        numbered[number] = plain[number] = f"{number} {len(plain)}"
    assert dict(numbered) == plain and 4 not in numbered
    del numbered[2], plain[2]
    assert dict(numbered) == plain and 2 not in numbered
    for number in (6, 2, 4):
        numbered[number] = plain[number] = str(number)
    assert dict(numbered) == plain and list(numbered) == [0, 1, 2, 3, 4, 6]


def test_frames_are_as_good_as_a_list() -> None:
    listed = [None, "a", [], "b", None]
    frames = on_disk(listed, WorkFile())
    assert (
        frames == listed and listed == frames and frames != [*listed, None] and repr(frames) == repr(listed)
    )
    assert frames[-2] == "b" and frames[1:4] == ["a", [], "b"] and list(frames.numbers) == [1, 2, 3]
    with pytest.raises(IndexError):
        frames[5]
    for chosen in ([3, 3, None, 0, 2], []):
        assert taken(frames, chosen) == taken(listed, chosen)
    assert taken(frames, [3, None, 1]) == ["b", None, "a"]
    assert Frames(Numbered(WorkFile()), 2, missing="") == ["", ""]


def test_frames_travel_to_another_process_as_a_list() -> None:
    frames = on_disk([None, [[0.0, 0, 4, 0, 4, 4]], {"size": [6, 8], "counts": b"0"}], WorkFile())
    there = pickle.loads(pickle.dumps(frames))
    assert type(there) is list and there == list(frames)
