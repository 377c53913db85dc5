"""The index of raw videos: written, read, of another version, damaged."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from components.core.raw.index import (
    RawEntry,
    RawIndex,
    Status,
    raw_table,
    read_raw_index,
    read_raw_table,
    write_raw_index,
)
from components.core.run.errors import AvisError

OK = RawEntry("a", Status.OK, "", 2, "s", 1.5, None, "f", path="a.mp4", duration_s=2.5, site_license="CC BY")
GONE = RawEntry("b", Status.REMOVED, "it is gone", 1, "s", None, 3.0, "f", time="2026-11-25T00:00:00+00:00")


@pytest.mark.slow
def test_what_is_written_is_read_and_bytes_repeat(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    for rows in ([OK, GONE], [], [replace(OK, video_id=f"v{number}") for number in range(45_000)]):
        write_raw_index(path, rows)
        assert read_raw_index(path) == rows
        before = path.read_bytes()
        write_raw_index(path, [raw_table(rows[:20_000]), raw_table(rows[20_000:])] if len(rows) > 2 else rows)
        if len(rows) <= 2:
            assert path.read_bytes() == before
        assert read_raw_index(path) == rows


def test_numbers_of_an_index(tmp_path: Path) -> None:
    write_raw_index(tmp_path / "index.parquet", [OK, GONE, replace(GONE, video_id="c", message="other")])
    index = RawIndex(tmp_path / "index.parquet")
    assert (len(index), index.counts(), index.total_duration_s()) == (3, {"removed": 2, "ok": 1}, 2.5)
    assert index.first("removed") == ("b", "it is gone")
    assert [row.video_id for row in index] == ["a", "b", "c"]


def test_an_index_of_before_a_column_was_added_is_read(tmp_path: Path) -> None:
    """Else an upgrade would download everything again."""
    path = tmp_path / "index.parquet"
    old = raw_table([OK, GONE]).drop_columns(["site_license", "site_uploader", "time"])
    pyarrow.parquet.write_table(old.append_column("forgotten", pyarrow.array([1, 2])), path)
    assert read_raw_index(path) == [replace(OK, site_license=None), replace(GONE, time=None)]
    assert read_raw_table(path, ["time", "video_id"]).column("time").null_count == 2


@pytest.mark.parametrize("damage", ["column", "status", "bytes", "missing"])
def test_what_is_no_index_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index.parquet"
    table = raw_table([OK])
    if damage == "column":
        pyarrow.parquet.write_table(table.drop_columns(["fingerprint"]), path)
    elif damage == "status":
        position = table.schema.get_field_index("status")
        pyarrow.parquet.write_table(table.set_column(position, "status", pyarrow.array(["fine"])), path)
    elif damage == "bytes":
        path.write_bytes(b"PAR1 and more")
    said = "there is no index" if damage == "missing" else "cannot be read.*index.parquet"
    with pytest.raises(AvisError, match=said):
        read_raw_index(path)
