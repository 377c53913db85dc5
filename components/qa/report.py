"""The report: one HTML page without any other file, for a person to work through."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from components.core.records.annotations import SPLITS
from components.core.reports.page import render_page
from components.core.run.engine import run_items
from components.core.run.files import write_text
from components.core.run.params import EngineParams
from components.core.run.paths import Paths
from components.qa.checks import GROUPS, Check
from components.qa.dataset import Dataset
from components.qa.findings import SEVERITIES, Finding
from components.qa.label_files import ClipItem
from components.qa.params import QaParams
from components.qa.pictures import Drawing, Request, draw
from components.qa.waivers import Waiver

_GROUPS_SHOWN = 12  # annotators, categories or sources in a table of the report
_SHOWN_PER_CHECK = 24  # so that one noisy check does not push out the others
_SOURCES_ON_SHEET, _CLIPS_OF_SOURCE = 12, 5  # so that the page stays small
Place = tuple[str, str]  # split and name of a clip


def write_report(
    paths: Paths,
    dataset: Dataset,
    findings: Sequence[Finding],
    unused_waivers: Sequence[Waiver],
    checks: Sequence[Check],
    metrics: Mapping[str, float],
    params: QaParams,
    engine: EngineParams,
) -> None:
    """Write data/qa/report.html."""
    clips = {
        (clip.split, clip.name): clip for document in dataset.documents.values() for clip in document.clips
    }
    shown = _choose(findings, params.findings_shown)
    previews = _choose_previews(dataset, findings, params.previews)
    sheet, all_sources = _choose_sheet(dataset)
    on_sheet = [place for places in sheet.values() for place in places]
    drawings, preview_drawings, sheet_drawings = _draw(clips, dict(shown), previews, on_sheet, params, engine)
    open_findings = [finding for finding in findings if not finding.waived]
    facts = {(clip.split, clip.name): clip for clip in dataset.clips}
    page = render_page(
        "qa/report.html",
        metrics=metrics,
        splits=SPLITS,
        severities=SEVERITIES,
        blocking=sum(finding.severity == "blocking" for finding in open_findings),
        shown=[(finding, drawings.get(number)) for number, finding in shown],
        total=len(findings),
        checks=checks,
        groups=GROUPS,
        counts=Counter(finding.check for finding in open_findings),
        explanations={check.name: check for check in checks},
        categories=_categories(dataset),
        dropped=dataset.failed,
        unused_waivers=unused_waivers,
        previews=[(facts[place], preview_drawings[place]) for place in previews if place in preview_drawings],
        sheet={
            origin: [(facts[place], sheet_drawings[place]) for place in places if place in sheet_drawings]
            for origin, places in sheet.items()
        },
        all_sources=all_sources,
        changes=dataset.labels.changes.rows(),
        changed=dataset.labels.changes.line(),
        links={name: _link(paths, name) for _, name in clips},
        start_s={finding: _start_s(clips, finding) for _, finding in shown},
        groups_of={kind: _counts(open_findings, kind) for kind in ("annotator", "category", "source")},
    )
    write_text(paths.qa / "report.html", page)


def _choose(findings: Sequence[Finding], most: int) -> list[tuple[int, Finding]]:
    """The findings to draw, with their numbers: the first of every check in turn, in the given order."""
    numbered = list(enumerate(findings))
    chosen: list[tuple[int, Finding]] = []
    for _, group in groupby(numbered, key=lambda entry: (bool(entry[1].waived), entry[1].severity)):
        by_check: Counter[str] = Counter()
        for number, finding in group:
            by_check[finding.check] += 1
            if by_check[finding.check] <= _SHOWN_PER_CHECK:
                chosen.append((number, finding))
    return chosen[:most]


def _choose_previews(dataset: Dataset, findings: Sequence[Finding], most: int) -> list[tuple[str, str]]:
    """Clean clips spread over the set: no finding but of severity info, and something labelled."""
    suspicious = {(finding.split, finding.video) for finding in findings if finding.severity != "info"}
    clean = [
        (clip.split, clip.name)
        for clip in sorted(dataset.clips, key=lambda clip: -len(clip.sounding))
        if clip.masks and (clip.split, clip.name) not in suspicious
    ]
    by_split = {split: [place for place in clean if place[0] == split] for split in SPLITS}
    turns = max(map(len, by_split.values()), default=0)
    return [places[turn] for turn in range(turns) for places in by_split.values() if turn < len(places)][
        :most
    ]


def _choose_sheet(dataset: Dataset) -> tuple[dict[str, list[Place]], int]:
    """Some labelled clips, spread evenly, of each source; and how many sources there are."""
    of_source: dict[str, list[Place]] = {}
    for clip in dataset.clips:
        if clip.masks:
            of_source.setdefault(dataset.origin_of(clip.name), []).append((clip.split, clip.name))
    chosen = {}
    for origin, places in list(of_source.items())[:_SOURCES_ON_SHEET]:
        count = min(_CLIPS_OF_SOURCE, len(places))
        chosen[origin] = [places[int((n + 0.5) * len(places) / count)] for n in range(count)]
    return chosen, len(of_source)


def _draw(
    clips: Mapping[Place, ClipItem],
    shown: Mapping[int, Finding],
    previews: Sequence[Place],
    on_sheet: Sequence[Place],
    params: QaParams,
    engine: EngineParams,
) -> tuple[dict[int, Drawing], dict[Place, Drawing], dict[Place, Drawing]]:
    """Drawings of findings by number, of previews and of the sheet by place; what fails is left out."""
    requests: dict[Place, Request] = {}
    for place in previews:
        requests.setdefault(place, Request(clips[place])).preview = True
    for place in on_sheet:
        requests.setdefault(place, Request(clips[place])).on_sheet = True
    for number, finding in shown.items():
        place = finding.split, finding.video
        if place in clips:
            requests.setdefault(place, Request(clips[place])).findings[number] = finding
    items = [("/".join(place), request) for place, request in requests.items()]
    places = {"/".join(place): place for place in requests}
    drawings: dict[int, Drawing] = {}
    preview_drawings: dict[Place, Drawing] = {}
    sheet_drawings: dict[Place, Drawing] = {}
    for outcome in run_items(
        draw, items, engine=engine, timeout_s=params.clip_timeout_s, label="qa pictures"
    ):
        if outcome.value is None:
            continue
        drawn, place = outcome.value, places[outcome.key]
        drawings |= drawn.findings
        if drawn.preview is not None:
            preview_drawings[place] = drawn.preview
        if drawn.on_sheet is not None:
            sheet_drawings[place] = drawn.on_sheet
    return drawings, preview_drawings, sheet_drawings


def _categories(dataset: Dataset) -> list[tuple[str, dict[str, int], int]]:
    """Category, its tracks in each split, its sounding frames; the most frequent first."""
    tracks = {split: dataset.tracks_of(split) for split in SPLITS}
    sounding: Counter[str] = Counter()
    for clip in dataset.clips:
        sounding.update(clip.sounding)
    names = sorted(sounding, key=lambda name: (-sum(tracks[split].get(name, 0) for split in SPLITS), name))
    return [(name, {split: tracks[split].get(name, 0) for split in SPLITS}, sounding[name]) for name in names]


def _start_s(clips: Mapping[tuple[str, str], ClipItem], finding: Finding) -> float:
    """Where in the clip's video file a finding begins, in seconds."""
    item = clips.get((finding.split, finding.video))
    rate_hz = item.entry.frame_rate_hz if item is not None and item.entry is not None else 1.0
    return round((finding.frame or 0) / rate_hz, 3)


def _counts(findings: Sequence[Finding], kind: str) -> list[tuple[str, dict[str, int]]]:
    """Findings by severity for each annotator, category or source that has any; the most first."""
    counts: dict[str, Counter[str]] = {}
    for finding in findings:
        name = getattr(finding, kind)
        if name:
            counts.setdefault(name, Counter())[finding.severity] += 1
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1].total(), entry[0]))
    return [
        (name, {severity: of_severity[severity] for severity in SEVERITIES})
        for name, of_severity in ordered[:_GROUPS_SHOWN]
    ]


def _link(paths: Paths, name: str) -> str | None:
    """The clip's video file as seen from the report, where there is one."""
    for ending in (".mp4", ".webm", ".mkv", ".mov"):
        if (paths.raw / f"{name}{ending}").is_file():
            return (Path("..") / paths.raw.name / f"{name}{ending}").as_posix()
    return None
