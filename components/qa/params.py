"""The `qa` block of params.yaml."""

from typing import Literal

from pydantic import Field

from components.core.run.params import Block


class QaParams(Block):
    """What to check and how strictly; `avis qa --list` shows every check.

    thresholds: a check's name to the threshold that replaces its own.
    severities: a check's name to the severity that replaces its own; blocking findings fail the stage.
    skip: names of checks not to run.
    waivers: a YAML file of findings that somebody looked at and accepts.
    agreements: the CSV of `avis agree`, how well people agree on clips that were annotated twice.
    suspicions: the CSV of `avis suspect`, labels that a trained model doubts.
    reference: a YAML or JSON file of the counts that the set should have; null compares with nothing.
    clip_timeout_s: longest time for one clip.
    findings_shown: most findings drawn in the report; the table of findings holds all.
    previews: clean clips shown with their masks at the report's end.
    """

    thresholds: dict[str, float] = Field(default={})
    severities: dict[str, Literal["blocking", "warning", "info"]] = Field(default={})
    skip: list[str] = Field(default=[])
    waivers: str | None = "data/qa-waivers.yaml"
    agreements: str | None = None
    suspicions: str | None = None
    reference: str | None = None
    clip_timeout_s: float = Field(default=120.0, gt=0)
    findings_shown: int = Field(default=120, ge=0, le=1_000_000)
    previews: int = Field(default=8, ge=0, le=1_000_000)
