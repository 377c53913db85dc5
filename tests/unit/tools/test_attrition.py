"""`avis ingest status`: before, during and after a run."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from components.core.raw.index import RawEntry, Status, write_raw_index
from components.core.raw.manifest import ManifestEntry, write_manifest
from components.core.run.errors import AvisError
from components.core.run.journal import Journal
from components.core.run.paths import Paths
from components.ingest.params import IngestParams
from components.tools.attrition import Loss, annotated_categories, read_attrition
from pipelines.commands.data.ingest import status as show_status

ENTRIES = [
    ManifestEntry("a", "https://x.org/a", split="train"),
    ManifestEntry("b", "https://x.org/b", split="train", uploader="Me"),
    ManifestEntry("c", "https://x.org/c", split="test"),
    ManifestEntry("d", "https://x.org/d"),
]


def row(video_id: str, status: Status, **values: object) -> RawEntry:
    common = {
        "attempts": 1,
        "source": f"https://x.org/{video_id}",
        "start_s": None,
        "end_s": None,
        "fingerprint": "f",
    }
    time = "2026-11-01T00:00:00+00:00"
    return RawEntry(video_id=video_id, status=status, message="why", time=time, **{**common, **values})


@pytest.fixture()
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "m.csv", ENTRIES)
    annotations = {
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "videos": [
            {"id": k, "file_names": [f"{entry.video_id}/00000.jpg"]} for k, entry in enumerate(ENTRIES)
        ],
        "annotations": [
            {"video_id": k, "category_id": c} for k, c in [(0, 1), (0, 2), (0, 1), (1, 2), (2, 2)]
        ],
    }
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train.json").write_text(json.dumps(annotations))
    (tmp_path / "labels" / "other.json").write_text("{")
    (tmp_path / "params.yaml").write_text("ingest: {manifest: m.csv}\nannotate: {source: labels}\n")
    return tmp_path


def write_index() -> None:
    Paths().raw.mkdir(parents=True)
    rows = [row("a", Status.OK), row("b", Status.REMOVED, uploader="Them"), row("c", Status.NETWORK)]
    write_raw_index(Paths().raw / "index.parquet", rows)


def test_before_the_first_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_status()
    said = capsys.readouterr().out
    assert "m.csv: 4 entries" in said and "not_tried" in said and "run `dvc repro --force" in said


def test_after_a_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index()
    attrition = read_attrition(IngestParams(manifest="m.csv"), Paths().raw)
    assert attrition.counts() == {"ok": 1, "removed": 1, "network": 1, "not_tried": 1}
    assert attrition.by_split() == {"": Loss(1, 0), "test": Loss(1, 0), "train": Loss(2, 1)}
    categories = annotated_categories(Path("labels"))
    assert attrition.by_category(categories) == {"dog": Loss(3, 1), "cat": Loss(1, 1)}
    show_status()
    said = capsys.readouterr().out
    assert "removed: they are gone" in said and "(asked for again from 2026-12-01 on)" in said
    assert (
        "network: run `dvc repro --force --single-item ingest`" in said
        and "asked for again in the next run" in said
    )
    assert any(line.split() == ["dog", "3", "1", "66.7%"] for line in said.splitlines())


def test_during_a_run_the_journal_counts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index()
    journal = Journal(Paths().raw / ".journal", "ingest 1")
    for name, status in (("c", "network"), ("c", "ok"), ("d", "private")):
        journal.record(name, asdict(row(name, Status(status))))
    with (Paths().raw / ".journal").open("ab") as file:
        file.write(b'["e", {"half')  # being written
    attrition = read_attrition(IngestParams(manifest="m.csv"), Paths().raw)
    assert attrition.counts() == {"ok": 2, "removed": 1, "private": 1}
    assert attrition.running == 2
    journal.close()
    show_status()
    assert "it has finished 2" in capsys.readouterr().out


def test_entries_are_listed_and_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_index()
    show_status(status="removed")
    assert capsys.readouterr().out == "b  removed  https://x.org/b  [Me]  why\n"
    show_status(uploader="Me")  # the manifest has the last word about who it is
    assert capsys.readouterr().out.startswith("b  removed")
    show_status(csv=Path("out.csv"))
    with Path("out.csv").open() as file:
        assert [found["status"] for found in csv.DictReader(file)] == [
            "ok",
            "removed",
            "network",
            "not_tried",
        ]
    with pytest.raises(AvisError, match="there already"):
        show_status(csv=Path("m.csv"))
    with pytest.raises(AvisError, match=r"'gone' is no status.*Allowed: ok, private"):
        show_status(status="gone")


def test_a_row_about_another_source_or_part_does_not_count(project: Path) -> None:
    write_index()
    changed = [
        replace(ENTRIES[0], source="https://x.org/new"),
        replace(ENTRIES[1], start_s=3.0),
        *ENTRIES[2:],
    ]
    write_manifest(project / "m.csv", changed)
    counts = read_attrition(IngestParams(manifest="m.csv"), Paths().raw).counts()
    assert counts == {"not_tried": 3, "network": 1}


def test_without_a_manifest_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("ingest: {manifest: none.csv}\n")
    with pytest.raises(AvisError, match="the manifest does not exist"):
        show_status()
