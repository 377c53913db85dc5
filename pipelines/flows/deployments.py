"""`avis deploy`: what a Prefect server needs to run the flows, the limit first."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL
from prefect.workers.process import ProcessWorker
from rich.console import Console
from rich.table import Table

from components.core.run.errors import AvisError
from pipelines.dvc.graph import find_root
from pipelines.flows.gpu import LIMIT, count_gpus, make_limit, set_limit

Pool = Literal["cpu", "gpu"]
POOLS: tuple[Pool, ...] = ("cpu", "gpu")
SILENT_RUNS = "avis: runs whose process is gone"
SILENCE = timedelta(seconds=180)
"""A run sends a heartbeat every 30 s; after as long as this without one it counts as crashed."""


def deploy(pool: str | None, gpu_slots: int | None) -> None:
    """Register pools, limit, deployments and automations, and say what is there; safe to repeat.

    Args:
        pool: where events start `retrain`; None: the GPU's if this machine has one.
        gpu_slots: how many stages may use a GPU at the same time; None: what the server has, or one.

    Raises:
        AvisError: if no server answers, or Prefect does not take a deployment.
    """
    root = find_root(Path.cwd())
    url = PREFECT_API_URL.value()
    if not url:
        raise AvisError(
            "no Prefect server is named",
            where="PREFECT_API_URL",
            fix="Start one with `avis up`, then `source .avis/environment`; or: export PREFECT_API_URL=http://HOST:4200/api",
        )
    with get_client(sync_client=True) as client:
        try:
            client.request("GET", "/health")
        except httpx.HTTPError as error:
            raise AvisError(
                f"no Prefect server answers: {error}", where=url, fix="Start one with `avis up`."
            ) from None
        if gpu_slots is None:
            make_limit()
        else:
            set_limit(gpu_slots)
        for name in POOLS:
            _make_pool(client, name)
        switched_on = _active_schedules(client)
        _register(root)
        _switch_on(client, switched_on)
        triggers = _enable_triggers(client, pool or ("gpu" if count_gpus() else "cpu"))
        _make_automation(client)
        _show(client, triggers, url)


def _make_pool(client: SyncPrefectClient, name: Pool) -> None:
    template = ProcessWorker.get_default_base_job_template()
    try:
        client.request(
            "POST",
            "/work_pools/",
            json=WorkPoolCreate(name=name, type="process", base_job_template=template).model_dump(
                mode="json", exclude_unset=True
            ),
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.CONFLICT:
            raise
    except ObjectAlreadyExists:
        pass


def _register(root: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    # prefect.yaml takes the folder of the deployments from PWD.
    environment = {**os.environ, "PWD": os.fspath(root), "PREFECT_API_URL": PREFECT_API_URL.value()}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    said = done.stdout + done.stderr
    if done.returncode != 0 or "rror" in done.stderr:
        last = "\n".join(said.strip().splitlines()[-15:])
        raise AvisError(f"Prefect does not take the deployments:\n{last}", where=str(root / "prefect.yaml"))


def _deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """All deployments by name, such as `rebuild/cpu`."""
    flows = {flow.id: flow.name for flow in client.read_flows()}
    found = {
        f"{flows[deployment.flow_id]}/{deployment.name}": deployment
        for deployment in client.read_deployments()
        if deployment.work_pool_name in POOLS
    }
    return dict(sorted(found.items()))


def _active_schedules(client: SyncPrefectClient) -> set[tuple[UUID, str]]:
    return {
        (deployment.id, schedule.slug)
        for deployment in _deployments(client).values()
        for schedule in deployment.schedules
        if schedule.active and schedule.slug
    }


def _switch_on(client: SyncPrefectClient, schedules: set[tuple[UUID, str]]) -> None:
    """Switch on again what somebody had switched on: prefect.yaml has them all off."""
    for deployment in _deployments(client).values():
        for schedule in deployment.schedules:
            if not schedule.active and schedule.slug and (deployment.id, schedule.slug) in schedules:
                client.request(
                    "PATCH",
                    "/deployments/{id}/schedules/{schedule_id}",
                    path_params={"id": str(deployment.id), "schedule_id": str(schedule.id)},
                    json={"active": True},
                )


def _enable_triggers(client: SyncPrefectClient, pool: str) -> dict[UUID, list[str]]:
    """Switch on the triggers of the deployments of a pool.

    Returns:
        The events that start a deployment, by its id.
    """
    ids = {deployment.id for deployment in _deployments(client).values() if deployment.work_pool_name == pool}
    events: dict[UUID, list[str]] = {}
    for automation in _automations(client):
        for action in automation["actions"]:
            if action["type"] != "run-deployment" or not action.get("deployment_id"):
                continue
            deployment_id = UUID(action["deployment_id"])
            if deployment_id in ids:
                client.request(
                    "PATCH",
                    "/automations/{id}",
                    path_params={"id": automation["id"]},
                    json={"enabled": True},
                )
                events.setdefault(deployment_id, []).extend(automation["trigger"]["expect"])
    return events


def _automations(client: SyncPrefectClient) -> list[dict]:  # type: ignore[type-arg]
    found: list[dict] = client.request("POST", "/automations/filter", json={"limit": 200}).json()  # type: ignore[type-arg]
    return found


def _make_automation(client: SyncPrefectClient) -> None:
    """Have runs marked as crashed whose process ended without a word, with its machine, say."""
    if any(automation["name"] == SILENT_RUNS for automation in _automations(client)):
        return
    over = {f"prefect.flow-run.{name}" for name in ("Completed", "Failed", "Cancelled", "Crashed")}
    over |= {"prefect.flow-run.Paused", "prefect.flow-run.Suspended"}
    heartbeat = "prefect.flow-run.heartbeat"
    automation = AutomationCore(
        name=SILENT_RUNS,
        trigger=EventTrigger(
            after={heartbeat},
            expect={heartbeat, *over},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                name=None,
                state=StateType.CRASHED,
                force=False,
                message=f"no sign of life for {SILENCE.seconds} s: its process or its machine is gone",
            )
        ],
    )
    client.request("POST", "/automations/", json=automation.model_dump(mode="json"))


def _show(client: SyncPrefectClient, triggers: dict[UUID, list[str]], url: str) -> None:
    table = Table("deployment", "pool", "schedule (UTC)", "starts by itself on", box=None)
    for name, deployment in _deployments(client).items():
        schedules = [
            f"{schedule.schedule.cron} ({'on' if schedule.active else 'off'})"
            for schedule in deployment.schedules
            if isinstance(schedule.schedule, CronSchedule)
        ]
        table.add_row(
            name,
            deployment.work_pool_name,
            ", ".join(schedules),
            ", ".join(sorted(triggers.get(deployment.id, []))),
        )
    limit = client.read_global_concurrency_limit_by_name(LIMIT)
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
    print(
        f"\nAt the same time on GPUs: {limit.limit} (limit {LIMIT}; avis deploy --gpu-slots N changes it)\n\n"
        f"A worker, where the work shall be done:  PREFECT_API_URL={url} prefect worker start --pool cpu\n"
        "A run now:                               prefect deployment run rebuild/cpu\n"
        "A schedule, on:                          prefect deployment schedule ls rebuild/cpu, then\n"
        "                                         prefect deployment schedule resume rebuild/cpu ID"
    )
