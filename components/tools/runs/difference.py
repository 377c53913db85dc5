"""What two tracked runs differ in: parameters, data, code, environment, scores, and the clips behind them."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from components.compare.params import CompareParams
from components.core.metrics.accumulate import of_videos
from components.core.metrics.counts_file import CountsFile, read_counts
from components.core.metrics.paired import Difference, paired_differences
from components.core.metrics.protocols import PROTOCOLS
from components.core.run.errors import AvisError
from components.core.run.files import write_csv
from components.core.run.git import git
from components.core.tracking.reader import RunRecord, TrackedRuns
from components.core.tracking.registry import CHALLENGER, CHAMPION, PREVIOUS

_RUN_ID = re.compile(r"[0-9a-f]{4,32}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHOWN_COMMITS = 20
CLIP_SCORES = ("FSLA", "HOTA")
# Numbers without an interval that are worth a line.
_OTHER_SCORES = ("train/validation_loss", "predict/seconds_per_frame")

Pair = tuple[str | None, str | None]


@dataclass(frozen=True)
class ClipDifference:
    """A clip's score under one protocol in both runs, percent."""

    protocol: str
    clip: str
    score: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        return self.second - self.first


@dataclass
class RunsDiff:
    """All that two runs differ in; a pair has None where one of them has no such value.

    scores: by protocol and headline number, second minus first. plain_scores: numbers without an interval.
    notes: what keeps a part from being compared, or limits what it says; by the part's name.
    """

    first: RunRecord
    second: RunRecord
    params: dict[str, Pair] = field(default_factory=dict)
    data: dict[str, Pair] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    environment: dict[str, Pair] = field(default_factory=dict)
    scores: dict[str, dict[str, Difference]] = field(default_factory=dict)
    plain_scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    clips: list[ClipDifference] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def note(self, part: str, text: str) -> None:
        """Add a sentence to a part."""
        self.notes.setdefault(part, []).append(text)


def find(wanted: str, runs: TrackedRuns, *, model: str, experiments: Sequence[str]) -> RunRecord:
    """Return the run that a user means.

    Args:
        wanted: a run id or its beginning; `champion`, `challenger` or `previous`; `name@version` or
            `name@alias`; or a variant's name, for its newest run.
        model: the registered model whose aliases are meant.
        experiments: where to look.

    Raises:
        AvisError: there is none, or several begin so.
    """
    name, at, version = wanted.rpartition("@")
    if wanted in (CHAMPION, CHALLENGER, PREVIOUS):
        name, at, version = model, "@", wanted
    if at and name:
        run_id = runs.model(name, version)
        found = runs.of_id(run_id)
        if found is None:
            raise AvisError(f"the run of {name}@{version} is not in MLflow any more", where=run_id)
        return found
    if _RUN_ID.fullmatch(wanted):
        begin_so = runs.search(experiments, where=f"attributes.run_id LIKE '{wanted}%'", limit=10)
        if len(begin_so) == 1:
            return begin_so[0]
        if begin_so:
            several = ", ".join(f"{run.run_id[:12]} ({run.name})" for run in begin_so)
            raise AvisError(f"several runs begin with {wanted}: {several}", fix="Give more of the id.")
    if "'" not in wanted:  # MLflow's search language has no way to write one
        named = runs.search(experiments, where=f"attributes.run_name = '{wanted}'", limit=1)
        if named:
            return named[0]
    raise AvisError(
        f"there is no run {wanted!r}",
        where=f"experiments {', '.join(experiments)}",
        fix="Give a run id or its beginning, a variant, champion, challenger, or a model as name@version."
        " `avis runs --all` lists the runs.",
    )


def compare(
    first: RunRecord, second: RunRecord, runs: TrackedRuns, *, params: CompareParams, repository: Path
) -> RunsDiff:
    """Collect all that two runs differ in.

    Args:
        params: how the intervals of differences are drawn.
        repository: where the runs' commits may be.

    Raises:
        AvisError: MLflow cannot be reached.
    """
    diff = RunsDiff(first, second)
    diff.params = _different(first.params, second.params)
    diff.data = _different(_digests(first), _digests(second))
    _code(diff, runs, repository)
    _environment(diff, runs)
    _scores(diff, runs, params)
    _clips(diff, runs)
    return diff


def write_clips(file: Path, clips: Sequence[ClipDifference]) -> None:
    """Write a CSV with a row per protocol, clip and score."""
    columns = ("protocol", "video", "score", "first", "second", "difference")
    rows = []
    for clip in clips:
        numbers = (f"{value:.4f}" for value in (clip.first, clip.second, clip.difference))
        rows.append(dict(zip(columns, (clip.protocol, clip.clip, clip.score, *numbers), strict=True)))
    write_csv(file, columns, rows)


def _different(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, Pair]:
    names = sorted({*first, *second})
    return {
        name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)
    }


def _digests(run: RunRecord) -> dict[str, str]:
    return {name: " ".join(sorted(digests)) for name, digests in run.datasets.items()}


def _code(diff: RunsDiff, runs: TrackedRuns, repository: Path) -> None:
    commits = [run.tags.get("mlflow.source.git.commit", "") for run in (diff.first, diff.second)]
    patches = [_text(runs, run, "code/uncommitted.diff") for run in (diff.first, diff.second)]
    for run, patch in zip((diff.first, diff.second), patches, strict=True):
        if run.tags.get("git.dirty") == "true":
            kept = "its file code/uncommitted.diff" if patch else "not kept"
            diff.note("code", f"{run.run_id[:8]} ran with changes that were not committed ({kept}).")
    if patches[0] != patches[1]:
        diff.note("code", "The changes that were not committed differ.")
    if commits[0] == commits[1]:
        return
    if not all(_COMMIT.fullmatch(commit) for commit in commits):
        diff.note("code", "The commit of one of them is not known.")
        return
    diff.code.append(f"{commits[0][:12]} → {commits[1][:12]}")
    try:
        for commit in commits:
            git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except AvisError:
        diff.note("code", "These commits are not both in this repository: git fetch may bring them.")
        return
    for title, span in (("only in the second", commits), ("only in the first", commits[::-1])):
        log = git(repository, "log", "--oneline", "--no-color", f"{span[0]}..{span[1]}").splitlines()
        if log:
            diff.code += [f"{len(log)} commits {title}:", *(f"  {line}" for line in log[:_SHOWN_COMMITS])]
        if len(log) > _SHOWN_COMMITS:
            diff.code.append(f"  and {len(log) - _SHOWN_COMMITS} more")
    diff.code += git(repository, "diff", "--stat=100", "--no-color", *commits).splitlines()


def _environment(diff: RunsDiff, runs: TrackedRuns) -> None:
    texts = [_text(runs, run, "environment/requirements.txt") for run in (diff.first, diff.second)]
    if not all(texts):
        diff.note("environment", "One of the runs kept no list of its packages.")
        return
    diff.environment = _different(*(_packages(text) for text in texts))


def _packages(text: str) -> dict[str, str]:
    """Versions by package; the first line tells Python and the machine's system."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            python, _, system = line.removeprefix("# ").partition(", ")
            found |= {"python": python.removeprefix("Python "), "system": system}
        elif "==" in line:
            name, _, version = line.partition("==")
            found[name] = version
    return found


def _scores(diff: RunsDiff, runs: TrackedRuns, params: CompareParams) -> None:
    for name in _OTHER_SCORES:
        if name in diff.first.metrics and name in diff.second.metrics:
            diff.plain_scores[name] = (diff.first.metrics[name], diff.second.metrics[name])
    if "test" in diff.data and None not in diff.data["test"]:
        diff.note("scores", "The test annotations differ, so a clip of the same name may have other masks.")
    counts = [_counts(runs, run) for run in (diff.first, diff.second)]
    one, other = counts
    if one is not None and other is not None and one.categories != other.categories:
        diff.note("scores", "They were tested on different categories, so no interval can be given.")
        one = None
    if one is None or other is None:
        for run, kept in zip((diff.first, diff.second), counts, strict=True):
            if kept is None:
                diff.note("scores", f"{run.run_id[:8]} kept no counts per clip, so no interval can be given.")
        for name in (f"{protocol}/{score}" for protocol in PROTOCOLS for score in ("mAP", "HOTA", "FSLA")):
            if name in diff.first.metrics and name in diff.second.metrics:
                diff.plain_scores[name] = (diff.first.metrics[name], diff.second.metrics[name])
        return
    shared = [video for video in one.videos if video in set(other.videos)]
    if len(shared) < max(len(one.videos), len(other.videos)):
        diff.note(
            "scores",
            f"They were tested on different clips ({len(one.videos)} and {len(other.videos)}):"
            f" compared on the {len(shared)} that they share.",
        )
    if not shared:
        return
    places = [np.array([part.videos.index(video) for video in shared]) for part in (one, other)]
    for protocol in PROTOCOLS:
        found = paired_differences(
            of_videos(other.counts[protocol], places[1]),
            of_videos(one.counts[protocol], places[0]),
            resamples=params.bootstrap_samples,
            seed=params.seed,
        )
        diff.scores[protocol] = {name: value for name, value in found.items() if value is not None}


def _clips(diff: RunsDiff, runs: TrackedRuns) -> None:
    tables = [_clip_scores(runs, run) for run in (diff.first, diff.second)]
    for run, table in zip((diff.first, diff.second), tables, strict=True):
        if not table:
            diff.note("clips", f"{run.run_id[:8]} kept no scores per clip.")
    diff.clips = [
        ClipDifference(*key, value, tables[1][key]) for key, value in tables[0].items() if key in tables[1]
    ]


def _clip_scores(runs: TrackedRuns, run: RunRecord) -> dict[tuple[str, str, str], float]:
    """Scores by protocol, clip and score's name."""
    text = _text(runs, run, "evaluation/per_clip.csv")
    try:
        return {
            (row["protocol"], row["video"], score): float(row[score])
            for row in csv.DictReader(io.StringIO(text))
            for score in CLIP_SCORES
            if row[score]
        }
    except (KeyError, ValueError, TypeError) as error:
        raise AvisError(f"not a table of clips: {error}", where=f"per_clip.csv of {run.run_id}") from None


def _counts(runs: TrackedRuns, run: RunRecord) -> CountsFile | None:
    content = runs.file(run.run_id, "evaluation/counts.safetensors")
    if content is None:
        return None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "counts.safetensors"
        file.write_bytes(content)
        return read_counts(file, stage=f"evaluate@{run.name}")


def _text(runs: TrackedRuns, run: RunRecord, artifact: str) -> str:
    """A text that is kept with a run; empty if there is none."""
    return (runs.file(run.run_id, artifact) or b"").decode(errors="replace")
