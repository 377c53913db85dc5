"""The flow `retrain`: data and training in a clone of its own, then champion against challenger.

Nothing is trained when all that decides a training (data, code, parameters) is what it was for a version that
is registered already. What is trained is committed, its data pushed, and only then registered: every version
can be traced and made again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from components.core.run.errors import AvisError
from components.core.run.params import PARAMS
from components.core.run.paths import Paths
from components.core.run.process import disable_telemetry
from components.core.text.redaction import redact
from components.core.tracking.address import tracking_uri
from components.core.tracking.registry import (
    CHAMPION,
    COMMIT,
    REASON,
    TRAINING,
    WAITING,
    WEIGHTS_MD5,
    Registry,
    RegistryAway,
    Version,
)
from components.core.tracking.run import send_pending
from components.tools.promotion.own_start import variants_of_start
from components.tools.promotion.params import PromotionParams
from pipelines.dvc.graph import Stage, find_root, read_graph
from pipelines.dvc.lock import Ingredients, drop_lost, ingredients, output_md5
from pipelines.flows.approval import is_open, refuse_late, state
from pipelines.flows.champion_model import fetch_version
from pipelines.flows.clones import Workspace, environment_of_stages, own_clone, require_remote
from pipelines.flows.notifications import notify_failure
from pipelines.flows.rebuild import bring_up_to_date
from pipelines.flows.registry_access import open_registry, promotion_params, when_there

disable_telemetry()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from pipelines.flows.contest import SCRATCH, Contest  # noqa: E402

P = ParamSpec("P")
T = TypeVar("T")
Trigger = Literal["schedule", "data", "drop", "hand"]


@flow(persist_result=False, on_failure=[notify_failure], on_crashed=[notify_failure])
def retrain(
    revision: str = "main",
    repository: str | None = None,
    trigger: Trigger = "hand",
    force: bool = False,
    ask_first: bool = False,
    approval_timeout_s: int = 14 * 24 * 3600,
    retries: int = 1,
    timeouts_s: dict[str, float] | None = None,
    root: Path | None = None,
) -> State[Any]:
    """Train a challenger if anything changed, and promote it if it is better than the champion.

    Args:
        revision: a branch, tag or commit of the repository.
        repository: what to clone and push to; by default where this checkout comes from.
        trigger: what started the run, for its records.
        force: compare once more with the champion although nothing changed.
        ask_first: a better challenger waits in the registry for `avis champion approve`; the run ends.
        approval_timeout_s: how long an answer counts; unanswered it is not promoted.
        retries: further tries of a stage that fails for a passing reason.
        timeouts_s: longest time of a stage by its name, "default" for the others.
        root: a checkout on this machine, whose DVC cache is used; by default that around the current folder.
    """
    try:
        base = find_root(root or Path.cwd())
        with own_clone(base, revision=revision, purpose="retrain", repository=repository) as workspace:
            require_remote(workspace.root)
            params = promotion_params(workspace.root)
            log = get_run_logger().info
            registry = when_there(log, open_registry, base, params)
            run = _Retraining(workspace, params, registry, trigger, force, retries, timeouts_s or {})
            with environment_of_stages(workspace, trigger=trigger):
                version = run.challenger()
                if isinstance(version, State):
                    return version
                contest = Contest(workspace, params, registry, timeouts_s or {})
                ask = ask_first or version.decision == WAITING  # who was asked once is asked again
                return contest.settle(version, approval_timeout_s if ask else None)
    except AvisError as error:
        return Failed(message=str(error))


@dataclass(frozen=True)
class _Retraining:
    workspace: Workspace
    params: PromotionParams
    registry: Registry
    trigger: Trigger
    force: bool
    retries: int
    timeouts_s: Mapping[str, float]

    def challenger(self) -> "Version | State[Any]":
        """Bring data and, if anything changed, the model up to date; return what it is registered as."""
        root, variant = self.workspace.root, self.params.variant
        train, evaluate = f"train@{variant}", f"evaluate@{variant}"
        stages = {stage.name: stage for stage in read_graph(root)}
        how: dict[str, Any] = {"retries": self.retries, "timeouts_s": self.timeouts_s}
        bring_up_to_date(root, targets=stages[train].needs, **how)
        made_of = ingredients(root, train)
        self._registry(self.registry.finish)  # a promotion that was cut off
        self._registry(refuse_late, self.registry)
        known = next(
            (
                version
                for version in self._registry(self.registry.versions)
                if version.tags.get(TRAINING) == made_of.digest and version.decision
            ),
            None,
        )
        champion = self._registry(self.registry.with_alias, CHAMPION)
        outdated = known is not None and known.decision == WAITING and not is_open(known, champion)
        if known is not None and not (self.force or outdated):
            told = f"{state(known, champion)}: {known.tags.get(REASON, '')}".rstrip(": ")
            message = f"Nothing to do: data, code and parameters are those of version {known.number} ({told})"
            get_run_logger().info(message)
            return Completed(name="Unchanged", message=message)
        if champion is not None:  # if it cannot be had, better to know before a training of days
            fetch_version(root, champion, root / SCRATCH / "model", seeds=True)
        # beside the challenger what it began with, where a variant is that: did training teach anything?
        starts = [f"evaluate@{name}" for name in variants_of_start(variant, root / PARAMS)]
        bring_up_to_date(root, targets=[evaluate, *starts], **how)
        done = set().union(*(_with_needs(stages, name) for name in (evaluate, *starts)))
        return known or self._register(made_of, done)

    def _register(self, made_of: Ingredients, done: set[str]) -> Version:
        workspace, variant = self.workspace, self.params.variant
        log = get_run_logger().info
        lost = drop_lost(workspace.root, done)
        if lost:
            log(f"Left out of dvc.lock, since their files cannot be had: {', '.join(lost)}")
        commit = workspace.commit(f"Retrain {variant} ({self.trigger}), from {workspace.start[:12]}")
        workspace.push()
        log(f"Commit {commit} on {workspace.branch}, its data at the DVC remote")
        workspace.note_commit(commit, [variant])
        here = Paths(workspace.root / "data")
        reference = json.loads((here.model(variant) / "run.json").read_text())["run_id"]
        place = (Paths().model(variant) / "model.safetensors").as_posix()
        scores = json.loads((here.evaluation(variant) / "metrics.json").read_text())
        tags = {
            COMMIT: commit,
            TRAINING: made_of.digest,
            WEIGHTS_MD5: output_md5(workspace.root, place),
            "avis.variant": variant,
            "avis.branch": workspace.branch,
            "avis.repository": redact(workspace.repository),
            "avis.trigger": self.trigger,
            "avis.flow_run": str(flow_run.id or ""),
            **{f"avis.data.{path.removeprefix('data/')}": md5 for path, md5 in made_of.data.items()},
            **{
                f"avis.score.{name}": f"{value:.2f}"
                for name, value in scores[self.params.protocol].items()
                if name in ("mAP", "HOTA", "FSLA") and value is not None
            },
        }

        def register() -> Version:
            if send_pending(here, uri=tracking_uri(workspace.base)):  # the training's run among them, perhaps
                raise RegistryAway("MLflow has not taken yet what the stages had to say")
            about = f"{variant}, from commit {commit[:12]}"
            return self.registry.register(reference, tags=tags, description=about)

        version = self._registry(register)
        workspace.tag(f"avis/{self.params.model}/{version.number}")  # outlives the branch
        log(f"Version {version.number} of {self.params.model} is the challenger")
        return version

    def _registry(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return when_there(get_run_logger().info, call, *arguments, **named)


def _with_needs(stages: Mapping[str, Stage], name: str) -> set[str]:
    found = {name}
    for need in stages[name].needs:
        found |= _with_needs(stages, need)
    return found
