"""The quick reader of manifests says what the careful one says."""

import csv
import io
import string
from pathlib import Path

import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.core.raw import manifest_table
from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.raw.manifest_table import MANIFEST_SCHEMA, entries_of, read_manifest_table, sources_kept
from components.core.run.errors import AvisError
from components.core.text.redaction import redacted_address

ENTRIES = [
    ManifestEntry("a", "https://example.org/a.mp4", 0.0, 10.0, "train", "CC-BY-4.0", "f" * 64, "Ümit"),
    ManifestEntry("-b.c_d", "dQw4w9WgXcQ", None, 2.5),
    ManifestEntry("c", 'with "quotes", and\na line', 3.0, None, "val"),
]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_good_manifest_goes_the_quick_way(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"manifest.{ending}"
    entries = [ENTRIES[0], ENTRIES[1]]  # a line break inside a cell goes the careful way
    write_manifest(path, entries)
    monkeypatch.setattr(manifest_table, "read_manifest", lambda path: pytest.fail("the careful way"))
    table = read_manifest_table(path)
    assert table.schema == MANIFEST_SCHEMA
    assert list(entries_of(table)) == entries


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_unusual_one_goes_the_careful_way(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"manifest.{ending}"
    write_manifest(path, ENTRIES)
    assert list(entries_of(read_manifest_table(path))) == ENTRIES


def said(path: Path, quick: bool) -> "list[ManifestEntry] | str":
    try:
        return list(entries_of(read_manifest_table(path))) if quick else read_manifest(path)
    except AvisError as error:
        return str(error)


WORDS = (
    "a b c ../x a..b .a -dash_-Id01 ä train test tset 0 1 2.5 -1 nan inf 1e3 1_0 0x1 1,5 5. NULL null #N/A"
)
ODD = [
    "",
    " ",
    " 3 ",
    "f" * 64,
    "F" * 64,
    "g" * 64,
    'quo"te',
    '"',
    "line\nbreak",
    "\ufeff",
    "\u00a0",
    "\x85",
    "\x0c7",
]
cells = st.one_of(st.sampled_from([*WORDS.split(" "), *ODD, "x\x00"]), st.text(string.printable, max_size=4))


@given(
    header=st.permutations(["video_id", "source", "start_s", "end_s", "split", "sha256"]),
    rows=st.lists(st.lists(cells, min_size=6, max_size=6), min_size=1, max_size=3),
    plain=st.booleans(),
)
@example(["video_id", "source"], [["a", "x"], ["\x1fb", "y"]], False)
def test_both_readers_agree(tmp_path: Path, header: list[str], rows: list[list[str]], plain: bool) -> None:
    if plain:  # rows that are right but for what the cells bring
        for number, row in enumerate(rows):
            row[header.index("video_id")] = f"v{number}"
            row[header.index("source")] = "x"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path = tmp_path / "manifest.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    assert said(path, quick=True) == said(path, quick=False)


@given(st.text(st.sampled_from('video_id,source\n\r" \tab;#\\1.'), max_size=40), st.booleans())
@example('\n"c d",x\n', True)
@example("a,b\\,c\n", True)
@example("a,'b\n", True)
@example('1,"1', True)
def test_both_readers_agree_about_any_text(tmp_path: Path, text: str, headed: bool) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(("video_id,source\n" if headed else "") + text, encoding="utf-8", newline="")
    assert said(path, quick=True) == said(path, quick=False)


def test_a_missing_file_and_bytes_that_are_no_text_have_their_message(tmp_path: Path) -> None:
    with pytest.raises(AvisError, match="does not exist"):
        read_manifest_table(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"video_id,source\n\xff\xfe,x\n")
    with pytest.raises(AvisError, match="not UTF-8"):
        read_manifest_table(tmp_path / "bytes.csv")
    (tmp_path / "text.parquet").write_text("video_id")
    with pytest.raises(AvisError, match="not a readable parquet"):
        read_manifest_table(tmp_path / "text.parquet")


@pytest.mark.parametrize("secret", ["https://me:word@h/a.mp4", "https://h/a?sig=ab&x=1", "s3://me:w/rd@b/c"])
def test_sources_are_kept_without_what_is_secret_in_them(secret: str) -> None:
    """As `redacted_address` does one by one, where some have none and some are missing."""
    others = ["clip.mp4", None, "https://www.youtube.com/@h/v", "https://www.youtube.com/watch?v=abcdefghijk"]
    sources = pyarrow.chunked_array([[secret, *others], others], pyarrow.string())
    assert sources_kept(sources).to_pylist() == [redacted_address(secret), *others, *others]
    assert redacted_address(secret) != secret
