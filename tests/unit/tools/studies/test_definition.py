"""Studies' files: which cells they make, and what is said of wrong ones."""

from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.tools.studies.definition import (
    StudyParams,
    parameters_of,
    read_study,
    study_names,
    variant_of,
)

VALUES = {
    "train": {"seed": 1, "steps": 600, "model": {"audio": "vggish"}},
    "variants": {"avism": {"seed": 7}, "deaf": {"model": {"audio": "none"}}},
    "sample": {"max_duration_s": 20},
}


def write(folder: Path, text: str) -> None:
    (folder / "params/studies").mkdir(parents=True, exist_ok=True)
    (folder / "params/studies/one.yaml").write_text(text)


def test_named_cells_and_a_grid_over_each() -> None:
    study = StudyParams(
        title="t",
        cells={"full": {}, "deaf": {"train.model.audio": "none"}},
        grid={"train.steps": [1, 2], "train.schedule": ["step"]},
    )
    assert [cell.name for cell in study.all_cells()] == [
        "full, steps 1, schedule step",
        "full, steps 2, schedule step",
        "deaf, steps 1, schedule step",
        "deaf, steps 2, schedule step",
    ]
    assert study.all_cells()[3].changes == {
        "train.model.audio": "none",
        "train.steps": 2,
        "train.schedule": "step",
    }


def test_a_grid_of_one_cell_is_laid_over_that_of_all() -> None:
    study = StudyParams(
        title="t",
        cells={"clean": {}, "noise": {"predict.disturb.noise": "white"}},
        grids={"noise": {"predict.disturb.snr_db": [10, -5]}},
        axis=["predict.disturb.snr_db"],
    )
    assert [cell.name for cell in study.all_cells()] == ["clean", "noise, snr_db 10", "noise, snr_db -5"]
    assert study.all_cells()[2].changes == {"predict.disturb.noise": "white", "predict.disturb.snr_db": -5}


def test_a_profile_may_have_another_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "title: a\nbase: {train.steps: 2}\ncells: {x: {}}\nprofiles: {big: {base: {}, seeds: 3}}"
    write(tmp_path, text)
    small, big, other = (read_study("one", profile) for profile in (None, "big", "other"))
    assert (small.base, small.seeds, small.profile) == ({"train.steps": 2}, 1, None)
    assert (big.base, big.seeds, big.profile, list(big.cells)) == ({}, 3, "big", ["x"])
    assert (other.base, other.seeds, other.profile) == ({"train.steps": 2}, 1, "other")
    write(tmp_path, text.replace("seeds: 3", "sedes: 3"))
    with pytest.raises(AvisError, match="sedes is no known parameter"):
        read_study("one", "big")


@pytest.mark.parametrize("name", [path.stem for path in Path("params/studies").glob("*.yaml")])
def test_our_studies_can_be_read_for_the_demo_and_for_aviseg(name: str) -> None:
    assert read_study(name, "aviseg-r50").all_cells() and read_study(name).all_cells()
    assert (
        name == "duration" or "aviseg-r50" in read_study(name).profiles
    )  # whose clips are as long as they are


def test_the_parameters_of_a_cell_change_the_variant_and_nothing_of_its_neighbours() -> None:
    study = StudyParams(
        title="t",
        base={"sample.max_duration_s": 30},
        cells={"deaf": {"train.model.audio": "none", "predict.precision": "bf16"}},
    )
    (cell,) = study.all_cells()
    found = parameters_of(study, cell, VALUES, seed=0)
    assert found["variants"] == {"avism": {"seed": 7, "model": {"audio": "none"}}}
    assert found["sample"] == {"max_duration_s": 30} and found["predict"] == {"precision": "bf16"}
    assert found["train"] == VALUES["train"]
    assert VALUES["variants"]["avism"] == {"seed": 7} and VALUES["sample"] == {"max_duration_s": 20}
    assert parameters_of(study, cell, VALUES, seed=2)["variants"]["avism"]["seed"] == 9
    many = {**VALUES, "train": {**VALUES["train"], "seeds": 3}}
    assert parameters_of(study, cell, many, seed=0)["variants"]["avism"]["seeds"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: a\ngrid: {train.steps: []}", "0 cells: there must be 1 to 500"),
        ("title: a\ngrid: {train.steps: [1, 1]}", "two cells are called 'steps 1'"),
        (f"title: a\ngrid: {{train.steps: {list(range(501))}}}", "501 cells: there must be 1 to 500"),
        ("title: a\ncells: {x: {Train: 1}}", "'Train' is no parameter"),
        ("title: a\ncells: {x: {variants.avism.seed: 1}}", "settings of the variant are changed as train"),
        ("title: a\nreference: y\ncells: {x: {}}", "no cell is called 'y'; there are: x"),
        ("title: a\naxis: train.steps\ncells: {x: {}}", "no two cells set train.steps"),
        (
            "title: a\ngrids: {y: {train.steps: [1]}}\ncells: {x: {}}",
            "grids: no cell is called 'y'; there are: x",
        ),
        ("title: a\ngrids: {x: {train.steps: []}}\ncells: {x: {}}", "grids.x.train.steps"),
        ("title: a\nfloor: y\ncells: {x: {}}", "no cell is called 'y'"),
        ("title: a\nseeds: 0", "seeds"),
        ("title: a\nsedes: 3", "study.sedes is no known parameter"),
        ("question: a", "study.title is missing"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, text)
    with pytest.raises(AvisError) as error:
        read_study("one")
    assert message in str(error.value) and "params/studies/one.yaml" in str(error.value)


def test_names_of_studies_and_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "title: a\nvariant: loud")
    assert study_names() == ["one"]
    with pytest.raises(AvisError, match=r"There are: one\. Make one: avis study new two"):
        read_study("two")
    with pytest.raises(AvisError, match="cannot be the name of a study"):
        read_study("../one")
    study = read_study("one")
    with pytest.raises(AvisError, match=r"no variant loud.*There are: avism, deaf"):
        variant_of(study, VALUES)
    with pytest.raises(AvisError, match="steps is no block but 600"):
        parameters_of(
            StudyParams(title="t", base={"train.steps.x.y": 1}),
            StudyParams(title="t").all_cells()[0],
            {"train": {}, "variants": {"avism": {"steps": 600}}},
            seed=0,
        )
