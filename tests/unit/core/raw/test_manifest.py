from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.run.errors import AvisError

IDS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_-]{0,20}", fullmatch=True)
CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
ENTRIES = st.lists(
    st.builds(
        ManifestEntry,
        video_id=IDS,
        source=CELLS,
        start_s=st.none() | st.floats(0, 1000),
        end_s=st.none() | st.floats(1001, 2000),
        split=st.sampled_from([None, "train", "val", "test"]),
        license=st.none() | CELLS,
        sha256=st.none() | st.just("0a" * 32),
        uploader=st.none() | CELLS,
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda entry: entry.video_id,
)


@given(ENTRIES, st.sampled_from(["csv", "parquet"]))
def test_a_manifest_reads_as_it_was_written(tmp_path: Path, entries: list[ManifestEntry], form: str) -> None:
    path = tmp_path / f"manifest.{form}"
    write_manifest(path, entries)
    assert read_manifest(path) == entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "manifest is empty"),
        ("video_id,source\n", "manifest is empty"),
        ("video_id\na\n", "'source' is missing.*row 1"),
        ("video_id,source,start\na,b,1\n", "'start' is unknown.*row 1.*Allowed:.*start_s"),
        ("video_id,source\na,x\n\na,y\n", "'a' stands twice.*rows 2 and 4, field video_id"),
        ("video_id,source\na\n", "1 cells, the header has 2.*row 2"),
        ("video_id,source\n,x\n", "row 2, field video_id"),
        ("video_id,source\na,\n", "row 2, field source"),
        ("video_id,source\n../etc,x\n", "cannot be a file name.*row 2, field video_id"),
        ("video_id,source,start_s,end_s\na,x,3,2\n", "not after the start.*row 2, field end_s"),
        ("video_id,source,start_s\na,x,-1\n", "not a time.*row 2, field start_s"),
        ("video_id,source,start_s\na,x,nan\n", "not a time.*row 2, field start_s"),
        ("video_id,source,start_s\na,x,soon\n", "not a number.*row 2, field start_s"),
        ("video_id,source,split\na,x,validation\n", "no split.*row 2, field split.*train, val, test"),
        ("video_id,source,sha256\na,x,abc\n", "no SHA-256.*row 2, field sha256"),
        ('video_id,source\n"a,x\n', "not valid CSV"),
    ],
)
def test_a_bad_manifest_names_row_and_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(text)
    with pytest.raises(AvisError, match=f"(?s){message}") as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_a_manifest_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match="does not exist"):
        read_manifest(tmp_path / "none.csv")
    for name in ("binary.csv", "binary.parquet"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00garbage")
        with pytest.raises(AvisError, match=name):
            read_manifest(tmp_path / name)
