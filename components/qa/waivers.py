"""Findings that somebody looked at and accepts: data/qa-waivers.yaml, kept in git."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from components.core.run.errors import AvisError
from components.core.run.params import Block
from components.qa.findings import Finding


class Waiver(Block):
    """One accepted finding. Without `video` it holds for all clips, without `track` for all tracks.

    video: "" means findings about the set or a split, not about a clip.
    frame: the finding's first frame; without it the waiver holds for all frames.
    message: the finding's very words, for findings that no track and no frame tells apart.
    """

    check: str
    split: str | None = None
    video: str | None = None
    track: int | None = None
    frame: int | None = None
    message: str | None = None
    reason: str = Field(min_length=1)
    author: str = Field(min_length=1)

    def covers(self, finding: Finding) -> bool:
        """Whether the finding is meant."""
        return (
            finding.check == self.check
            and self.split in (None, finding.split)
            and self.video in (None, finding.video)
            and self.track in (None, finding.track)
            and self.frame in (None, finding.frame)
            and self.message in (None, finding.message)
        )


def read_waivers(path: Path | None, known_checks: Collection[str]) -> list[Waiver]:
    """The waivers of a file, none where there is no file.

    Raises:
        AvisError: the file is no list of waivers, or names an unknown check.
    """
    import yaml

    if path is None or not path.is_file():
        return []
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AvisError(f"The waivers are not valid YAML: {error}", where=str(path)) from None
    if not isinstance(content, list):
        raise AvisError(
            "The waivers are not a list", where=str(path), fix="Begin each waiver with `- check: …`."
        )
    waivers = []
    for number, entry in enumerate(content, start=1):
        where = f"{path}, waiver {number}"
        try:
            waiver = Waiver.model_validate(entry)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the entry"
            raise AvisError(
                f"{place}: {first['msg']}",
                where=where,
                fix="Allowed: check, split, video, track, frame, message, reason, author.",
            ) from None
        if waiver.check not in known_checks:
            raise AvisError(
                f"There is no check {waiver.check!r}", where=where, fix=f"Known: {', '.join(known_checks)}."
            )
        waivers.append(waiver)
    return waivers


def apply_waivers(findings: list[Finding], waivers: list[Waiver]) -> tuple[list[Finding], list[Waiver]]:
    """The findings, those that a waiver covers marked so, and the waivers that cover nothing any more."""
    used: set[int] = set()
    marked = []
    for finding in findings:
        for number, waiver in enumerate(waivers):
            if waiver.covers(finding):
                used.add(number)
                finding = replace(finding, waived=f"{waiver.reason} ({waiver.author})")
                break
        marked.append(finding)
    return marked, [waiver for number, waiver in enumerate(waivers) if number not in used]
