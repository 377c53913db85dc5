"""When a challenger is promoted: a gain that is large enough, outside the noise, at no category's cost."""

import json
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.tools.promotion.decision import OwnStart, decide
from components.tools.promotion.freshness import freshness
from components.tools.promotion.own_start import own_start, variants_of_start
from components.tools.promotion.params import PromotionParams
from components.tools.promotion.report import Candidate, write_report
from tests.support.promotion_scores import clip_name, counts_of, write_scores

PARAMS = PromotionParams(resamples=400, min_gain_points=1.0, max_category_fall_points=5.0)
CLIPS = 20
FAIR = counts_of(dict.fromkeys(range(1, CLIPS + 1), 2), clips=CLIPS)


def test_the_first_model_becomes_the_champion_unless_it_has_no_score() -> None:
    decision = decide([FAIR], [], PARAMS)
    assert decision.promote and decision.scores["FSLA"] == pytest.approx(50)
    assert "no champion" in decision.reasons[0]


def test_a_clear_gain_is_promoted_and_the_way_back_is_not() -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide([better], [FAIR], PARAMS)
    assert decision.promote, decision.reasons
    assert decision.differences["FSLA"].difference == pytest.approx(25)
    back = decide([FAIR], [better], PARAMS)
    assert not back.promote and "less than the 1 asked for" in back.reasons[0]


def test_a_gain_of_few_clips_is_noise() -> None:
    lucky = counts_of({n: 4 if n == 1 else 2 for n in range(1, CLIPS + 1)}, clips=CLIPS)
    decision = decide([lucky], [FAIR], PARAMS)
    assert decision.differences["FSLA"].difference == pytest.approx(2.5)
    assert not decision.promote and "may be noise" in decision.reasons[0]


def test_a_gain_below_the_threshold_is_refused_however_sure() -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide([better], [FAIR], PARAMS.model_copy(update={"min_gain_points": 25.5}))
    assert not decision.promote and "25.5 asked for" in decision.reasons[0]


def test_no_category_may_pay_for_it() -> None:
    # clips of even number show category "bell", the others "horn"
    fair = counts_of(dict.fromkeys(range(1, 61), 2), clips=60)
    uneven = counts_of({n: 1 if n % 2 == 0 else 4 for n in range(1, 61)}, clips=60)
    lenient = decide([uneven], [fair], PARAMS.model_copy(update={"max_category_fall_points": 90.0}))
    assert lenient.promote, lenient.reasons
    strict = decide([uneven], [fair], PARAMS)
    assert not strict.promote
    assert strict.reasons == [reason for reason in strict.reasons if "bell falls by" in reason]
    assert strict.categories[0].name == "bell" and strict.categories[0].change < -5


def test_the_noise_of_training_is_in_the_decision() -> None:
    """One seed gains 25 points for sure; two more show that the recipe may as well lose as many."""
    better, worse = (counts_of(dict.fromkeys(range(1, CLIPS + 1), frames), clips=CLIPS) for frames in (3, 1))
    assert decide([better], [FAIR], PARAMS).promote
    noisy = decide([better, better, worse], [FAIR], PARAMS)
    assert not noisy.promote and "may be noise" in noisy.reasons[0]
    assert noisy.scores["FSLA"] == pytest.approx(175 / 3)
    steady = decide([better, better, better], [FAIR], PARAMS)
    assert steady.promote and "25.00 points (mean of 3 seeds)" in steady.reasons[0]


def test_the_champions_seeds_count_as_the_challengers_do() -> None:
    """Its first training is the worst of three; the model that would take its place is as the others."""
    poor, good = (counts_of(dict.fromkeys(range(1, CLIPS + 1), frames), clips=CLIPS) for frames in (1, 3))
    assert decide([good, good], [poor], PARAMS).promote
    lucky = decide([good, good], [poor, good, good], PARAMS)
    assert not lucky.promote and "may be noise" in lucky.reasons[0]
    assert lucky.differences["FSLA"].other == pytest.approx(175 / 3)
    assert [pair.champion for pair in lucky.clips] == pytest.approx([175 / 3] * CLIPS)
    assert all(pair.challenger > pair.champion > 25 for pair in lucky.categories)
    best = counts_of(dict.fromkeys(range(1, CLIPS + 1), 4), clips=CLIPS)
    clear = decide([best, best], [good, good, good], PARAMS)
    assert clear.promote and "(mean of 2 seeds) over the mean of the champion's 3 seeds" in clear.reasons[0]


def test_a_challenger_that_taught_nothing_is_said_or_refused() -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    strict = PARAMS.model_copy(update={"must_beat_start": True})
    taught, nothing = OwnStart(30.0, 30.5), OwnStart(30.0, 29.5)
    assert decide([better], [FAIR], strict, taught).promote
    said = decide([better], [FAIR], PARAMS, nothing)
    assert said.promote and said.reasons[-1] == (
        "but it did not beat its own start: the mean of FSLA and HOTA on the validation clips was "
        "30.00 before training and is 29.50"
    )
    refused = decide([better], [FAIR], strict, nothing)
    assert not refused.promote and refused.reasons[0].startswith("it did not beat its own start")
    assert not decide([better], [], strict, nothing).promote
    worse = decide([FAIR], [better], PARAMS, nothing)
    assert not worse.promote and worse.reasons[-1].startswith("it did not beat its own start")


def test_the_start_is_a_variant_of_the_same_weights(tmp_path: Path) -> None:
    """Its training seemed to gain on val; on the test clips it lost a frame of each."""
    file = tmp_path / "params.yaml"
    variants = {"ours": {}, "start": {"checkpoint": "./w.st"}, "other": {"checkpoint": "v.st"}}
    file.write_text(json.dumps({"train": {"start_from": "w.st"}, "variants": variants}))
    assert variants_of_start("ours", file) == ["start"] and variants_of_start("start", file) == []
    paths, params = Paths(tmp_path), PARAMS.model_copy(update={"variant": "ours"})
    assert own_start([FAIR], ["start"], params, paths) is None
    for name, field in (("ours", "start_from"), ("start", "checkpoint")):
        paths.model(name).mkdir(parents=True)
        card = {"name": "avism", "config": {"channels": 8}}
        (paths.model(name) / "config.json").write_text(json.dumps(card))
        run = {"run_id": name, field: {"file": "w.st", "sha256": "a1"}}
        (paths.model(name) / "run.json").write_text(json.dumps(run))
    scores = {"start_FSLA": 50.0, "kept_FSLA": 45.0, "start_HOTA": 30.0, "kept_HOTA": 45.0}
    (paths.model("ours") / "metrics.json").write_text(json.dumps(scores))
    assert own_start([FAIR], ["start"], params, paths) == OwnStart(40.0, 45.0)
    paths.evaluation("start").mkdir(parents=True)
    write_scores(paths.evaluation("start"), counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS))
    found = own_start([FAIR], ["start"], params, paths)
    assert found is not None and found.name == "start" and found.difference is not None
    assert found.difference.difference == pytest.approx(-25)
    decision = decide([FAIR], [], PARAMS, found)
    assert decision.reasons[-1] == (
        "but it is worse than its own start (the variant start) on the test clips: FSLA -25.00 points"
    )
    candidate = Candidate(4, {}, {})
    write_report(tmp_path / "report", decision, PARAMS, challenger=candidate, champion=None, clips=CLIPS)
    page = (tmp_path / "report" / "promotion.html").read_text()
    assert "40.00 before training, 45.00 after it (+5.00)" in page and "FSLA of start" in page
    assert json.loads((tmp_path / "report" / "promotion.json").read_text())["start"]["kept"] == 45.0


def test_other_clips_cannot_be_compared() -> None:
    with pytest.raises(AvisError, match="different clips"):
        decide([counts_of({1: 2}, clips=3)], [FAIR], PARAMS)


def test_the_report_names_both_models_and_escapes_what_it_shows(tmp_path: Path) -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide([better], [FAIR], PARAMS)
    old = Candidate(3, {"commit": "abc"}, {"train.seed": "1", "steps": "2"})
    new = Candidate(4, {"commit": "<script>x</script>"}, {"train.seed": "7", "steps": "2"})
    write_report(tmp_path, decision, PARAMS, challenger=new, champion=old, clips=CLIPS)
    page = (tmp_path / "promotion.html").read_text()
    assert "version 4" in page and "version 3" in page and "+25.00" in page and "train.seed" in page
    assert "<script>" not in page
    document = json.loads((tmp_path / "promotion.json").read_text())
    assert document["promote"] and document["differences"]["FSLA"]["difference"] == pytest.approx(25)
    assert document["parameters_changed"] == [{"name": "train.seed", "champion": "1", "challenger": "7"}]
    assert len(document["clips"]) == CLIPS


def test_a_drop_on_fresh_clips_is_told_and_clips_of_the_training_count_for_neither() -> None:
    found = {n: 4 if n <= 10 else 1 for n in range(1, CLIPS + 1)}
    counts = counts_of(found, clips=CLIPS)
    known = {clip_name(n) for n in range(1, 11)}
    told = freshness(counts, known=known, trained_on=set(), params=PARAMS)
    assert (told.fresh_clips, told.known_clips) == (10, 10)
    assert told.change == pytest.approx(-75) and told.dropped and told.high < 0

    trained = {clip_name(n) for n in range(11, 20)}
    left = freshness(counts, known=known, trained_on=trained, params=PARAMS)
    assert left.fresh_clips == 1 and left.fresh == pytest.approx(25)
    assert not left.dropped  # one clip tells nothing
    none = freshness(counts, known={*known, clip_name(20)}, trained_on=trained, params=PARAMS)
    assert none.fresh is None and not none.dropped
    calm = freshness(FAIR, known=known, trained_on=set(), params=PARAMS)
    assert calm.change == pytest.approx(0) and not calm.dropped
