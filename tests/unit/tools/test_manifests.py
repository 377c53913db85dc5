"""Manifests from names, from lists and from an AVISeg download."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.raw.clip_names import clip_name, parse_clip_name, source_of, youtube_id_of
from components.core.raw.manifest import ManifestEntry, read_manifest
from components.core.run.errors import AvisError
from components.tools.manifests.from_aviseg import manifest_from_aviseg
from components.tools.manifests.from_ids import manifest_from_ids
from components.tools.manifests.from_names import manifest_from_names, read_names
from pipelines.commands.data.manifest import from_ids, from_names
from pipelines.commands.options import Split

RANGE = "9h7btHpA52U-00.22.53.668-00.23.54.504-seg2"
EDIT = "04Xa26YOfcw-1694962971939-seg1-1695387405621"
WHOLE = "-wgEIkAongk"
NUMBER = "00000002"
ids = st.text(string.ascii_letters + string.digits + "-_", min_size=11, max_size=11)


def watch(youtube_id: str) -> str:
    return f"https://www.youtube.com/watch?v={youtube_id}"


def test_the_four_kinds_of_names() -> None:
    made = manifest_from_names([(name, "train") for name in (RANGE, EDIT, WHOLE, NUMBER)])
    assert made.entries == [
        ManifestEntry(RANGE, watch("9h7btHpA52U"), 1373.668, 1434.504, "train"),
        ManifestEntry(WHOLE, watch("-wgEIkAongk"), split="train"),
    ]
    assert made.local == 0
    assert list(made.left_out) == [EDIT, NUMBER]
    assert "does not tell which" in made.left_out[EDIT] and "no YouTube id" in made.left_out[NUMBER]
    whole = manifest_from_names([(EDIT, None)], whole=True)
    assert whole.entries == [ManifestEntry(EDIT, watch("04Xa26YOfcw"))]


def test_media_of_this_machine_come_before_any_download(tmp_path: Path) -> None:
    for name in (f"{NUMBER}.mp4", "9h7btHpA52U.webm", f"{EDIT}.MKV", "notes.txt"):
        (tmp_path / name).touch()
    made = manifest_from_names([(name, None) for name in (RANGE, EDIT, WHOLE, NUMBER)], local=tmp_path)
    assert made.entries == [
        ManifestEntry(RANGE, str(tmp_path / "9h7btHpA52U.webm"), 1373.668, 1434.504),  # cut from its video
        ManifestEntry(EDIT, str(tmp_path / f"{EDIT}.MKV")),  # the clip itself
        ManifestEntry(WHOLE, watch(WHOLE)),
        ManifestEntry(NUMBER, str(tmp_path / f"{NUMBER}.mp4")),
    ]
    assert (made.local, made.left_out) == (3, {})
    with pytest.raises(AvisError, match="folder of media does not exist"):
        manifest_from_names([], local=tmp_path / "none")


@given(ids, st.integers(0, 359_999_998), st.integers(1, 100_000))
def test_names_of_parts_are_read_as_they_are_written(identity: str, start_ms: int, length_ms: int) -> None:
    start_s, end_s = start_ms / 1000, min(start_ms + length_ms, 359_999_999) / 1000
    for ending in ("", "-seg3"):
        name = clip_name(identity, start_s, end_s) + ending
        parsed = parse_clip_name(name)
        assert (parsed.youtube_id, parsed.start_s, parsed.end_s) == (identity, start_s, end_s)
        assert source_of(name) == identity
    assert parse_clip_name(identity).youtube_id == identity and not parse_clip_name(identity).is_edit


@given(st.text(max_size=30))
def test_any_name_is_an_entry_or_has_a_reason(name: str) -> None:
    if not name:
        return
    made = manifest_from_names([(name, None)])
    assert len(made.entries) + len(made.left_out) == 1


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3", "dQw4w9WgXcQ"),
        ("https://m.youtube.com/watch?list=x&v=dQw4w9WgXcQ", "dQw4w9WgXcQ"),
        ("youtu.be/dQw4w9WgXcQ?t=3", "dQw4w9WgXcQ"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQTOOLONG", None),
        ("https://example.org/?next=youtube.com/embed/abcdefghijk", None),
        ("https://notyoutube.com/embed/abcdefghijk", None),
    ],
)
def test_ids_in_addresses(text: str, identity: str | None) -> None:
    assert youtube_id_of(text) == identity


def test_lists_of_ids_and_addresses() -> None:
    lines = ["# songs", "", "-wgEIkAongk", "dQw4w9WgXcQ 12.5 0:40", "https://youtu.be/9h7btHpA52U?t=3"]
    lines += ["https://example.org/films/cat.mp4", "https://example.org/other/cat.mp4,1:00:00,1:00:10.5"]
    entries = manifest_from_ids(lines, "ids.txt")
    assert entries[:3] == [
        ManifestEntry("-wgEIkAongk", watch("-wgEIkAongk")),
        ManifestEntry("dQw4w9WgXcQ-00.00.12.500-00.00.40.000", watch("dQw4w9WgXcQ"), 12.5, 40.0),
        ManifestEntry("9h7btHpA52U", watch("9h7btHpA52U")),
    ]
    assert [entry.source for entry in entries[3:]] == [
        "https://example.org/films/cat.mp4",
        "https://example.org/other/cat.mp4",
    ]
    assert entries[3].video_id.startswith("cat-") and entries[4].start_s == 3600.0
    assert len({entry.video_id for entry in entries}) == 5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["too-short"], r"neither a YouTube id.*\(ids.txt, line 1\)"),
        (["../../etc/passwd"], "neither a YouTube id"),
        (["gopher://example.org/a"], "neither a YouTube id"),
        (["dQw4w9WgXcQ 3"], "needs its start and its end"),
        (["dQw4w9WgXcQ 5 3"], "the end 3 s is not after the start 5 s"),
        (["dQw4w9WgXcQ -5 3"], "'-5' is no time"),
        (["dQw4w9WgXcQ 0 nan"], "'nan' is no time"),
        (["# nothing"], "the list is empty"),
        (["http://[::1/x.mp4"], "neither a YouTube id"),
    ],
)
def test_wrong_lines_are_named(lines: list[str], said: str) -> None:
    with pytest.raises(AvisError, match=said):
        manifest_from_ids(lines, "ids.txt")


def test_a_manifest_grows_and_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids, out = tmp_path / "ids.txt", tmp_path / "m.csv"
    ids.write_text("dQw4w9WgXcQ\n")
    from_ids(ids, out, split=Split.train, add=False)
    with pytest.raises(AvisError, match=r"there already.*--add"):
        from_ids(ids, out, split=Split.train, add=False)
    ids.write_text("dQw4w9WgXcQ\n-wgEIkAongk\n")
    from_ids(ids, out, split=Split.test, add=True)
    assert [(entry.video_id, entry.split) for entry in read_manifest(out)] == [
        ("dQw4w9WgXcQ", "train"),  # as it was
        ("-wgEIkAongk", "test"),
    ]
    assert "2 videos, 1 of them new" in capsys.readouterr().out
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "dQw4w9WgXcQ.mp4").touch()
    (tmp_path / "names.txt").write_text("dQw4w9WgXcQ\n")
    with pytest.raises(AvisError, match=r"already there, from 'https"):
        from_names([tmp_path / "names.txt"], out, local=tmp_path / "clips", whole=False, add=True)


def download(folder: Path) -> None:
    """An AVISeg download of which only one video has come."""
    (folder / "train" / "JPEGImages" / WHOLE).mkdir(parents=True)
    (folder / "train" / "JPEGImages" / WHOLE / "00000.jpg").touch()
    (folder / "train" / "WAVAudios").mkdir()
    (folder / "train" / "WAVAudios" / f"{WHOLE}.wav").touch()
    (folder / "train" / "JPEGImages" / RANGE).mkdir()  # came without its pictures and sound
    for split, names in {"train": [WHOLE, RANGE, EDIT], "test": [NUMBER, "dQw4w9WgXcQ"]}.items():
        videos = [{"id": k, "file_names": [f"{name}/00000.jpg"]} for k, name in enumerate(names)]
        (folder / f"{split}.json").write_text(json.dumps({"videos": videos}))


def test_what_a_download_lacks_is_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download(tmp_path)
    made = manifest_from_aviseg(tmp_path)
    assert {entry.video_id: (entry.source, entry.split) for entry in made.entries} == {
        WHOLE: (str(tmp_path / "train" / "JPEGImages" / WHOLE), "train"),
        RANGE: (watch("9h7btHpA52U"), "train"),
        "dQw4w9WgXcQ": (watch("dQw4w9WgXcQ"), "test"),
    }
    assert (made.local, set(made.left_out)) == (1, {EDIT, NUMBER})
    from_names(
        [tmp_path / "train.json", tmp_path / "test.json"],
        tmp_path / "m.csv",
        local=None,
        whole=False,
        add=False,
    )
    said = capsys.readouterr()
    assert "3 videos: 0 on this machine, 3 to download" in said.out
    assert "2 videos are left out" in said.err
    assert (tmp_path / "m.left-out.csv").read_text().splitlines()[0] == "name,reason"


@pytest.mark.parametrize("text", ["{", "[]", '{"videos": [{}]}', '{"videos": [{"file_names": "a"}]}', "\xff"])
def test_files_that_hold_no_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.json").write_text(text, encoding="latin-1")
    with pytest.raises(AvisError, match="the names cannot be read"):
        read_names(tmp_path / "train.json")
