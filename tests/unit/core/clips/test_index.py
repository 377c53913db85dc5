from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from components.core.clips.index import MediaEntry, read_media_index, write_media_index
from components.core.run.errors import AvisError


def test_an_index_reads_as_it_was_written(tmp_path: Path) -> None:
    entries = [
        MediaEntry(
            "a",
            "ok",
            "cut",
            3,
            6,
            4,
            48_000,
            2.0,
            "CC",
            "f",
            "g",
            1.5,
            "train",
            "p",
            "source",
            "h",
            "",
            29.97,
        ),
        MediaEntry("b", "corrupt"),
    ]
    write_media_index(tmp_path / "index.parquet", entries)
    assert list(read_media_index(tmp_path / "index.parquet").values()) == entries


def test_what_an_older_version_did_not_write_or_left_empty_is_as_in_a_new_entry(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    names = ("video_id", "status", "message", "frames", "width", "height", "audio_samples", "gone")
    row = dict.fromkeys(names, None) | {"video_id": "a", "status": "ok", "frames": 3}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    assert read_media_index(path) == {"a": MediaEntry("a", "ok", frames=3)}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"video_id": "a", "status": "ok"}]), path)
    with pytest.raises(AvisError, match="lacks the column 'message'"):
        read_media_index(path)
