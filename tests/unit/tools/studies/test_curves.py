"""Curves along a parameter and over training, until where a cell beats the floor, a network's cost."""

import json
from pathlib import Path

import pytest

from components.tools.studies.cost import flops_per_frame
from components.tools.studies.curves import learning_curves, lines_along, until_where
from components.tools.studies.definition import StudyParams
from components.tools.studies.effects import effects_of
from components.tools.studies.report import write_report
from components.tools.studies.results import Result
from tests.support.promotion_scores import counts_of
from tests.support.tiny_model import SETTINGS, tiny_card

CLIPS = 24
STUDY = StudyParams(
    title="Noise",
    cells={
        "clean": {},
        "deaf": {"train.model.audio": "none"},
        "white": {"predict.disturb.noise": "white"},
        "shift": {},
        "band": {},
    },
    grids={
        "white": {"predict.disturb.snr_db": [10, 0, -10]},
        "shift": {"predict.disturb.shift_s": [-2, 2.5]},
        "band": {"predict.disturb.band_hz": [[0, 500], [0, 900]]},
    },
    axis=["predict.disturb.snr_db", "predict.disturb.shift_s", "predict.disturb.band_hz"],
    reference="clean",
    floor="deaf",
    metrics=["FSLA"],
    learning_curves=True,
    base={"annotate.category_map": "map.yaml"},
)
FOUND = {  # of four frames
    "clean": 4,
    "deaf": 2,
    "white, snr_db 10": 4,
    "white, snr_db 0": 3,
    "white, snr_db -10": 1,
    "shift, shift_s -2": 2,
    "shift, shift_s 2.5": 2,
    "band, band_hz [0, 500]": 3,
}


def counts(frames: int):
    return counts_of(dict.fromkeys(range(1, CLIPS + 1), frames), clips=CLIPS)


def result(folder: Path, frames: int, history: str = "") -> Result:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.csv").write_text(history)
    training = {"parameters": 1, "seconds": 1.0, "steps_per_s": 0.5}
    return Result(folder, {"flops_per_frame": 2.5e9}, training, {}, {"official": {}}, counts(frames))


def test_a_curve_is_what_differs_in_the_axis_alone_from_low_to_high() -> None:
    axis, shifts, bands = STUDY.axes
    assert lines_along(STUDY, axis, FOUND) == {
        "white": [(-10.0, "white, snr_db -10"), (0.0, "white, snr_db 0"), (10.0, "white, snr_db 10")]
    }
    assert list(lines_along(STUDY, shifts, FOUND)) == ["shift"]
    assert lines_along(STUDY, bands, FOUND) == {}, "a band is no number"
    one_left = {name: frames for name, frames in FOUND.items() if name != "shift, shift_s -2"}
    assert lines_along(STUDY, shifts, one_left) == {}, "one point is no curve"


def test_until_where_the_sound_still_helps() -> None:
    to_floor = effects_of(
        {name: [counts(frames)] for name, frames in FOUND.items()},
        reference="deaf", metrics=["FSLA"], resamples=200, seed=1,
    )  # fmt: skip
    white, shifted = until_where(to_floor, STUDY)
    assert white == (
        "white: FSLA is higher than deaf's at snr_db 0, 10, no longer seen to be at \N{MINUS SIGN}10; "
        "the curves meet near \N{MINUS SIGN}5."
    )
    assert shifted == "shift: FSLA is nowhere seen to be higher than deaf's (shift_s \N{MINUS SIGN}2, 2.5)."


def test_learning_over_steps_and_over_time(tmp_path: Path) -> None:
    rows = "step,loss,val_FSLA\n0,,10\n30,5.0,\n60,4.0,{}\n"
    slow = [result(tmp_path / "a", 1, rows.format(40)), result(tmp_path / "b", 1, rows.format(50))]
    assert slow[0].validated("FSLA") == [(0, 10.0), (60, 40.0)] and slow[0].validated("HOTA") == []
    charts = learning_curves({"slow": slow, "not validated": [result(tmp_path / "c", 1)]}, STUDY)
    assert [title for title, _ in charts] == [
        "FSLA on val over steps",
        "FSLA on val over minutes of training",
    ]
    assert "not validated" not in charts[0][1] and "slow" in charts[0][1]


@pytest.mark.slow
def test_the_report_has_curves_the_floor_the_cost_and_the_table_of_categories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("map.yaml").write_text("cat: dog\nfly: null\n")
    rows = "step,loss,val_FSLA\n0,,10\n60,4.0,40\n"
    results = {name: [result(tmp_path / "cells" / name, frames, rows)] for name, frames in FOUND.items()}
    findings = write_report(tmp_path / "out", "noise", STUDY, results, {})
    page = (tmp_path / "out/report.html").read_text()
    assert "FSLA over predict.disturb.snr_db" in page and "FSLA over predict.disturb.band_hz" not in page
    assert any(sentence.startswith("white: FSLA is higher than deaf") for sentence in findings.sentences)
    assert "<td>2.5</td>" in page and "FSLA on val over minutes of training" in page
    assert '<td class="text">cat</td><td class="text">dog</td>' in page
    assert '<td class="text">fly</td><td class="text">left out</td>' in page
    (chart,) = [part for part in page.split("<h3>") if part.startswith("FSLA over predict.disturb.snr_db")]
    assert all(name in chart for name in ("white", "clean", "deaf"))


@pytest.mark.slow
def test_operations_of_a_network(tmp_path: Path) -> None:
    def flops(**changes: object) -> float:
        card = tiny_card("avism", {**SETTINGS, **changes})
        (tmp_path / "config.json").write_text(
            json.dumps({"name": "avism", "config": card.config, "short_side_px": 64})
        )
        return flops_per_frame(tmp_path / "config.json")

    whole, deaf = flops(), flops(audio="none")
    # of the sound: VGGish on 96 x 64, six 3 x 3 convolutions of 8 channels, at these sizes
    sizes = [(96 >> n, 64 >> n) for n in (0, 1, 2, 2, 3, 3)]
    convolutions = sum(2 * 9 * h * w * 8 * (1 if n == 0 else 8) for n, (h, w) in enumerate(sizes))
    assert 0.9 * convolutions < whole - deaf < 1.6 * convolutions
    assert flops(audio="features") < whole
    assert flops(backbone="resnet50") > 3 * whole
