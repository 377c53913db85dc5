"""The flow `evaluate_champion`: does the champion still do well on the clips that there are now?

And `settle_champion`: an answer for a version that waits, given in Prefect's page.
"""

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.paths import Paths
from components.core.run.process import disable_telemetry
from components.core.tracking.registry import CHAMPION, Registry, Version
from components.core.tracking.run import data_run
from components.tools.promotion.freshness import Freshness, freshness
from components.tools.promotion.params import PromotionParams
from pipelines.dvc.graph import find_root, read_graph
from pipelines.flows.approval import settle
from pipelines.flows.champion_model import measure_version
from pipelines.flows.clones import environment_of_stages, own_clone
from pipelines.flows.notifications import notify, notify_failure
from pipelines.flows.rebuild import bring_up_to_date
from pipelines.flows.registry_access import open_registry, promotion_params, when_there

disable_telemetry()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.flows.announcement import announce  # noqa: E402

DROPPED = "avis.champion.dropped"
_SCRATCH = Path(".dvc") / "tmp" / "champion"


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def evaluate_champion(
    revision: str = "main",
    repository: str | None = None,
    retries: int = 1,
    timeouts_s: dict[str, float] | None = None,
    root: Path | None = None,
) -> State[Any]:
    """Score the champion on the test clips of a revision; tell when it does worse on the fresh ones.

    Fresh are clips that it was neither scored on when it was made nor trained on. A drop by more than
    `promotion.max_drop_points`, outside the noise, is told by the event `avis.champion.dropped`, which
    starts `retrain` where it is deployed.

    Args:
        revision, repository, retries, timeouts_s, root: as of `retrain`.
    """
    log = get_run_logger().info
    try:
        base = find_root(root or Path.cwd())
        with own_clone(base, revision=revision, purpose="champion", repository=repository) as workspace:
            params = promotion_params(workspace.root)
            registry = when_there(log, open_registry, base, params)
            champion = when_there(log, registry.with_alias, CHAMPION)
            if champion is None:
                return Completed(name="Unchanged", message="Nothing to do: there is no champion")
            with environment_of_stages(workspace, trigger="champion"):
                needs = {stage.name: stage.needs for stage in read_graph(workspace.root)}
                data = needs.get(f"train@{params.variant}", ())
                bring_up_to_date(workspace.root, targets=data, retries=retries, timeouts_s=timeouts_s)
                scratch = workspace.root / _SCRATCH
                counts, *_ = measure_version(
                    workspace.root, champion, scratch, log, timeouts_s=timeouts_s or {}
                )
            # null of a model that was trained elsewhere: nobody knows
            trained_on = json.loads((scratch / "model" / "clips.json").read_text()) or []
            known = when_there(log, _scored_on, registry, champion)
            if known is None:
                message = f"Version {champion.number}: its run no longer says which clips it was scored on"
                return Completed(name="Unknown", message=message)
            found = freshness(counts, known=known, trained_on=set(trained_on), params=params)
            _record(base, registry, champion, found, params)
            message = _words(champion, found, params)
            log(message)
            if found.dropped:
                for problem in notify("drop", f"{params.model} {champion.number} does worse", message):
                    get_run_logger().warning(problem)
                payload = {"revision": revision, "message": message}
                announce(DROPPED, f"avis.model.{params.model}", payload)
                return Completed(name="Dropped", message=message)
            return Completed(message=message)
    except AvisError as error:
        return Failed(message=str(error))


def _scored_on(registry: Registry, champion: Version) -> set[str] | None:
    """The clips that the evaluate stage scored it on, from the table in its run; None if that is gone."""
    with TemporaryDirectory() as folder:
        table = registry.artifact(champion, "evaluation/per_clip.csv", Path(folder))
        if table is None:
            return None
        with table.open(newline="", encoding="utf-8") as file:
            return {row["video"] for row in csv.DictReader(file)}


def _record(
    base: Path, registry: Registry, champion: Version, found: Freshness, params: PromotionParams
) -> None:
    values = {
        f"fresh/{params.metric}": found.fresh,
        f"known/{params.metric}": found.known,
        "fresh/clips": float(found.fresh_clips),
        "known/clips": float(found.known_clips),
    }
    known = {name: value for name, value in values.items() if value is not None}
    about = {"model": params.model, "version": champion.number, "protocol": params.protocol}
    with data_run("champion", params=about, paths=Paths(base / "data")) as run:
        run.metrics(known)
        run.tags({"avis.version": f"{params.model} {champion.number}"})
    rows = [{"clips": name, "value": round(value, 2)} for name, value in known.items()]
    create_table_artifact(
        key="champion", table=rows, description=f"Version {champion.number} on the clips now"
    )
    if found.fresh is not None:
        tags = {f"avis.fresh.{params.metric}": f"{found.fresh:.2f}"}
        when_there(get_run_logger().info, registry.tag, champion, tags)


def _words(champion: Version, found: Freshness, params: PromotionParams) -> str:
    who = f"Version {champion.number} of {params.model}"
    if found.fresh is None:
        return f"{who}: there are no fresh clips ({found.known_clips} known ones)"
    text = f"{who}: {params.metric} {found.fresh:.2f} on {found.fresh_clips} fresh clips"
    if found.known is None or found.change is None:
        return f"{text}; no known clips to compare with"
    text += f", {found.known:.2f} on {found.known_clips} known ones ({found.change:+.2f} points"
    if found.low is not None and found.high is not None:
        text += f", 95 % interval {found.low:+.2f} to {found.high:+.2f}"
    limit = f"the limit is a drop by {params.max_drop_points:g}, outside the noise"
    return f"{text}; {limit})"


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def settle_champion(
    version: int, approve: bool, by: str = "", why: str = "", root: Path | None = None
) -> State[Any]:
    """Make a version that waits the champion, or refuse it; as `avis champion approve` and `refuse`.

    Args:
        version: its number.
        approve: yes, or no.
        by: who says so.
        why: kept with the version.
        root: a checkout on this machine; by default that around the current folder.
    """
    log = get_run_logger().info
    try:
        base = find_root(root or Path.cwd())
        registry = when_there(log, open_registry, base, promotion_params(base))
        message = when_there(log, settle, registry, version, approve=approve, by=by, why=why)
    except AvisError as error:
        return Failed(message=str(error))
    return Completed(name="Promoted" if approve else "Refused", message=message)
