"""How the entries of a manifest fared: counts, losses by split and category, and what to do about them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute as pc

from components.core.raw.clip_names import video_id_of
from components.core.raw.index import Status, raw_table, read_raw_table
from components.core.raw.manifest_table import read_manifest_table, sources_kept
from components.core.run.errors import AvisError
from components.ingest.folder import INDEX, JOURNAL, journaled_rows
from components.ingest.params import IngestParams
from components.ingest.status import ADVICE, TRANSIENT

NOT_TRIED = "not_tried"
COLUMNS = ("video_id", "status", "message", "attempts", "source", "split", "license", "uploader", "time")
_OK = Status.OK.value


@dataclass(frozen=True)
class Loss:
    """Of a group of entries: how many there are, and how many are there as videos."""

    entries: int
    ok: int

    @property
    def lost_share(self) -> float:
        return 1 - self.ok / self.entries


@dataclass(frozen=True)
class Attrition:
    """The state of an ingest.

    Attributes:
        rows: COLUMNS of every entry, in the manifest's order; entries without a row are not_tried.
        running: finished entries of a run that is going on, or was stopped.
    """

    rows: pyarrow.Table
    running: int

    def counts(self) -> dict[str, int]:
        """Entries per status, most first."""
        found = self.rows.column("status").value_counts().to_pylist()
        counts = {str(row["values"]): int(row["counts"]) for row in found}
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def by_split(self) -> dict[str, Loss]:
        """Losses per split; entries without one are the split ""."""
        splits = pc.fill_null(self.rows.column("split"), "")
        return _losses(splits.to_pylist(), self.rows.column("status").to_pylist())

    def by_category(self, categories: Mapping[str, Iterable[str]]) -> dict[str, Loss]:
        """Losses per category of the annotations, most lost first: an entry counts for each that it shows."""
        labels, statuses = [], []
        ids, found = self.rows.column("video_id").to_pylist(), self.rows.column("status").to_pylist()
        for video_id, status in zip(ids, found, strict=True):
            for category in categories.get(video_id, ()):
                labels.append(category)
                statuses.append(status)
        return dict(sorted(_losses(labels, statuses).items(), key=lambda item: -item[1].lost_share))

    def chosen(self, *, status: str | None = None, uploader: str | None = None) -> pyarrow.Table:
        """The rows with this status and of this uploader.

        Raises:
            AvisError: there is no such status.
        """
        rows = self.rows
        if status is not None:
            allowed = [*(known.value for known in Status), NOT_TRIED]
            if status not in allowed:
                raise AvisError(f"{status!r} is no status", fix=f"Allowed: {', '.join(allowed)}.")
            rows = rows.filter(pc.equal(rows.column("status"), status))
        if uploader is not None:
            rows = rows.filter(pc.fill_null(pc.equal(rows.column("uploader"), uploader), False))
        return rows

    def advice(self, params: IngestParams) -> dict[str, str]:
        """What to do about each status, with the day from which it is asked for again."""
        advice = {}
        for name in self.counts():
            if name == NOT_TRIED:
                advice[name] = "run `dvc repro --force --single-item ingest`"
            elif name != _OK:
                advice[name] = ADVICE[Status(name)] + self._again(name, params)
        return advice

    def _again(self, status: str, params: IngestParams) -> str:
        if Status(status) in TRANSIENT:
            return " (asked for again in the next run)"
        times = self.chosen(status=status).column("time").drop_null()
        if not len(times):
            return ""
        first = datetime.fromisoformat(pc.min(times).as_py())
        again = first + timedelta(days=params.retry_permanent_after_days)
        return f" (asked for again from {again.date()} on)"


def read_attrition(params: IngestParams, raw: Path) -> Attrition:
    """Read manifest, index and the journal of a run that is going on.

    Raises:
        AvisError: the manifest or the index cannot be read.
    """
    manifest = read_manifest_table(Path(params.manifest))
    journaled = _journaled(raw / JOURNAL)
    known = pyarrow.concat_tables([journaled, _indexed(raw / INDEX)])
    positions = pc.index_in(manifest.column("video_id"), known.column("video_id").combine_chunks())
    found = known.take(positions)
    found = _only_asked_for(found, manifest)
    columns = {name: found.column(name) for name in COLUMNS}
    columns["status"] = pc.fill_null(columns["status"], NOT_TRIED)
    for name in ("video_id", "source", "split"):
        columns[name] = manifest.column(name)
    for name in ("license", "uploader"):
        columns[name] = pc.coalesce(manifest.column(name), columns[name])
    return Attrition(pyarrow.table(columns), len(journaled))


def _only_asked_for(found: pyarrow.Table, manifest: pyarrow.Table) -> pyarrow.Table:
    """Empty the rows that are about another source, or another part, than the manifest names now."""
    sources = (sources_kept(table.column("source")) for table in (found, manifest))
    same = pc.fill_null(pc.equal(*sources), False)
    for name in ("start_s", "end_s"):
        both = (pc.fill_null(table.column(name), -1.0) for table in (found, manifest))
        same = pc.and_(same, pc.equal(*both))
    columns = [pc.if_else(same, found.column(name), None) for name in found.column_names]
    return pyarrow.table(columns, schema=found.schema)


def annotated_categories(source: Path) -> dict[str, set[str]]:
    """The categories that annotations in AVISeg's format show in each video, by video_id.

    Args:
        source: a JSON file, or a folder of them; files of other formats are passed over.
    """
    files = sorted(source.glob("*.json")) if source.is_dir() else [source]
    found: dict[str, set[str]] = defaultdict(set)
    for file in files:
        try:
            document = json.loads(file.read_bytes())
            names = {row["id"]: row["name"] for row in document["categories"]}
            videos = {row["id"]: _name(row) for row in document["videos"]}
            for track in document["annotations"]:
                found[videos[track["video_id"]]].add(str(names[track["category_id"]]))
        except (OSError, ValueError, TypeError, KeyError, IndexError, AvisError):
            continue
    return dict(found)


def _name(video: dict[str, Any]) -> str:
    return video_id_of(str(video["file_names"][0]).rsplit("/", 2)[-2])


def _losses(labels: Iterable[str], statuses: Iterable[str]) -> dict[str, Loss]:
    entries: dict[str, int] = defaultdict(int)
    there: dict[str, int] = defaultdict(int)
    for label, status in zip(labels, statuses, strict=True):
        entries[label] += 1
        there[label] += status == _OK
    return {label: Loss(entries[label], there[label]) for label in sorted(entries)}


def _indexed(path: Path) -> pyarrow.Table:
    if not path.is_file():
        return _SCHEMA.empty_table()
    return read_raw_table(path, _SCHEMA.names).select(_SCHEMA.names).cast(_SCHEMA)


def _journaled(path: Path) -> pyarrow.Table:
    """Each video's last line of a journal, which another process may be writing."""
    return raw_table(journaled_rows(path)).select(_SCHEMA.names).cast(_SCHEMA)


_KINDS = {"attempts": pyarrow.int64(), "start_s": pyarrow.float64(), "end_s": pyarrow.float64()}
_SCHEMA = pyarrow.schema(
    [(name, _KINDS.get(name, pyarrow.string())) for name in (*COLUMNS, "start_s", "end_s")]
)
