"""`avis qa fix`: repairs that change no label, each written down."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.core.records.annotations import read_annotations
from components.core.records.masks import decode, encode
from components.core.run.errors import AvisError
from components.tools.label_repair import fix_file
from pipelines.commands.labels.qa import fix

HEIGHT, WIDTH = 40, 60


def square(x: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:35, x : x + 30] = True
    return mask


def write(path: Path, *tracks: dict[str, Any]) -> Path:
    whole = {"video_id": 1, "category_id": 1}
    files = [f"clip/{k}.jpg" for k in range(3)]
    document = {
        "categories": [{"id": 1, "name": "dog"}],
        "videos": [{"id": 1, "file_names": files, "length": 3, "height": HEIGHT, "width": WIDTH}],
        "annotations": [{**whole, **track} for track in tracks],
        "unknown": "stays",
    }
    path.write_text(json.dumps(document))
    return path


MASKS = [encode(square(x)) for x in (2, 4, 6)]
WRONG: dict[str, dict[str, Any]] = {
    "short_polygon": {"segmentations": [[[1, 2, 3, 4]], MASKS[1], MASKS[2]]},
    "empty_mask": {"segmentations": [encode(np.zeros((HEIGHT, WIDTH), bool)), MASKS[1], []]},
    "segmentation_length": {"segmentations": [*MASKS, None, None]},
    "box_mismatch": {"segmentations": MASKS, "bboxes": [[0, 0, 5, 5]], "areas": [900, 900, 900]},
    "sounding_intervals": {"segmentations": MASKS, "sounding": [[2, 3], [0, 1], [0.5, 1.5]]},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_safe_repair_is_made_written_down_and_leaves_nothing_to_repair(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "a.json", {"id": 7, **WRONG[name]})
    before = source.read_bytes()
    repairs = fix_file(source, tmp_path / "b.json", [])
    assert {repair.fix for repair in repairs} == {name}
    assert source.read_bytes() == before
    read_annotations(tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["unknown"] == "stays"
    with (tmp_path / "b.json.repairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["fix"] for row in rows] == [name] * len(repairs) and rows[0]["track"] == "7"
    assert fix_file(tmp_path / "b.json", tmp_path / "c.json", []) == []
    assert not (tmp_path / "c.json").exists()


def test_what_the_repairs_make(tmp_path: Path) -> None:
    def repaired(name: str) -> dict[str, Any]:
        fix_file(write(tmp_path / "a.json", {"id": 1, **WRONG[name]}), tmp_path / "b.json", [])
        row: dict[str, Any] = json.loads((tmp_path / "b.json").read_text())["annotations"][0]
        return row

    assert repaired("short_polygon")["segmentations"] == [None, *MASKS[1:]]
    assert repaired("empty_mask")["segmentations"] == [None, MASKS[1], None]
    assert repaired("segmentation_length")["segmentations"] == MASKS
    assert repaired("box_mismatch")["bboxes"] == [[x, 5, 30, 30] for x in (2, 4, 6)]
    assert repaired("sounding_intervals")["sounding"] == [[0, 1.5], [2, 3]]


def test_whole_tracks(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.json",
        {"id": 1, "segmentations": MASKS},
        {"id": 1, "segmentations": MASKS[::-1]},
        {"id": 2, "segmentations": MASKS},
        {"id": 3, "segmentations": [None, None, None]},
    )
    repairs = fix_file(source, tmp_path / "b.json", [])
    assert [(repair.fix, repair.track) for repair in repairs] == [
        ("duplicate_id", 1), ("duplicate_tracks", 2), ("empty_track", 3),
    ]  # fmt: skip
    assert [track.id for track in read_annotations(tmp_path / "b.json").tracks] == [1, 4]


def test_masks_change_on_request_only(tmp_path: Path) -> None:
    dirty = square(2)
    dirty[20, 10] = False  # a pinhole
    dirty[38, 58] = True  # an island far away
    source = write(tmp_path / "a.json", {"id": 1, "segmentations": [encode(dirty), None, None]})
    assert fix_file(source, tmp_path / "b.json", []) == []
    fix_file(source, tmp_path / "b.json", ["specks", "pinholes"])
    mask = read_annotations(tmp_path / "b.json").tracks[0].segmentations[0]
    assert np.array_equal(decode(mask, HEIGHT, WIDTH), square(2))


def test_what_needs_a_person_is_left_as_it_is(tmp_path: Path) -> None:
    source = write(
        tmp_path / "a.json",
        {"id": 1, "segmentations": [{"size": [HEIGHT, WIDTH], "counts": "no code"}, MASKS[1], MASKS[2]]},
        {"id": 2, "segmentations": MASKS[:2]},
        {"id": "x", "segmentations": [None]},
    )
    assert fix_file(source, tmp_path / "b.json", []) == []


def test_a_folder_is_repaired_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels").mkdir()
    write(tmp_path / "labels" / "a.json", {"id": 1, **WRONG["empty_mask"]})
    clean = write(tmp_path / "labels" / "b.json", {"id": 1, "segmentations": MASKS})
    fix(tmp_path / "labels", None, [])
    said = capsys.readouterr().out
    assert "empty_mask       2" in said and "labels-fixed" in said
    assert (tmp_path / "labels-fixed" / "b.json").read_bytes() == clean.read_bytes()
    with pytest.raises(AvisError, match=r"something already.*labels-fixed"):
        fix(tmp_path / "labels", None, [])
    (tmp_path / "labels" / "a.json").unlink()
    fix(tmp_path / "labels", tmp_path / "other", [])
    assert not (tmp_path / "other").exists()


def test_nothing_is_repaired_that_says_more_than_its_masks(tmp_path: Path) -> None:
    """Heard and not seen, drawn alike by two people, undecodable, of one of two videos with one id."""
    source = write(
        tmp_path / "a.json",
        {"id": 1, "segmentations": MASKS, "annotator": "Ada"},
        {"id": 2, "segmentations": MASKS, "annotator": "Bob"},
        {"id": 3, "segmentations": [None, None, None], "sounding": [[0, 3]]},
        {"id": 4, "segmentations": [{}, "", 0]},
        {"id": 5, "segmentations": MASKS, "bboxes": [[10**400, 1, 1, 1], None, None]},
    )
    repairs = fix_file(source, tmp_path / "b.json", [])
    assert [(repair.fix, repair.track) for repair in repairs] == [("box_mismatch", 5)]
    document = json.loads(
        write(tmp_path / "c.json", {"id": 1, "segmentations": [[], *MASKS[1:]]}).read_text()
    )
    document["videos"].append({**document["videos"][0], "height": 5, "width": 5})
    (tmp_path / "c.json").write_text(json.dumps(document))
    assert fix_file(tmp_path / "c.json", tmp_path / "d.json", []) == []


@pytest.mark.parametrize(
    ("content", "message"), [("<xml>", "not valid JSON.*avis convert"), ("[]", "no AVISeg JSON")]
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(AvisError, match=message):
        fix(tmp_path / "a.json", None, [])
    with pytest.raises(AvisError, match=r"no repair 'holes'.*specks"):
        fix(tmp_path / "a.json", None, ["holes"])
