"""The flow `settle_champion`: an answer for a version that waits, given in Prefect's page."""

from pathlib import Path
from typing import Any

from components.core.run.errors import AvisError
from components.core.run.process import disable_telemetry
from pipelines.dvc.graph import find_root
from pipelines.flows.approval import settle
from pipelines.flows.notifications import notify_failure
from pipelines.flows.registry_access import open_registry, promotion_params, when_there

disable_telemetry()

from prefect import flow, get_run_logger  # noqa: E402
from prefect.client.schemas.objects import State  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402


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
