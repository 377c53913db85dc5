"""`avis results`, and what `avis` says of files that are in the way."""

import sys
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.files import write_json
from pipelines.cli import main
from pipelines.commands.results.results import results


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("variants:\n  plain:\n")
    return Path("data/evaluation/plain/metrics.json")


def test_a_score_that_is_none_is_a_dash(metrics: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(metrics, {"corrected": {"mAP": None, "HOTA": 41.26, "FSLA": 7}})
    results()
    line = next(line for line in capsys.readouterr().out.splitlines() if "corrected" in line)
    assert line.split() == ["plain", "corrected", "-", "41.3", "7.0"]


def test_a_file_that_is_cut_off_is_named(metrics: Path) -> None:
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"corrected": {"mAP"')
    with pytest.raises(AvisError, match=r"metrics\.json\)\. Run: dvc repro evaluate@plain"):
        results()


def test_a_file_where_a_folder_should_be_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train" / "JPEGImages" / "clip").mkdir(parents=True)
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "manifest.csv")
    monkeypatch.setattr(sys, "argv", ["avis", "manifest", "from-aviseg", str(tmp_path), "--out", out])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("avis: ")
    assert str(tmp_path / "file") in said
