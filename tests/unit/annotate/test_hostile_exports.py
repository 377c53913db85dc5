"""A file of annotations that does anything to the process that reads it is a row; the others are read."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.annotate import exports
from components.annotate.exports import read_all, read_sources
from components.annotate.formats import Hints, Reading, aviseg
from components.core.records import work_file
from components.core.records.annotations import read_annotations
from components.core.records.work_file import WorkFile
from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from tests.support.hostile import CAUSES, WAYS, attack
from tests.unit.annotate.test_annotate_stage import FRAMES, run, write_media, write_source

_read = aviseg.FORMAT.read


def hostile_read(path: Path, hints: Hints) -> Reading:
    assert _read is not None
    reading = _read(path, hints)  # so that the process dies with masks in the work file
    attack(path.stem)
    return reading


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aviseg, "FORMAT", replace(aviseg.FORMAT, read=hostile_read))
    monkeypatch.setattr(exports, "_LEAST_CPU_S", 0.9)
    monkeypatch.setattr(exports, "_PATIENCE", 200.0)  # a busy machine is no error of a test
    monkeypatch.setattr(work_file, "_BLOCK_BYTES", 300)  # most of a file's masks lie on the disk, some do not


def write_exports(folder: Path) -> dict[str, str]:
    folder.mkdir()
    names = ["a_good", *WAYS, "m_good", "z_good"]
    for name in names:
        write_source(folder / f"{name}.json", [f"v_{name}"], {1: "dog"})
    (folder / "n_malformed.json").write_text('{"videos": [], "annotations": 3}')
    return {f"v_{name}": "train" for name in names}


def test_each_is_a_row_and_the_others_are_imported(tmp_path: Path, capsys: Any) -> None:
    paths = Paths(tmp_path / "data")
    splits = write_exports(tmp_path / "exports")
    write_media(paths, dict.fromkeys(splits, FRAMES))
    block = {"source": str(tmp_path / "exports"), "splits": {"by": "hash", "manifest": None}}
    imported = run(paths, **block, max_failed_share=0.7)
    causes = CAUSES | {"loop": ("timeout", "took more than 1 s"), "n_malformed": ("corrupt", "annotations")}
    unread = {Path(name).stem: row for name, row in imported.unread.items()}
    assert set(unread) == set(causes)
    for name, (status, cause) in causes.items():
        assert unread[name]["status"] == status, unread[name]
        assert cause in unread[name]["message"]
    assert json.loads((paths.annotations / "summary.json").read_text())["unread"] == imported.unread
    assert f"not read, crashed: {tmp_path}/exports/segfault.json" in capsys.readouterr().err

    kept = [read_annotations(paths.annotations / f"{split}.json") for split in ("train", "val", "test")]
    tracks = {
        part.videos[k].name: list(track.segmentations)
        for part in kept for k, track in enumerate(part.tracks)
    }  # fmt: skip
    write_source(tmp_path / "one.json", ["v"], {1: "dog"})
    written = list(read_annotations(tmp_path / "one.json").tracks[0].segmentations)
    assert tracks == dict.fromkeys(("v_a_good", "v_m_good", "v_z_good"), written)

    (tmp_path / "exports/loop.json").unlink()
    with pytest.raises(AvisError, match=r"4 of 7 annotation files cannot be read.*allows 10%"):
        run(paths, **block)
    with pytest.raises(AvisError, match="4 of 7"):
        run(paths, **block, max_failed_share=1.0, strict=True)


def test_a_file_alone_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = write_source(tmp_path / "segfault.json", ["v"], {1: "dog"})
    with pytest.raises(AvisError, match=r"could not be read: its process died \(SIGSEGV\) \(.*segfault.json"):
        read_sources(Path(source))


def test_the_readers_have_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def calling(path: Path, hints: Hints) -> Reading:
        import socket

        socket.create_connection(("127.0.0.1", 9))
        raise AssertionError

    monkeypatch.setattr(aviseg, "FORMAT", replace(aviseg.FORMAT, read=calling))
    source = write_source(tmp_path / "a.json", ["v"], {1: "dog"})
    with pytest.raises(AvisError, match="PermissionError"):
        read_sources(Path(source))


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_a_row(tmp_path: Path, packing: int) -> None:
    write_source(tmp_path / "good.json", ["v"], {1: "dog"})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", packing) as archive:
        archive.write(tmp_path / "good.json", "good.json")
    content = bytearray(packed.getvalue())
    for place in range(60, len(content) - 120, 7):
        content[place] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(bytes(content))
    found = read_all(tmp_path, work=WorkFile(tmp_path / "out"))
    assert (len(found.read), found.parts) == (1, 2)
    [(status, error)] = found.unread.values()
    assert status == "corrupt"
    assert "The archive cannot be read" in str(error)
