"""`avis evaluate` from its arguments to the terminal and the JSON file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import cli

EXAMPLE = Path(__file__).parents[3] / "data" / "eval_a"


def run(monkeypatch, capsys, *arguments):
    """Return (exit code, stdout, stderr)."""
    monkeypatch.setattr("sys.argv", ["avis", "evaluate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    printed = capsys.readouterr()
    return stopped.value.code, printed.out, printed.err


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The example's annotations and results, and results of which every third track is empty."""
    monkeypatch.chdir(tmp_path)  # a folder without params.yaml
    rows = json.loads((EXAMPLE / "results.json").read_text())
    for row in rows[::3]:
        row["segmentations"] = [None] * len(row["segmentations"])
    (tmp_path / "other.json").write_text(json.dumps(rows))
    return EXAMPLE / "test.json", EXAMPLE / "results.json", tmp_path / "other.json"


def test_numbers_intervals_and_the_other_results(monkeypatch, capsys, tmp_path, files):
    truth, results, other = files
    arguments = ["--ground-truth", truth, "--results", results, "--against", other, "--json", "out.json"]
    code, text, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0
    document = json.loads((tmp_path / "out.json").read_text())
    expected = json.loads((EXAMPLE / "expected.json").read_text())
    for theirs, ours in (("AP_all", "mAP"), ("HOTA", "HOTA"), ("FA", "FSLA"), ("FAn", "FSLAn")):
        assert document["official"][ours] == expected[theirs]
    for protocol in ("corrected", "official"):
        compared = document["against"][protocol]
        for name in ("mAP", "HOTA", "FSLA", "FSLAn", "FSLAs", "FSLAm"):
            low, high = document["intervals"][protocol][name]
            assert low <= document[protocol][name] <= high
            assert compared[name]["value"] == document[protocol][name]
            assert compared[name]["difference"] == pytest.approx(
                compared[name]["value"] - compared[name]["other"], abs=0.011
            )
            assert 0 < compared[name]["p"] <= 1
        assert compared["HOTA"]["difference"] > 0
        assert f"{protocol}: " in text  # the table says whose numbers it has
    assert "within noise" in text and "95 % interval" in text
    assert document["intervals"]["level_percent"] == 95 and document["left_out"] == []
    _, back, _ = run(monkeypatch, capsys, "--ground-truth", truth, "--results", other, "--json", "b.json")
    assert (
        json.loads((tmp_path / "b.json").read_text())["corrected"]["HOTA"]
        == (document["against"]["corrected"]["HOTA"]["other"])
    )
    assert "against" not in back


def test_wrong_rows(monkeypatch, capsys, tmp_path, files):
    truth, results, _ = files
    rows = json.loads(results.read_text())
    rows[1]["score"] = float("nan")
    rows[3]["segmentations"][2] = {"size": [5, 5], "counts": "0"}
    rows[4]["video_id"] = 99
    (tmp_path / "bad.json").write_text(json.dumps(rows))
    arguments = ["--ground-truth", truth, "--results", "bad.json", "--json", "out.json"]
    code, _, message = run(monkeypatch, capsys, *arguments, "--protocol", "official")
    assert code == 1 and message.count("\n") == 1 and "video 99" in message and "row 4" in message
    assert not (tmp_path / "out.json").exists()
    code, text, _ = run(monkeypatch, capsys, *arguments, "--lenient", "--protocol", "official")
    assert code == 0 and "3 wrong rows of bad.json left out" in text
    document = json.loads((tmp_path / "out.json").read_text())
    assert "corrected" not in document and document["official"]["left_out"] == 3
    for message, parts in zip(
        document["left_out"], [("row 1", "nan"), ("row 3", "frame 2"), ("row 4", "99")], strict=True
    ):
        assert all(part in message for part in parts)


def test_results_of_another_program_are_read_and_said_unless_strict(monkeypatch, capsys, tmp_path, files):
    truth, results, _ = files
    rows = json.loads(results.read_text())
    for row in rows:
        row["score"] *= 100
    (tmp_path / "percent.json").write_text(json.dumps({"results": rows}))
    arguments = ["--ground-truth", truth, "--results", "percent.json", "--json", "out.json"]
    code, text, _ = run(monkeypatch, capsys, *arguments)
    said = f"changed on reading: 1 file guessed, {len(rows)} scores guessed"
    assert code == 0 and text.count(said) == 1 and "read as percent" in text
    document = json.loads((tmp_path / "out.json").read_text())
    assert [change["kind"] for change in document["changes"]] == ["guessed", "guessed"]
    assert document["official"]["HOTA"] == json.loads((EXAMPLE / "expected.json").read_text())["HOTA"]
    code, _, message = run(monkeypatch, capsys, *arguments, "--strict")
    assert code == 1 and message.count("\n") == 1 and "strict reading was asked for" in message


@pytest.mark.slow
def test_a_report_of_what_goes_wrong(monkeypatch, capsys, tmp_path, files):
    truth, results, _ = files
    arguments = ["--ground-truth", truth, "--results", results, "--report", "report"]
    code, text, _ = run(monkeypatch, capsys, *arguments, "--protocol", "official", "--json", "out.json")
    assert code == 0 and "Report: report/report.html" in text
    assert "corrected" not in text and "corrected" not in json.loads((tmp_path / "out.json").read_text())
    page = (tmp_path / "report" / "report.html").read_text()
    assert "results.json" in page and "corrected" in page and "official" in page
    assert not list((tmp_path / "report" / "overlays").iterdir())
    code, _, _ = run(monkeypatch, capsys, *arguments)  # an earlier report is replaced
    assert code == 0


@pytest.mark.slow
def test_films_of_a_report(monkeypatch, capsys, tmp_path, files):
    truth, results, _ = files
    document = json.loads(truth.read_text())
    (tmp_path / "params.yaml").write_text(
        "evaluate: {overlays_worst: 1, overlays_best: 0, overlays_random: 0, overlay_height_px: 90}"
    )
    for video in document["videos"]:
        for name in video["file_names"]:
            path = tmp_path / "media" / "JPEGImages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((video["height"], video["width"], 3), dtype=np.uint8))
    arguments = ["--ground-truth", truth, "--results", results, "--report", "report", "--media", "media"]
    code, _, _ = run(monkeypatch, capsys, *arguments)
    assert code == 0
    assert len(list((tmp_path / "report" / "overlays").glob("*.mp4"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--media", "."], "--report"),
        (["--report", "mine"], "holds something else"),
        (["--report", "new", "--media", "mine"], "JPEGImages"),
    ],
)
def test_folders_that_do_not_fit(monkeypatch, capsys, tmp_path, files, arguments, message):
    truth, results, _ = files
    (tmp_path / "mine" / "plots").mkdir(parents=True)
    (tmp_path / "mine" / "plots" / "precious.csv").write_text("1")
    code, _, said = run(monkeypatch, capsys, "--ground-truth", truth, "--results", results, *arguments)
    assert code == 1 and message in said
    assert (tmp_path / "mine" / "plots" / "precious.csv").is_file() and not (tmp_path / "new").exists()
