"""Numbers of journals and indexes that no file of a stage has: the row is made anew, or one message."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from components.core.clips.index import MediaEntry, read_media_index, write_media_index
from components.core.raw.index import RawEntry, Status, read_raw_index, write_raw_index
from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.raw.manifest_table import read_manifest_table
from components.core.run.errors import AvisError
from components.ingest.folder import journaled_rows

RAW = RawEntry("a", Status.OK, "", 1, "a.mp4", 0.0, None, "f", "a.mp4", 3.0, 64, 48, 25.0, size_bytes=9)
LIES: list[dict[str, Any]] = [
    {"attempts": -1},
    {"duration_s": math.nan},
    {"duration_s": math.inf},
    {"width": 10**30},
    {"height": "many"},
    {"fps": 1e300},
    {"size_bytes": -5},
    {"start_s": True},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_line_of_ingests_journal_costs_its_entry_only(tmp_path: Path, lie: dict[str, Any]) -> None:
    rows = [["a", asdict(RAW) | lie], ["b", asdict(replace(RAW, video_id="b"))]]
    (tmp_path / "j").write_text("".join(json.dumps(row) + "\n" for row in ["first", *rows]))
    assert [row.video_id for row in journaled_rows(tmp_path / "j")] == ["b"]


@pytest.mark.parametrize("lie", [{"duration_s": math.nan}, {"width": -1}, {"fps": 1e300}], ids=str)
def test_an_index_with_such_a_number_is_named(tmp_path: Path, lie: dict[str, Any]) -> None:
    write_raw_index(tmp_path / "i", [RAW, replace(RAW, video_id="b", **lie)])
    with pytest.raises(AvisError, match=rf"{next(iter(lie))} is outside of"):
        read_raw_index(tmp_path / "i")


@pytest.mark.parametrize("lie", [{"frames": -1}, {"frame_rate_hz": math.inf}, {"width": 10**9}], ids=str)
def test_so_is_an_index_of_media(tmp_path: Path, lie: dict[str, Any]) -> None:
    entry = MediaEntry("a", "ok", frames=3, width=64, height=48, audio_samples=9)
    write_media_index(tmp_path / "i", [replace(entry, **lie)])
    with pytest.raises(AvisError, match=rf"damaged: .*{next(iter(lie))}.* \(.*row 1\)"):
        read_media_index(tmp_path / "i")


def test_a_part_of_a_video_lies_in_one(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", [ManifestEntry("a", "a.mp4", 1e300, None)])
    for read in (read_manifest, read_manifest_table):
        with pytest.raises(AvisError, match=r"1e\+300 is not a time in a video .*row 2, field start_s"):
            read(tmp_path / "m.csv")
