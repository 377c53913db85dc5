"""Scores of cells, their differences, the correction for many comparisons, and what is said of them."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from components.tools.studies.definition import StudyParams
from components.tools.studies.effects import LEVEL, Effect, draws_for, effects_of, holm, in_words
from components.tools.studies.report import write_report
from components.tools.studies.results import Result
from tests.support.promotion_scores import counts_of

CLIPS = 24
PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def counts(frames: int, noisy: int = 0):
    """Of clips whose square is found in so many of four frames, in the first `noisy` ones in one more."""
    return counts_of({n: frames + (n <= noisy) for n in range(1, CLIPS + 1)}, clips=CLIPS)


def test_holm_against_worked_values() -> None:
    # as R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") prints them
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.9, 0.8]) == [1.0, 1.0]


@given(PROBABILITIES)
def test_holm_only_raises_p_keeps_the_order_and_is_at_most_bonferroni(values: list[float]) -> None:
    found = holm(values)
    for before, after in zip(values, found, strict=True):
        assert before <= after <= min(1.0, before * len(values)) + 1e-12
    ordered = [after for _, after in sorted(zip(values, found, strict=True))]
    assert all(one <= two for one, two in pairwise(ordered))


@pytest.mark.parametrize("comparisons", [1, 30, 200])
def test_with_so_many_draws_the_smallest_p_survives_the_correction(comparisons: int) -> None:
    draws = draws_for(comparisons)
    assert holm([1 / (draws + 1)] + [1.0] * (comparisons - 1))[0] < LEVEL
    assert draws < 2.1 * comparisons / LEVEL, "and no more than that takes"


def test_a_clear_effect_one_in_the_noise_and_one_of_other_clips() -> None:
    trainings = {
        "full": [counts(3), counts(3, 1)],
        "worse": [counts(1), counts(1, 1)],
        "alike": [counts(3, 1), counts(3)],
        "longer": [counts_of({1: 3, 2: 3}, clips=3)],
        "failed": [],
    }
    found = effects_of(trainings, reference="full", metrics=["FSLA", "HOTA"], resamples=500, seed=1)
    assert list(found) == ["full", "worse", "alike", "longer"]
    worse, alike = found["worse"]["FSLA"], found["alike"]["FSLA"]
    assert worse.is_clear and worse.difference.difference == pytest.approx(-50.0)
    assert worse.low < worse.value < worse.high and worse.deviation > 0
    assert not alike.is_clear and alike.difference.difference == pytest.approx(0.0)
    assert found["full"]["FSLA"].difference is None and found["longer"]["FSLA"].difference is None
    p = [effect.p for row in found.values() for effect in row.values() if effect.p is not None]
    raw = [one.difference.p for row in found.values() for one in row.values() if one.p is not None]
    assert len(p) == 4 and p == holm(raw)

    assert "worse: FSLA is lower than full's (\N{MINUS SIGN}50.0 points" in in_words(
        "worse", "FSLA", worse, "full"
    )
    assert "p < 0.001 after correction" not in in_words("alike", "FSLA", alike, "full")
    widest = max(abs(alike.difference.low), abs(alike.difference.high))
    said = in_words("alike", "FSLA", alike, "full")
    assert "no difference in FSLA to full seen" in said and f"more than {widest:.1f} points would" in said
    assert "no clips in common" in in_words("longer", "FSLA", found["longer"]["FSLA"], "full")
    assert "one clip alone says nothing" in in_words(
        "x", "FSLA", Effect(1.0, None, None, None, found["worse"]["FSLA"].difference), "full"
    )


def test_the_report_shows_what_there_is_and_names_what_is_not(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = StudyParams(
        title="Steps & <noise>",
        grid={"train.steps": [10, 20, 40]},
        axis="train.steps",
        metrics=["FSLA"],
        published={"steps 20": {"FSLA": 61.25}},
    )

    def result(frames: int) -> list[Result]:
        scores = {"official": {"FSLA": 12.5}}
        timing = {"seconds_per_frame": 0.01}
        return [Result(tmp_path, {}, {"parameters": 1234, "seconds": 90.0}, timing, scores, counts(frames))]

    results = {"steps 10": result(1), "steps 20": result(3)}
    findings = write_report(tmp_path / "out", "steps", study, results, {"steps 40": "out of <memory>"})
    page = (tmp_path / "out/report.html").read_text()
    assert "Steps &amp; &lt;noise&gt;" in page and "out of &lt;memory&gt;" in page
    assert "Without a result: steps 40" in page and "61.2" in page and "12.5" in page
    assert "FSLA over train.steps" in page and "FSLA: difference to steps 10" in page
    (sentence,) = findings.sentences
    assert (
        sentence.startswith("steps 20: FSLA is higher than steps 10's (+50.0 points")
        and str(escape(sentence)) in page
    )
    header, first, *_ = (tmp_path / "out/table.csv").read_text().splitlines()
    assert header.startswith("cell,changes,seeds,FSLA,") and first.startswith(
        "steps 10,train.steps: 10,1,25.0,"
    )
    assert (tmp_path / "out/table.md").read_text().splitlines()[3].startswith("| steps 20 | 75.0 (+50.0 [")
    tex = (tmp_path / "out/table.tex").read_text()
    assert r"steps 20 & 75.0 (+50.0 [" in tex and tex.startswith(r"\begin{tabular}{ll}")
