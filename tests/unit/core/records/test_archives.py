"""Archives and frame rates: what is unpacked, and what is refused with nothing left behind."""

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from components.annotate.exports import read_sources
from components.core.records import archives
from components.core.records.annotations import (
    AnnotationSet,
    Track,
    Video,
    read_annotations,
    write_annotations,
)
from components.core.records.masks import encode
from components.core.run.errors import AvisError
from components.tools.convert import convert

MASK = encode(np.ones((4, 4), bool))


def labels(length: int = 1) -> AnnotationSet:
    video = Video(1, "clip", [f"clip/{k:05d}.jpg" for k in range(length)], length, 4, 4)
    masks = [MASK if k % 6 == 3 else None for k in range(length)]
    return AnnotationSet({1: "dog"}, [video], [Track(1, 1, 1, masks)])


def pack(path: Path, entries: dict[str, bytes], mode: int = 0o100644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def document(tmp_path: Path) -> bytes:
    write_annotations(tmp_path / "a.json", labels())
    return (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize(
    "name", ["../out.json", "{folder}/out.json", "a/../../out.json", "..\\out.json", "C:\\out.json"]
)
def test_entries_that_would_land_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", {"a.json": document(tmp_path), name.format(folder=tmp_path): b"{}"})
    with pytest.raises(AvisError) as caught:
        read_sources(path)
    assert str(path) in str(caught.value) and "out" in str(caught.value)
    assert not list(tmp_path.rglob("*out.json"))


@pytest.mark.parametrize(
    ("name", "says"),
    [("{0}/b/c/d/e/f.json", "files lie in 14.. folders"), ("/".join("d" * 40), "more than 32 folders")],
)
def test_more_folders_than_files_are_refused(tmp_path: Path, name: str, says: str) -> None:
    path = pack(tmp_path / "x.zip", {name.format(number): b"" for number in range(400)})
    with (
        pytest.raises(AvisError, match=f"The archive is refused: .* {says}"),
        archives.unpacked(path, tmp_path / "place"),
    ):
        pass


def test_links_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.json": b"/etc/passwd"}, stat.S_IFLNK | 0o777)
    with pytest.raises(AvisError, match="link"):
        read_sources(path)


def test_bombs_are_refused_by_what_they_unpack_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    path = pack(tmp_path / "a.zip", {"a.json": b"0" * (2 << 20)})
    assert path.stat().st_size < 1 << 13
    with pytest.raises(AvisError, match="refused"):
        read_sources(path)
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(AvisError, match="4 files"):
        read_sources(pack(tmp_path / "b.zip", {f"{n}.json": b"{}" for n in range(4)}))


def test_a_broken_archive_is_one_message(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"a.json": document(tmp_path)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AvisError, match=r"cannot be read.*a\.zip"):
        read_sources(path)


def test_messages_name_the_archive_and_the_file_in_it(tmp_path: Path) -> None:
    broken = document(tmp_path).replace(b'"length":1', b'"length":2')
    with pytest.raises(AvisError, match=r"a\.zip/in/a\.json, videos\[0\]"):
        read_sources(pack(tmp_path / "a.zip", {"in/a.json": broken}))


def test_the_frame_at_the_middle_of_each_second_is_kept(tmp_path: Path) -> None:
    write_annotations(tmp_path / "six.json", labels(20))  # 3 s and a third; masks at frames 3, 9, 15
    done = convert(tmp_path / "six.json", tmp_path / "one.json", target_format="aviseg", frame_rate_hz=6)
    annotations = read_annotations(tmp_path / "one.json")
    assert annotations.videos[0].length == 3
    assert all(annotations.tracks[0].segmentations)
    assert "of 20 frames at 6 a second, 3 are kept" in done.notes[0]
    with pytest.raises(AvisError, match="less than a second"):
        convert(tmp_path / "six.json", tmp_path / "two.json", target_format="aviseg", frame_rate_hz=24)
    assert not (tmp_path / "two.json").exists()


def test_a_cut_off_file_says_what_it_was_taken_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(document(tmp_path)[:-30])
    with pytest.raises(AvisError, match=r"not valid JSON.*a\.json.*taken for aviseg"):
        read_sources(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps({"frames": [], "shapes": []}))
    with pytest.raises(AvisError, match=r"not recognised: a JSON file with frames, shapes"):
        read_sources(tmp_path / "b.json")


def test_a_billion_laughs_are_not_expanded(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE a [<!ENTITY l0 "ha">{entities}]><annotations><version>1.1</version>&l9;</annotations>'
    external = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations><version>1.1</version>&x;</annotations>'
    for text in (bomb, external):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(AvisError, match="document type or entities"):
            read_sources(tmp_path / "a.xml")


def test_two_entries_of_one_name_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("a.json", document(tmp_path))
        archive.writestr("a.json", b"{}")
    with pytest.raises(AvisError, match="cannot be read"):
        read_sources(path)


def test_an_archive_that_grows_beyond_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_FREE_BYTES", 1 << 10)
    path = pack(tmp_path / "a.zip", {"a.json": b"0," * 100_000})
    with pytest.raises(AvisError, match=r"1 files of 0.2 MiB together, at most 300000 and 0 MiB"):
        read_sources(path)
