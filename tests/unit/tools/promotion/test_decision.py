"""When a challenger is promoted: a gain that is large enough, outside the noise, at no category's cost."""

import json
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from components.tools.promotion.decision import decide
from components.tools.promotion.freshness import freshness
from components.tools.promotion.params import PromotionParams
from components.tools.promotion.report import Candidate, write_report
from tests.support.promotion_scores import clip_name, counts_of

PARAMS = PromotionParams(resamples=400, min_gain_points=1.0, max_category_fall_points=5.0)
CLIPS = 20
FAIR = counts_of(dict.fromkeys(range(1, CLIPS + 1), 2), clips=CLIPS)


def test_the_first_model_becomes_the_champion_unless_it_has_no_score() -> None:
    decision = decide(FAIR, None, PARAMS)
    assert decision.promote and decision.scores["FSLA"] == pytest.approx(50)
    assert "no champion" in decision.reasons[0]


def test_a_clear_gain_is_promoted_and_the_way_back_is_not() -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide(better, FAIR, PARAMS)
    assert decision.promote, decision.reasons
    assert decision.differences["FSLA"].difference == pytest.approx(25)
    back = decide(FAIR, better, PARAMS)
    assert not back.promote and "less than the 1 asked for" in back.reasons[0]


def test_a_gain_of_few_clips_is_noise() -> None:
    lucky = counts_of({n: 4 if n == 1 else 2 for n in range(1, CLIPS + 1)}, clips=CLIPS)
    decision = decide(lucky, FAIR, PARAMS)
    assert decision.differences["FSLA"].difference == pytest.approx(2.5)
    assert not decision.promote and "may be noise" in decision.reasons[0]


def test_a_gain_below_the_threshold_is_refused_however_sure() -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide(better, FAIR, PARAMS.model_copy(update={"min_gain_points": 25.5}))
    assert not decision.promote and "25.5 asked for" in decision.reasons[0]


def test_no_category_may_pay_for_it() -> None:
    # clips of even number show category "bell", the others "horn"
    fair = counts_of(dict.fromkeys(range(1, 61), 2), clips=60)
    uneven = counts_of({n: 1 if n % 2 == 0 else 4 for n in range(1, 61)}, clips=60)
    lenient = decide(uneven, fair, PARAMS.model_copy(update={"max_category_fall_points": 90.0}))
    assert lenient.promote, lenient.reasons
    strict = decide(uneven, fair, PARAMS)
    assert not strict.promote
    assert strict.reasons == [reason for reason in strict.reasons if "bell falls by" in reason]
    assert strict.categories[0].name == "bell" and strict.categories[0].change < -5


def test_other_clips_cannot_be_compared() -> None:
    with pytest.raises(AvisError, match="different clips"):
        decide(counts_of({1: 2}, clips=3), FAIR, PARAMS)


def test_the_report_names_both_models_and_escapes_what_it_shows(tmp_path: Path) -> None:
    better = counts_of(dict.fromkeys(range(1, CLIPS + 1), 3), clips=CLIPS)
    decision = decide(better, FAIR, PARAMS)
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
