"""Do people agree, and what does a model doubt?"""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.core.records.annotations import read_annotations, write_annotations
from components.core.run.errors import AvisError
from components.core.run.params import EngineParams
from components.core.tracking.run import Run
from components.qa.params import QaParams
from components.qa.stage import Outcome, qa
from components.qa.tables.agreements import Agreement, read_agreements, write_agreements
from components.qa.tables.suspicions import Suspicion, read_suspicions, write_suspicions
from components.tools.agreement import agree, read_second_opinions


def run_qa(labelled_set: Any, **params: Any) -> Outcome:
    chosen = QaParams.model_validate({"waivers": None, "previews": 0, **params})
    return qa(chosen, EngineParams(workers=1), labelled_set.paths, Run("test"))


def compared(labelled_set: Any, second: Path) -> str:
    """What `avis agree` writes."""
    folder = labelled_set.paths.annotations
    first = {split: read_annotations(folder / f"{split}.json") for split in ("train", "val", "test")}
    out = labelled_set.paths.root / "agreements.csv"
    write_agreements(out, agree(first, read_second_opinions(second), EngineParams(workers=1)))
    return str(out)


def second_opinion(labelled_set: Any, path: Path) -> None:
    """Bob's labels: as the first, but in t1 he lets both sound for two seconds less, and swaps the names."""
    annotations = read_annotations(labelled_set.paths.annotations / "train.json")
    tracks = []
    for track in annotations.tracks:
        if track.video_id == 2:
            heard = [k for k, mask in enumerate(track.segmentations) if mask]
            masks = [None if k in heard[-2:] else mask for k, mask in enumerate(track.segmentations)]
            track = replace(track, segmentations=masks, category_id=3 - track.category_id)
        tracks.append(replace(track, annotator="Bob"))
    write_annotations(path, replace(annotations, tracks=tracks))


def test_the_clip_on_which_two_people_disagree_is_found(labelled_set: Any, tmp_path: Path) -> None:
    labelled_set.edit_track(3, lambda track: track.update(annotator="Ada"))
    second_opinion(labelled_set, tmp_path / "bob.json")
    outcome = run_qa(labelled_set, agreements=compared(labelled_set, tmp_path / "bob.json"))
    found = [finding for finding in outcome.findings if finding.check == "annotators_disagree"]
    assert [(finding.split, finding.video) for finding in found] == [("train", "t1")]
    assert found[0].value == 0 and "Ada and Bob agree to HOTA 0" in found[0].message
    metrics = json.loads((labelled_set.paths.qa / "metrics.json").read_text())
    # of five clips four agree: HOTA is sqrt(DetA * AssA), both lower than 1 by t1's masks alone
    assert 60 < metrics["agreement_hota"] < 95 and 70 < metrics["agreement_fsla"] < 90


def test_people_who_agree_give_no_finding(labelled_set: Any, tmp_path: Path) -> None:
    source = labelled_set.paths.annotations / "test.json"
    outcome = run_qa(labelled_set, agreements=compared(labelled_set, source))
    assert outcome.findings == []
    metrics = json.loads((labelled_set.paths.qa / "metrics.json").read_text())
    assert metrics["agreement_hota"] == metrics["agreement_fsla"] == 100


def test_second_opinions_that_do_not_fit_are_refused(labelled_set: Any, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    annotations = read_annotations(labelled_set.paths.annotations / "val.json")
    video = annotations.videos[0]
    write_annotations(path, replace(annotations, videos=[replace(video, height=100)], tracks=[]))
    with pytest.raises(AvisError, match="12 frames of 256x100, the first 12 of 256x144"):
        compared(labelled_set, path)
    files = [name.replace("v0", "zz") for name in video.file_names]
    write_annotations(
        path, replace(annotations, videos=[replace(video, name="zz", file_names=files)], tracks=[])
    )
    with pytest.raises(AvisError, match="No clip of the second annotations"):
        compared(labelled_set, path)


def test_doubts_above_the_threshold_become_findings_with_the_tracks_category(
    labelled_set: Any, tmp_path: Path
) -> None:
    path = tmp_path / "doubts.csv"
    write_suspicions(
        path,
        [
            Suspicion("train", "t1", 3, 2, 4, 0.5, "fine"),
            Suspicion("train", "t1", 4, 2, 4, 5.5, "labelled as cello; the model takes it for dog"),
            Suspicion("test", "e0", None, 0, 1, 7.0, "the model sees and hears a dog that nobody labelled"),
        ],
    )
    outcome = run_qa(labelled_set, suspicions=str(path))
    found = [
        (f.check, f.video, f.track, f.frame, f.last_frame, f.category, f.value) for f in outcome.findings
    ]
    assert found == [
        ("model_doubts", "e0", None, 0, 1, "", 7.0),
        ("model_doubts", "t1", 4, 2, 4, "cello", 5.5),
    ]
    assert "loss 5.5" in outcome.findings[1].message


def test_a_damaged_file_of_doubts_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "doubts.csv"
    write_suspicions(path, [Suspicion("train", "a", 1, 0, 0, 1.5, 'says "no", twice')])
    assert read_suspicions(path)[0].message == 'says "no", twice'
    rows = list(csv.reader(path.open()))
    rows[1][5] = "nan"
    with path.open("w") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(AvisError, match=r"not finite.*row 2"):
        read_suspicions(path)
    path.write_text("a,b\n")
    with pytest.raises(AvisError, match="columns are not split, video"):
        read_suspicions(path)
    with pytest.raises(AvisError, match="avis suspect"):
        read_suspicions(tmp_path / "none.csv")


def test_a_damaged_file_of_agreements_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "agreements.csv"
    rows = [Agreement("train", "a", None, 50.0, "Ada, Eve", ""), Agreement("", "", 71.5, 50.0, "Ada", "Bob")]
    write_agreements(path, rows)
    assert read_agreements(path) == rows
    path.write_text(path.read_text().replace("71.5", "715"))
    with pytest.raises(AvisError, match=r"no percentage.*row 3"):
        read_agreements(path)
    with pytest.raises(AvisError, match="avis agree"):
        read_agreements(tmp_path / "none.csv")
