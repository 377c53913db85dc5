"""The qa stage: check every clip and the set, write the report, then let nothing blocking pass."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

from components.core.clips.index import read_media_index
from components.core.raw.clip_names import source_of
from components.core.records.annotations import SPLITS
from components.core.records.work_file import WorkFile
from components.core.run.engine import run_items
from components.core.run.errors import AvisError
from components.core.run.files import replace_file, write_json
from components.core.run.params import EngineParams, read_block
from components.core.run.paths import Paths
from components.core.run.process import run_stage
from components.core.storage.mirror import with_local_media
from components.core.text.redaction import redact_all
from components.core.tracking.run import Run, data_run
from components.qa.checked_clip import Clip
from components.qa.checks import Check, all_checks, chosen_checks
from components.qa.dataset import ClipFacts, Dataset, facts_of
from components.qa.findings import SEVERITIES, Finding
from components.qa.label_files import ClipItem, read_split, shown
from components.qa.label_summary import read_label_summary
from components.qa.params import QaParams
from components.qa.report import write_report
from components.qa.tables.agreements import read_agreements
from components.qa.tables.suspicions import read_suspicions
from components.qa.waivers import Waiver, apply_waivers, read_waivers

_NAMED_IN_ERROR = 3


@dataclass
class Outcome:
    """What the stage found; findings sorted by severity, waived ones last."""

    dataset: Dataset
    findings: list[Finding]
    unused_waivers: list[Waiver]

    @property
    def blocking(self) -> list[Finding]:
        """What fails the stage."""
        return [finding for finding in self.findings if finding.severity == "blocking" and not finding.waived]

    def metrics(self, checks: Sequence[Check]) -> dict[str, float]:
        """Counts as flat numbers: of the set, and of findings that are not waived."""
        open_findings = [finding for finding in self.findings if not finding.waived]
        numbers = self.dataset.metrics()
        numbers["clips_unchecked"] = len(self.dataset.failed)
        for severity in SEVERITIES:
            numbers[f"findings_{severity}"] = sum(finding.severity == severity for finding in open_findings)
        numbers["findings_waived"] = len(self.findings) - len(open_findings)
        for agreement in self.dataset.agreements:
            if not agreement.video:  # all clips together
                numbers |= {
                    f"agreement_{name}": value
                    for name, value in (("hota", agreement.hota), ("fsla", agreement.fsla))
                    if value is not None
                }
        for check in checks:
            numbers[f"check_{check.name}"] = sum(finding.check == check.name for finding in open_findings)
        return numbers


def main() -> None:
    """Run the stage as a process, with what params.yaml says."""

    def work() -> None:
        params = read_block("qa", QaParams)
        with data_run("qa", params=params.model_dump()) as run:
            qa(params, read_block("engine", EngineParams), Paths(), run)

    run_stage("qa", work)


def list_all_checks() -> None:
    """Print every check: severity and threshold, what it finds, what to do about it."""
    import textwrap

    group = ""
    for name, check in all_checks().items():
        if check.group != group:
            group = check.group
            print(f"{group.upper()}\n")
        threshold = "" if check.threshold is None else f", threshold {check.threshold:g} {check.unit}"
        print(f"{name}  ({check.severity}{threshold})")
        for text in (check.explanation, f"To do: {check.fix}"):
            print(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    "))
        print()


def qa(params: QaParams, engine: EngineParams, paths: Paths, run: Run) -> Outcome:
    """Check data/annotations and data/media; write data/qa/{report.html, findings.parquet, metrics.json}.

    Without blocking findings also data/qa/gate.json, always the same bytes.

    Raises:
        AvisError: inputs cannot be read at all, or blocking findings are not waived; in the latter case
            the report is written first.
    """
    start = time.monotonic()
    (paths.qa / "gate.json").unlink(missing_ok=True)
    checks = chosen_checks(params)
    waivers = read_waivers(Path(params.waivers) if params.waivers else None, list(all_checks()))
    paths = with_local_media(paths)
    media = read_media_index(paths.media / "index.parquet")
    work = WorkFile(paths.qa)
    documents = {
        split: read_split(paths.annotations / f"{split}.json", split, paths.media, media, work)
        for split in SPLITS
    }
    dataset = Dataset(documents, media, labels=read_label_summary(paths.annotations / "summary.json"))
    if params.agreements is not None:
        dataset.agreements = read_agreements(Path(params.agreements))
    if params.suspicions is not None:
        dataset.suspicions = read_suspicions(Path(params.suspicions))
    findings = _check_clips(dataset, checks, params, engine)
    findings += [finding for check in checks for finding in check.check_set(dataset)]
    findings = _attributed(findings, dataset)
    findings, unused = apply_waivers(findings, waivers)
    outcome = Outcome(dataset, sorted(findings, key=_order), unused)
    metrics = outcome.metrics(checks)
    _write_findings(paths.qa / "findings.parquet", outcome.findings)
    write_report(paths, outcome.dataset, outcome.findings, unused, checks, metrics, params, engine)
    write_json(paths.qa / "metrics.json", metrics)
    run.metrics({**metrics, "check_duration_s": time.monotonic() - start})
    run.artifact(paths.qa / "report.html")
    run.artifact(paths.qa / "findings.parquet")
    _say(outcome, metrics, paths)
    # Training waits for this file and not for the numbers: they change with every rule, the gate does not.
    write_json(paths.qa / "gate.json", {"passed": True})
    return outcome


def _check_clips(
    dataset: Dataset, checks: Sequence[Check], params: QaParams, engine: EngineParams
) -> list[Finding]:
    clips = [clip for document in dataset.documents.values() for clip in document.clips]
    items = [(f"{number}: {clip.split}/{clip.name}", clip) for number, clip in enumerate(clips)]
    by_key = dict(items)
    results: dict[str, tuple[list[Finding], ClipFacts]] = {}
    for outcome in run_items(
        partial(check_clip, checks=checks), items, engine=engine, timeout_s=params.clip_timeout_s, label="qa"
    ):
        if outcome.value is not None:
            results[outcome.key] = outcome.value
        else:
            clip = by_key[outcome.key]
            dataset.failed[clip.split, clip.name] = outcome.message
    ordered = [results[key] for key, _ in items if key in results]  # whatever order they were finished in
    dataset.clips = [facts for _, facts in ordered]
    return [finding for found, _ in ordered for finding in found]


def check_clip(item: ClipItem, checks: Sequence[Check]) -> tuple[list[Finding], ClipFacts]:
    """All findings in one clip, and its facts. Runs in a worker."""
    clip = Clip(item)
    findings = [finding for check in checks for finding in check.check(clip)]
    facts = facts_of(clip)
    facts.remembered = {
        check.name: memory for check in checks if (memory := check.remember(clip)) is not None
    }
    return findings, facts


def _attributed(findings: Sequence[Finding], dataset: Dataset) -> list[Finding]:
    """The findings with their track's category and annotator and their clip's source."""
    places = {(finding.split, finding.video) for finding in findings}
    tracks: dict[tuple[str, str, int], tuple[str, str]] = {}
    annotators: dict[tuple[str, str], str] = {}
    for document in dataset.documents.values():
        for clip in document.clips:
            if (clip.split, clip.name) not in places:
                continue
            people = set()
            for row in clip.tracks:
                annotator = row.get("annotator")
                annotator = shown(annotator) if isinstance(annotator, str) else ""
                category = clip.categories.get(row.get("category_id", -1), "")
                tracks[clip.split, clip.name, row["id"]] = category, annotator
                people.add(annotator)
            annotators[clip.split, clip.name] = people.pop() if len(people) == 1 else ""
    attributed = []
    for finding in findings:
        category, annotator = "", annotators.get((finding.split, finding.video), "")
        if finding.track is not None:
            category, annotator = tracks.get(
                (finding.split, finding.video, finding.track), (category, annotator)
            )
        source = source_of(finding.video) if finding.video else ""
        attributed.append(replace(finding, category=category, annotator=annotator, source=source))
    return attributed


def _order(finding: Finding) -> tuple[bool, int]:
    return bool(finding.waived), SEVERITIES.index(finding.severity)


def _write_findings(path: Path, findings: list[Finding]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {"track": pyarrow.int64(), "frame": pyarrow.int64(), "last_frame": pyarrow.int64()}
    kinds["value"] = pyarrow.float64()
    schema = pyarrow.schema(
        [(field.name, kinds.get(field.name, pyarrow.string())) for field in fields(Finding)]
    )
    table = pyarrow.Table.from_pylist(redact_all([asdict(finding) for finding in findings]), schema=schema)
    with replace_file(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def _say(outcome: Outcome, metrics: Mapping[str, float], paths: Paths) -> None:
    report = paths.qa / "report.html"
    counts = ", ".join(f"{metrics[f'findings_{severity}']:.0f} {severity}" for severity in SEVERITIES)
    print(
        f"qa: {metrics['clips']:.0f} clips, {metrics['masks']:.0f} masks; findings: {counts}, "
        f"{metrics['findings_waived']:.0f} waived; {report}",
        file=sys.stderr,
    )
    for waiver in outcome.unused_waivers:
        print(
            f"  the waiver of {waiver.check} in {waiver.video or 'the set'} covers nothing", file=sys.stderr
        )
    blocking = outcome.blocking
    if not blocking:
        return
    first = "; ".join(
        f"{finding.check} in {finding.place}: {finding.message}" for finding in blocking[:_NAMED_IN_ERROR]
    )
    more = f"; and {len(blocking) - _NAMED_IN_ERROR} more" if len(blocking) > _NAMED_IN_ERROR else ""
    raise AvisError(
        f"{len(blocking)} blocking finding{'s' if len(blocking) > 1 else ''}: {first}{more}",
        where=str(report),
        fix="Correct them, or accept them with reason and author in data/qa-waivers.yaml.",
    )
