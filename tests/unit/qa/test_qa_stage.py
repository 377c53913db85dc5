import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from components.core.clips.index import read_media_index
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.tracking.run import Run
from components.qa.checks import Check, chosen_checks
from components.qa.dataset import Dataset
from components.qa.findings import Finding
from components.qa.label_files import read_split
from components.qa.label_summary import read_label_summary
from components.qa.params import QaParams
from components.qa.stage import Outcome, _check_clips, qa
from components.qa.waivers import apply_waivers, read_waivers

pytestmark = pytest.mark.slow

ENGINE = EngineParams(workers=1)
ROOT = Path(__file__).parents[3]


def run_qa(labelled_set: Any, **params: Any) -> Outcome:
    params = {"waivers": None, "previews": 2, **params}
    return qa(QaParams.model_validate(params), ENGINE, labelled_set.paths, Run("test"))


def test_a_clean_set_passes_with_a_page_that_needs_nothing_else(labelled_set: Any) -> None:
    run = Run("test")
    qa(QaParams(waivers=None, previews=2), ENGINE, labelled_set.paths, run)
    folder = labelled_set.paths.qa
    page = (folder / "report.html").read_text()
    assert "Passed: nothing blocks training" in page
    assert len(re.findall(r"data:image/jpeg;base64,[A-Za-z0-9+/]{500,}", page)) >= 6
    assert page.count("<svg") == 2 + 5  # previews, and the contact sheet
    assert not re.findall(r'(?:src|href)="(?!data:)|https?://|@import|url\(', page)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["clips"] == 8 and metrics["clips_train"] == 5
    assert metrics["masks"] == 8 * 13 and metrics["frames"] == 8 * 12
    assert metrics["frames_silent"] == 8 * 2 and metrics["frames_more_sources"] == 8 * 3
    assert metrics["findings_blocking"] == metrics["findings_warning"] == metrics["findings_info"] == 0
    assert all(isinstance(value, int | float) for value in metrics.values())
    assert pyarrow.parquet.read_table(folder / "findings.parquet").num_rows == 0


def test_the_page_has_a_contact_sheet_of_each_source_and_what_reading_changed(labelled_set: Any) -> None:
    summary = labelled_set.paths.annotations / "summary.json"
    sources = [
        {"name": "labels/one", "format": "cvat", "clips": [f"t{n}" for n in range(5)] + ["v0"]},
        {"name": "labels/<two>", "format": "davis", "clips": ["e0", "e1"]},
    ]
    change = {"kind": "dropped", "unit": "mask", "count": 7, "why": "it is void", "examples": ["e0, frame 3"]}
    dropped = {"x": "media corrupt: half of it is missing", "y": "media corrupt", "z": "no such video"}
    summary.write_text(json.dumps({"sources": sources, "changes": [change], "dropped": dropped}))
    run_qa(labelled_set, previews=0)
    page = (labelled_set.paths.qa / "report.html").read_bytes()
    text = page.decode()
    sheet = text[text.index("Contact sheet") : text.index("<h2>Findings</h2>")]
    assert sheet.index("labels/one (cvat)") < sheet.index("labels/&lt;two&gt; (davis)")
    assert [sheet.count(f"<b>{clip}</b>") for clip in ("t0", "e0", "e1")] == [1, 1, 1]
    assert sheet.count('<div class="timeline"') == 5 + 2  # six clips of the first source, five are shown
    assert sheet.count("data:image/jpeg") == 7 * 5 and len(page) < 900_000
    # the second object begins at second 3 of 12, the first at the clip's beginning, which is no onset
    assert sheet.count('class="onset" style="left:25.0%"') == sheet.count('class="onset"') == 7
    assert "7 masks dropped, 3 annotated clips dropped" in text and "media corrupt</td>" in text
    assert '<td class="text">it is void</td>' in text and "e0, frame 3" in text
    run_qa(labelled_set, previews=0)
    assert (labelled_set.paths.qa / "report.html").read_bytes() == page


def test_a_summary_of_an_older_version_or_none_gives_one_sheet_and_a_broken_one_is_refused(
    labelled_set: Any,
) -> None:
    summary = labelled_set.paths.annotations / "summary.json"
    summary.write_text(json.dumps({"clips_train": 5.0, "changes": ["3 masks were moved"]}))
    labels = read_label_summary(summary)
    assert labels.origins == {} and not labels.changes
    summary.write_text('{"sources": [{"name": "a"}]}')
    with pytest.raises(AvisError, match="summary of the annotations cannot be read"):
        run_qa(labelled_set)


def test_a_blocking_finding_fails_the_stage_after_the_report_is_written(labelled_set: Any) -> None:
    labelled_set.frame("t1", 4).unlink()
    with pytest.raises(AvisError, match=r"1 blocking finding: missing_media in train/t1, frame 4: 00004.jpg"):
        run_qa(labelled_set)
    page = (labelled_set.paths.qa / "report.html").read_text()
    assert "Blocked by 1 finding" in page and "train/t1, frame 4" in page
    row = pyarrow.parquet.read_table(labelled_set.paths.qa / "findings.parquet").to_pylist()[0]
    assert (row["check"], row["severity"], row["video"], row["frame"]) == (
        "missing_media", "blocking", "t1", 4,
    )  # fmt: skip


def test_a_waiver_lets_its_finding_pass_and_an_unused_one_is_named(
    labelled_set: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled_set.frame("t1", 4).unlink()
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        "- {check: missing_media, video: t1, reason: a known hole, author: Ada}\n"
        "- {check: sliver, video: t9, reason: long gone, author: Ada}\n"
    )
    outcome = run_qa(labelled_set, waivers=str(waivers))
    assert [finding.waived for finding in outcome.findings] == ["a known hole (Ada)"]
    assert json.loads((labelled_set.paths.qa / "metrics.json").read_text())["findings_waived"] == 1
    assert "a known hole (Ada)" in (labelled_set.paths.qa / "report.html").read_text()
    assert "waiver of sliver in t9 covers nothing" in capsys.readouterr().err


def test_a_waiver_covers_only_the_track_it_names(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text("- {check: flicker, video: a, track: 3, reason: looked at it, author: Ada}\n")
    findings = [Finding("flicker", "warning", "", video="a", track=track) for track in (3, 4)]
    marked, unused = apply_waivers(findings, read_waivers(path, ["flicker"]))
    assert [bool(finding.waived) for finding in marked] == [True, False] and unused == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {check: flicker, video: a, author: Ada}", r"reason: .*waiver 1"),
        ("- {check: flicker, reason: x, author: Ada, clip: a}", r"clip: .*Allowed: check, split, video"),
        ("- {check: flick, reason: x, author: Ada}", "no check 'flick'"),
        ("check: flicker", "not a list"),
        ("- [", "not valid YAML"),
    ],
)
def test_bad_waivers_get_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "waivers.yaml").write_text(text)
    with pytest.raises(AvisError, match=message):
        read_waivers(tmp_path / "waivers.yaml", ["flicker"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"thresholds": {"flickr": 2}}, "no check 'flickr'.*Did you mean flicker"),
        ({"thresholds": {"empty_track": 2}}, "empty_track has no threshold"),
        ({"skip": ["all"]}, "no check 'all'"),
    ],
)
def test_params_that_name_no_check_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(AvisError, match=message):
        chosen_checks(QaParams.model_validate(params))


def test_params_set_thresholds_and_severities_and_skip_checks(labelled_set: Any) -> None:
    labelled_set.put(3, 1, None)  # a forgotten frame, and one gap of one frame
    assert {finding.check for finding in labelled_set.findings()} == {
        "forgotten_frame",
        "sound_without_label",
    }
    found = labelled_set.findings(
        thresholds={"flicker": 1},
        severities={"flicker": "blocking"},
        skip=["forgotten_frame", "sound_without_label"],
    )
    assert [(finding.check, finding.severity) for finding in found] == [("flicker", "blocking")]


class _Deadly(Check):
    """Ends its process on one clip and hangs on another."""

    group = "structure"
    severity = "blocking"
    explanation = fix = ""

    def check(self, clip: Any) -> list[Finding]:
        if clip.name == "t1":
            os.kill(os.getpid(), signal.SIGKILL)
        if clip.name == "t2":
            time.sleep(60)
        return []


def test_a_clip_that_kills_or_hangs_its_process_becomes_a_finding_and_stops_nobody(
    labelled_set: Any,
) -> None:
    params = QaParams(clip_timeout_s=8, waivers=None)
    index = read_media_index(labelled_set.paths.media / "index.parquet")
    train = read_split(
        labelled_set.paths.annotations / "train.json", "train", labelled_set.paths.media, index
    )
    dataset = Dataset({"train": train}, index)
    _check_clips(dataset, [_Deadly()], params, ENGINE)
    assert set(dataset.failed) == {("train", "t1"), ("train", "t2")}
    assert {clip.name for clip in dataset.clips} == {"t0", "t3", "t4"}


def test_names_from_annotations_are_escaped(labelled_set: Any) -> None:
    name = "<script>alert(1)</script>"
    labelled_set.edit("train", lambda document: document["categories"][0].update(name=name))
    labelled_set.put(3, 1, None)
    run_qa(labelled_set, skip=["untrained_category"])
    page = (labelled_set.paths.qa / "report.html").read_text()
    assert name not in page and "&lt;script&gt;alert(1)" in page


def test_the_findings_are_the_same_whatever_the_order_of_the_workers(labelled_set: Any) -> None:
    for track in (3, 5, 15):
        labelled_set.put(track, 1, None)
    contents = []
    for workers in (1, 2):
        qa(QaParams(waivers=None), EngineParams(workers=workers), labelled_set.paths, Run("test"))
        contents.append(
            [(labelled_set.paths.qa / name).read_bytes() for name in ("findings.parquet", "report.html")]
        )
    assert contents[0] == contents[1]


def run_module(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "none"}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_list_of_checks_names_them_all() -> None:
    listed = run_module("components.qa", "--list")
    assert listed.returncode == 0
    for check in chosen_checks(QaParams()):
        assert check.name in listed.stdout


def test_the_process_ends_with_one_message_and_exit_code_1(labelled_set: Any, tmp_path: Path) -> None:
    labelled_set.frame("t1", 4).unlink()
    (tmp_path / "params.yaml").write_text("qa: {}\nengine: {workers: 1}\ntracking: {}\n")
    ended = run_module("components.qa", cwd=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.rstrip().splitlines()[-1].startswith("qa: 1 blocking finding: missing_media")


@pytest.mark.parametrize(
    ("place", "value", "check"),
    [
        (("annotations", 2, "video_id"), [], "unknown_video"),
        (("annotations", 2, "category_id"), {}, "unknown_category"),
        (("annotations", 2, "id"), 10**30, "malformed_entry"),
        (("annotations", 2, "bboxes", 1), ["a", 0, 1, 1], "box_mismatch"),
        (("annotations", 2, "areas", 1), 10**30, "malformed_entry"),
        (("categories", 1, "id"), 1.5, "malformed_entry"),
        (("videos", 1, "length"), 10**30, "malformed_entry"),
    ],
)
def test_values_of_other_types_become_findings(
    labelled_set: Any, place: tuple[Any, ...], value: Any, check: str
) -> None:
    def edit(document: dict[str, Any]) -> None:
        target: Any = document
        for key in place[:-1]:
            target = target[key]
        target[place[-1]] = value

    labelled_set.edit("train", edit)
    assert check in {finding.check for finding in labelled_set.findings()}


def test_a_waiver_of_the_set_covers_no_clip_and_words_tell_findings_apart(tmp_path: Path) -> None:
    path = tmp_path / "waivers.yaml"
    common = "reason: right, author: Ada}\n"
    path.write_text(
        "- {check: rare_category, split: train, video: '', message: few of cow, "
        + common
        + "- {check: flicker, video: a, frame: 3, "
        + common
    )
    findings = [
        Finding("rare_category", "info", "few of cow", split="train"),
        Finding("rare_category", "info", "few of cow", split="test"),
        Finding("rare_category", "info", "few of dog", split="train"),
        Finding("rare_category", "info", "few of cow", split="train", video="a"),
        Finding("flicker", "warning", "", video="a", frame=3),
        Finding("flicker", "warning", "", video="a", frame=4),
    ]
    marked, _ = apply_waivers(findings, read_waivers(path, ["rare_category", "flicker"]))
    assert [bool(finding.waived) for finding in marked] == [True, False, False, False, True, False]


@pytest.mark.parametrize("value", [float("nan"), "half a character: \ud800"])
def test_what_json_does_not_have_is_refused_with_its_place(labelled_set: Any, value: Any) -> None:
    labelled_set.edit_track(3, lambda track: track.update(note=value))
    with pytest.raises(AvisError, match=r"not valid JSON: .* near .*note.*train\.json"):
        run_qa(labelled_set)


def test_pages_of_text_do_not_stop_the_report(labelled_set: Any) -> None:
    labelled_set.edit_track(3, lambda track: track.update(annotator="a" * 10**6))
    labelled_set.put(3, 1, None)
    outcome = run_qa(labelled_set, skip=["untrained_category", "empty_split"])
    assert {len(finding.annotator) for finding in outcome.findings if finding.track == 3} == {200}
    assert (labelled_set.paths.qa / "report.html").stat().st_size < 2_000_000
