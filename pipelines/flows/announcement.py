"""Events that start deployments, and a second way for those that Prefect's server loses."""

import re
import time
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event

PATIENCE_S = 30.0
_FROM_PAYLOAD = re.compile(r"\{\{ event\.payload\.(\w+) \}\}")


def announce(event: str, resource: str, payload: dict[str, str]) -> None:
    """Emit an event, and see to it that the deployments start that an automation starts on it.

    While its database is locked Prefect's server gives up after a few tries and says so in its log only: what
    has not started after half a minute is started from here: one run too many finds nothing to do.

    Args:
        event: its name.
        resource: what it is about.
        payload: for the parameters of those deployments.
    """
    with get_client(sync_client=True) as client:
        wanted = _starts_on(client, event, payload)
        before = {deployment: _runs(client, deployment).keys() for deployment in wanted}
        emit_event(event, resource={"prefect.resource.id": resource}, payload=payload)
        deadline_s = time.monotonic() + PATIENCE_S
        while wanted and time.monotonic() < deadline_s:
            time.sleep(0.5)
            for deployment, parameters in list(wanted.items()):
                runs = _runs(client, deployment)
                if any(runs[new].items() >= parameters.items() for new in runs.keys() - before[deployment]):
                    del wanted[deployment]
        for deployment, parameters in wanted.items():
            run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            get_run_logger().warning(
                "Prefect started nothing on %s: %s is started from here", event, run.name
            )


def _starts_on(client: SyncPrefectClient, event: str, payload: dict[str, str]) -> dict[UUID, dict[str, Any]]:
    """Which deployments automations start on an event that are switched on, with which parameters."""
    found = {}
    for automation in client.request("POST", "/automations/filter", json={"limit": 200}).json():
        if not automation["enabled"] or event not in automation["trigger"].get("expect", ()):
            continue
        for action in automation["actions"]:
            if action["type"] == "run-deployment" and action.get("deployment_id"):
                found[UUID(action["deployment_id"])] = {
                    name: _FROM_PAYLOAD.sub(lambda place: payload[place[1]], value)
                    for name, value in (action.get("parameters") or {}).items()
                    if isinstance(value, str)
                }
    return found


def _runs(client: SyncPrefectClient, deployment: UUID) -> dict[UUID, dict[str, Any]]:
    """The parameters of a deployment's newest runs, by their ids."""
    mine = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    runs = client.read_flow_runs(flow_run_filter=mine, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
    return {run.id: run.parameters for run in runs}
