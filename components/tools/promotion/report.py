"""The page and the JSON of a promotion: what was decided, by which numbers, between which two models."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core.metrics.accumulate import HEADLINES
from components.core.reports.page import DASH, render_page
from components.core.run.files import write_json, write_text
from components.tools.promotion.decision import CATEGORY_METRIC, Decision
from components.tools.promotion.params import PromotionParams

PAGE, DOCUMENT = "promotion.html", "promotion.json"
_CLIPS_SHOWN = 12


@dataclass(frozen=True)
class Candidate:
    """One of the two models, for the reader: its version, what it is made of, in words, its parameters."""

    version: int
    facts: Mapping[str, str]
    parameters: Mapping[str, str]


def write_report(
    folder: Path,
    decision: Decision,
    params: PromotionParams,
    *,
    challenger: Candidate,
    champion: Candidate | None,
    clips: int,
) -> None:
    """Write promotion.html and promotion.json.

    Args:
        folder: made if it is not there.
        decision: with its numbers.
        params: the rule.
        challenger, champion: the two models; no champion for the first one.
        clips: how many both were scored on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **decision.document(),
        "rule": params.model_dump(),
        "clips_scored": clips,
        "parameters_changed": [
            {"name": name, "champion": old, "challenger": new}
            for name, old, new in _changed(champion.parameters if champion else {}, challenger.parameters)
        ]
        if champion
        else None,
        "challenger": {"version": challenger.version, **challenger.facts},
        "champion": None if champion is None else {"version": champion.version, **champion.facts},
    }
    write_json(folder / DOCUMENT, document)
    shown = sorted({*decision.clips[:_CLIPS_SHOWN], *decision.clips[::-1][:_CLIPS_SHOWN]}, key=_by_change)
    changed = [] if champion is None else _changed(champion.parameters, challenger.parameters)
    champion_facts: Mapping[str, str] = {} if champion is None else champion.facts
    names = dict.fromkeys([*challenger.facts, *champion_facts])
    page = render_page(
        "tools/promotion/report.html",
        decision=decision,
        params=params,
        challenger=challenger,
        champion=champion,
        clips=clips,
        headlines=HEADLINES,
        category_metric=CATEGORY_METRIC,
        shown_clips=[pair for pair in shown if pair.change],
        clip_metric=params.metric if params.metric != "mAP" else "FSLA",
        categories=[pair for pair in decision.categories if pair.change is not None],
        facts=[(name, champion_facts.get(name, DASH), challenger.facts.get(name, DASH)) for name in names],
        parameters=changed,
    )
    write_text(folder / PAGE, page)


def _changed(champion: Mapping[str, str], challenger: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Parameters that differ: name, the champion's value, the challenger's; "-" for none."""
    names = sorted({*champion, *challenger})
    both = [(name, champion.get(name, "-"), challenger.get(name, "-")) for name in names]
    return [row for row in both if row[1] != row[2]]


def _by_change(pair: object) -> float:
    change = getattr(pair, "change", None)
    return 0.0 if change is None else float(change)
