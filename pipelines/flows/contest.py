"""Champion against challenger on the same clips, and what follows: promotion, refusal, or a question."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from prefect.utilities.urls import url_for

from components.core.metrics.counts_file import CountsFile, read_counts
from components.core.run.params import PARAMS
from components.core.run.paths import Paths
from components.core.tracking.registry import (
    CHAMPION,
    COMMIT,
    TRAINING,
    WEIGHTS_MD5,
    Registry,
    Version,
)
from components.tools.promotion.decision import Decision, decide
from components.tools.promotion.own_start import own_start, variants_of_start
from components.tools.promotion.params import PromotionParams
from components.tools.promotion.report import DOCUMENT, PAGE, Candidate, write_report
from pipelines.flows.approval import state, wait_for_person
from pipelines.flows.artifacts import show_text
from pipelines.flows.champion_model import measure_version
from pipelines.flows.clones import Workspace
from pipelines.flows.notifications import Kind, notify
from pipelines.flows.registry_access import when_there

P = ParamSpec("P")
T = TypeVar("T")
SCRATCH = Path(".dvc") / "tmp" / "champion"


@dataclass(frozen=True)
class Contest:
    """The end of a retraining, in the workspace in which the challenger was made; part of a running flow."""

    workspace: Workspace
    params: PromotionParams
    registry: Registry
    timeouts_s: Mapping[str, float]

    def settle(self, version: Version, approval_timeout_s: int | None) -> State[Any]:
        """Let the challenger and the champion work on the same clips, decide, and act on it.

        Args:
            version: the challenger.
            approval_timeout_s: how long a better challenger waits for a person; None: for nobody.

        Raises:
            AvisError: the champion cannot be had or scored, or MLflow stays away.
        """
        trainings = self._own_counts()
        root = self.workspace.root
        starts = variants_of_start(self.params.variant, root / PARAMS)
        start = own_start(trainings, starts, self.params, Paths(root / "data"))
        while True:
            champion = self._registry(self.registry.with_alias, CHAMPION)
            if champion is not None and champion.number == version.number:
                self._registry(self.registry.promote, version, "it is the champion")  # if that was cut off
                return Completed(name="Promoted", message=f"Version {version.number} is the champion already")
            theirs = [] if champion is None else self._measured(champion)
            decision = decide(trainings, theirs, self.params, start)
            self._report(version, champion, decision, len(trainings[0].videos))
            reason = "; ".join(decision.reasons)
            if not decision.promote:
                self._registry(self.registry.refuse, version, reason)
                return self._tell("Refused", version, f"is not promoted: {reason}")
            with self.registry.alone():
                now = self._registry(self.registry.with_alias, CHAMPION)
                if (now and now.number) != (champion and champion.number):
                    get_run_logger().info("Meanwhile another version became the champion: compared anew")
                    continue
                if approval_timeout_s is not None:
                    limit_s = approval_timeout_s
                    self._registry(wait_for_person, self.registry, version, champion, reason, limit_s)
                    return self._ask(self._registry(self.registry.version, version.number), champion, reason)
                self._registry(self.registry.promote, version, reason)
            former = f" in place of version {champion.number}" if champion else ""
            return self._tell("Promoted", version, f"is the champion{former}: {reason}")

    def _own_counts(self) -> list[CountsFile]:
        """Of each seed, the first one's first."""
        paths, variant = Paths(self.workspace.root / "data"), self.params.variant
        return [
            read_counts(paths.evaluation(name) / "counts.safetensors", stage=f"evaluate@{variant}")
            for name in (variant, *paths.seeds(variant))
        ]

    def _measured(self, champion: Version) -> list[CountsFile]:
        root = self.workspace.root
        log = get_run_logger().info
        return measure_version(root, champion, root / SCRATCH, log, timeouts_s=self.timeouts_s, seeds=True)

    def _ask(self, version: Version, champion: Version | None, reason: str) -> State[Any]:
        message = f"Version {version.number} of {self.params.model} {state(version, champion)}. Why: {reason}"
        page = _form(version.number)
        text = f"{message}\n\n{page}" if page else message
        _warn_all(notify("approval", f"{self.params.model} {version.number} waits for it", text))
        get_run_logger().info(text)
        return Completed(name="Waiting", message=message)

    def _report(self, version: Version, champion: Version | None, decision: Decision, clips: int) -> None:
        folder = self.workspace.root / SCRATCH / "report"
        write_report(
            folder,
            decision,
            self.params,
            challenger=self._candidate(version),
            champion=None if champion is None else self._candidate(champion),
            clips=clips,
        )
        tags = {
            COMMIT: version.commit,
            "avis.branch": version.tags.get("avis.branch", ""),
            "avis.version": f"{self.params.model} {version.number}",
        }
        found = (decision.differences or {}).get(self.params.metric)
        gain = {f"promotion/{self.params.metric}_gain_points": found.difference} if found else {}
        files = {folder / PAGE: "promotion", folder / DOCUMENT: "promotion"}
        self._registry(self.registry.note_run, version, tags=tags, metrics=gain, files=files)
        show_text("promotion", _markdown(version, champion, decision))
        page = self._registry(self.registry.run_address, version)
        if page is not None:
            create_link_artifact(
                key="challenger", link=page, link_text=f"{self.params.model} {version.number} in MLflow"
            )

    def _candidate(self, version: Version) -> Candidate:
        parameters = self._registry(self.registry.run_params, version)
        return Candidate(version.number, facts(version), parameters)

    def _tell(self, name: str, version: Version, message: str) -> State[Any]:
        whole = f"Version {version.number} of {self.params.model} {message}"
        get_run_logger().info(whole)
        facts_ = "\n".join(f"{key}: {value}" for key, value in facts(version).items())
        title = f"{self.params.model} {version.number} {name.lower()}"
        kind: Kind = "promotion" if name == "Promoted" else "refusal"
        _warn_all(notify(kind, title, f"{whole}\n\n{facts_}"))
        return Completed(name=name, message=whole)

    def _registry(self, call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        return when_there(get_run_logger().info, call, *arguments, **named)


def facts(version: Version) -> dict[str, str]:
    """What a version is made of, for a reader."""
    shown_ = {
        "commit": version.commit,
        "branch": version.tags.get("avis.branch", ""),
        "variant": version.tags.get("avis.variant", ""),
        "trigger": version.tags.get("avis.trigger", ""),
        "MLflow run": version.run_id,
        "weights (MD5)": version.tags.get(WEIGHTS_MD5, ""),
        "data, code and parameters (SHA-256)": version.tags.get(TRAINING, ""),
    }
    data = {
        f"data/{name.removeprefix('avis.data.')} (MD5)": value
        for name, value in version.tags.items()
        if name.startswith("avis.data.")
    }
    return {name: value for name, value in (shown_ | data).items() if value}


def _form(number: int) -> str:
    """The form of the deployment `settle-champion` in Prefect's page; empty where it is not deployed."""
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name("settle-champion/cpu")
        except (ObjectNotFound, httpx.HTTPError):  # the message is sent without it
            return ""
    page = url_for("deployment", obj_id=deployment.id)
    return f"{page}/run?parameters={quote(json.dumps({'version': number}))}" if page else ""


def _warn_all(problems: list[str]) -> None:
    for problem in problems:
        get_run_logger().warning(problem)


def _markdown(version: Version, champion: Version | None, decision: Decision) -> str:
    verdict = "better" if decision.promote else "not promoted"
    lines = [f"# Version {version.number}: {verdict}", ""]
    lines += [f"- {reason}" for reason in decision.reasons]
    if decision.differences is not None and champion is not None:
        lines += ["", f"| score | version {champion.number} | version {version.number} | difference | 95 % |"]
        lines += ["|---|---|---|---|---|"]
        for name, found in decision.differences.items():
            if found is None:
                continue
            interval = "" if found.low is None else f"{found.low:+.2f} to {found.high:+.2f}"
            lines.append(
                f"| {name} | {found.other:.2f} | {found.value:.2f} | {found.difference:+.2f} | {interval} |"
            )
    lines += ["", *(f"- {name}: `{value}`" for name, value in facts(version).items())]
    return "\n".join(lines)
