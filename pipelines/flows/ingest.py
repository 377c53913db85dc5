"""The flow `ingest`: new ids in, attrition report out, in a clone of its own."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.annotate.params import AnnotateParams
from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.run.errors import AvisError
from components.core.run.files import write_json
from components.core.run.git import IN_MANIFEST, git, git_bytes, refuse_password
from components.core.run.params import PARAMS, read_block
from components.core.run.paths import Paths
from components.core.run.process import disable_telemetry
from components.ingest.params import IngestParams
from components.tools.attrition import NOT_TRIED, Attrition, Loss, annotated_categories, read_attrition
from components.tools.manifests.from_ids import manifest_from_ids
from pipelines.dvc.graph import find_root
from pipelines.dvc.lock import drop_lost, output_md5
from pipelines.flows.artifacts import show_text
from pipelines.flows.clones import Workspace, environment_of_stages, own_clone, require_remote
from pipelines.flows.notifications import notify, notify_failure
from pipelines.flows.rebuild import bring_up_to_date

disable_telemetry()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.flows.announcement import announce  # noqa: E402

CHANGED = "avis.data.changed"
REPORT = Path("data") / "attrition.json"
_OK, _SHOWN = "ok", 50


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def ingest(
    ids: list[str] | None = None,
    revision: str = "main",
    repository: str | None = None,
    split: str | None = None,
    retries: int = 1,
    timeouts_s: dict[str, float] | None = None,
    root: Path | None = None,
) -> State[Any]:
    """Add videos to the manifest, fetch what is missing, and report what could not be had, and why.

    Entries that failed before are asked for again, each status when it is due. The new manifest, dvc.lock and
    the report (data/attrition.json) are committed on a branch of their own and the media pushed; where the
    media changed, the event `avis.data.changed` names that branch, and starts `retrain` where it is deployed.

    Args:
        ids: YouTube ids or addresses, perhaps with start and end, as of `avis manifest from-ids`.
        split: that the new ones belong to.
        revision, repository, retries, timeouts_s, root: as of `retrain`.
    """
    try:
        base = find_root(root or Path.cwd())
        with own_clone(base, revision=revision, purpose="ingest", repository=repository) as workspace:
            require_remote(workspace.root)
            params = read_block("ingest", IngestParams, path=workspace.root / PARAMS)
            added = _carry_on(workspace, params) + _add(workspace, params, ids or [], split)
            before = _before(workspace, params, added)
            with environment_of_stages(workspace, trigger="ingest"):
                bring_up_to_date(
                    workspace.root,
                    targets=["extract"],
                    force=["ingest"] if _state(workspace, params).due else [],
                    retries=retries,
                    timeouts_s=timeouts_s,
                )
            after = _state(workspace, params)
            lost = sorted(set(before.there) - after.there)
            message = _report(workspace, params, after, added=before.added, lost=lost)
            if workspace.is_as_last_run_left("dvc.lock", params.manifest, str(REPORT)):
                return Completed(name="Unchanged", message=f"Nothing changed: {message}")
            drop_lost(workspace.root, {"sample", "ingest", "extract"})
            commit = workspace.commit(f"Ingest: {message}")
            workspace.push()
            get_run_logger().info(f"Commit {commit} on {workspace.branch}")
            if _media_md5(workspace) != before.media:
                payload = {"revision": workspace.branch, "commit": commit, "message": message}
                announce(CHANGED, f"avis.data.{base.name}", payload)
            if lost or after.failed > before.failed:  # those that were added and cannot be had, too
                text = f"{message}\nBranch {workspace.branch}, commit {commit}.\n" + "\n".join(lost[:_SHOWN])
                for problem in notify("attrition", f"{base.name}: videos were lost", text):
                    get_run_logger().warning(problem)
            return Completed(message=f"{message}; branch {workspace.branch}")
    except AvisError as error:
        return Failed(message=str(error))


@dataclass(frozen=True)
class _Before:
    """What there was when the run began; kept in the clone, for the run that goes on after a failure.

    there: ids of the videos; failed: how many entries were not there; media: MD5 of data/media; added: how
    many entries the run added to the manifest.
    """

    there: list[str]
    failed: int
    media: str | None
    added: int


def _before(workspace: Workspace, params: IngestParams, added: int) -> _Before:
    file = workspace.root / ".dvc" / "tmp" / "avis-before.json"
    try:
        before = _Before(**json.loads(file.read_text()))
        before = replace(before, added=before.added + added)
    except (OSError, ValueError, TypeError):  # there is none, or it is damaged
        state = _state(workspace, params)
        before = _Before(sorted(state.there), state.failed, _media_md5(workspace), added)
    write_json(file, asdict(before))
    return before


def _carry_on(workspace: Workspace, params: IngestParams) -> int:
    """Add what earlier runs added to the manifest and nobody has merged yet; return how many entries.

    What was taken out of the manifest since they began stays out.
    """
    newest = workspace.newest()
    manifest = workspace.root / params.manifest
    if newest is None or not manifest.is_file():
        return 0
    common = git(workspace.root, "merge-base", "HEAD", newest)
    known = {entry.video_id for entry in _manifest_at(workspace, params, common)}
    own = read_manifest(manifest)
    known |= {entry.video_id for entry in own}
    new = [entry for entry in _manifest_at(workspace, params, newest) if entry.video_id not in known]
    if new:
        write_manifest(manifest, [*own, *new])
        get_run_logger().info(f"{len(new)} entries of {newest[:12]}, which is not merged, are carried on")
    return len(new)


def _manifest_at(workspace: Workspace, params: IngestParams, commit: str) -> list[ManifestEntry]:
    """The manifest of a commit; nothing if it has none."""
    if not git(workspace.root, "ls-tree", commit, "--", params.manifest):
        return []
    with TemporaryDirectory() as folder:
        file = Path(folder) / Path(params.manifest).name
        file.write_bytes(git_bytes(workspace.root, "show", f"{commit}:{params.manifest}"))
        return read_manifest(file)


@dataclass(frozen=True)
class _State:
    """attrition: None where there is no manifest yet; there: ids of the videos that are there."""

    attrition: Attrition | None
    there: frozenset[str] = frozenset()

    @property
    def failed(self) -> int:
        return 0 if self.attrition is None else len(self.attrition.rows) - len(self.there)

    @property
    def due(self) -> bool:
        """Whether entries failed: the stage asks for those again whose time has come."""
        counts = {} if self.attrition is None else self.attrition.counts()
        return bool(set(counts) - {_OK, NOT_TRIED})


def _state(workspace: Workspace, params: IngestParams) -> _State:
    manifest = workspace.root / params.manifest
    if not manifest.is_file():  # the sample stage has not made it yet
        return _State(None)
    local = params.model_copy(update={"manifest": str(manifest)})
    attrition = read_attrition(local, Paths(workspace.root / "data").raw)
    rows = attrition.rows.select(["video_id", "status"]).to_pylist()
    return _State(attrition, frozenset(str(row["video_id"]) for row in rows if row["status"] == _OK))


def _add(workspace: Workspace, params: IngestParams, ids: Sequence[str], split: str | None) -> int:
    """Add ids to the manifest; return how many it did not have."""
    if not ids:
        return 0
    for address in ids:
        refuse_password(address, IN_MANIFEST)
    manifest = workspace.root / params.manifest
    if not git(workspace.root, "ls-files", "--", params.manifest):
        raise AvisError(
            "videos can be added only to a manifest that is in git",
            where=f"params.yaml, ingest.manifest: {params.manifest}",
            fix="Name one of your own there (docs/own-videos.md), commit it, and push.",
        )
    before = read_manifest(manifest)
    known = {entry.video_id for entry in before}
    new = [
        replace(entry, split=split or entry.split)
        for entry in manifest_from_ids(ids, "ids")
        if entry.video_id not in known
    ]
    if new:
        write_manifest(manifest, [*before, *new])
    return len(new)


def _media_md5(workspace: Workspace) -> str | None:
    try:
        return output_md5(workspace.root, "data/media")
    except AvisError:
        return None


def _report(
    workspace: Workspace, params: IngestParams, found: _State, *, added: int, lost: Sequence[str]
) -> str:
    """Write data/attrition.json and Prefect's artifacts; return a sentence about them."""
    attrition = found.attrition
    if attrition is None:
        return "no manifest"
    counts = attrition.counts()
    splits = {name or "(none)": loss for name, loss in attrition.by_split().items()}
    source = workspace.root / read_block("annotate", AnnotateParams, path=workspace.root / PARAMS).source
    categories = attrition.by_category(annotated_categories(source))
    advice = attrition.advice(params)
    document = {
        "manifest": params.manifest,
        "entries": len(attrition.rows),
        "status": counts,
        "splits": {name: _numbers(loss) for name, loss in splits.items()},
        "categories": {name: _numbers(loss) for name, loss in categories.items()},
        "lost_since_last": list(lost),
    }
    write_json(workspace.root / REPORT, document)
    message = (
        f"{len(found.there)} of {len(attrition.rows)} videos are there, {added} entries new,"
        f" {len(lost)} videos lost"
    )
    lines = [f"# {message}", "", "| status | entries | what to do |", "|---|---|---|"]
    lines += [f"| {name} | {count} | {advice.get(name, '')} |" for name, count in counts.items()]
    for title, losses in (("split", splits), ("category", categories)):
        if losses:
            lines += ["", f"| {title} | entries | there | lost |", "|---|---|---|---|"]
            lines += [
                f"| {name} | {loss.entries} | {loss.ok} | {loss.lost_share:.1%} |"
                for name, loss in losses.items()
            ]
    if lost:
        lines += ["", "Lost since the last run: " + ", ".join(f"`{name}`" for name in lost[:_SHOWN])]
    show_text("attrition", "\n".join(lines))
    create_table_artifact(
        key="ingest-status", table=[{"status": name, "entries": count} for name, count in counts.items()]
    )
    return message


def _numbers(loss: Loss) -> dict[str, int]:
    return {"entries": loss.entries, "there": loss.ok}
