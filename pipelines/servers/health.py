"""Who runs, who answers, and what is waiting: for `avis up`, `avis status` and the page."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx

from pipelines.servers.services import Service, services
from pipelines.servers.setup import Setup
from pipelines.servers.supervision import supervisor

_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Seen:
    """A server as it is now: `ready`; `starting`, also again; `silent`, running without an answer; `down`."""

    name: str
    state: Literal["ready", "starting", "silent", "down"]
    pid: int | None
    since: datetime | None
    page: str | None


def examine(root: Path, setup: Setup) -> list[Seen]:
    """Look at all servers at the same time."""
    calls = supervisor(setup)
    known = {} if calls is None else {info["name"]: info for info in calls.getAllProcessInfo()}
    all_of_them = services(root, setup)
    with ThreadPoolExecutor(len(all_of_them)) as pool:
        return list(pool.map(lambda one: look_at(one, known.get(one.name, {})), all_of_them))


def look_at(service: Service, info: Mapping[str, Any]) -> Seen:
    """Judge one by what supervisord knows of its process, and by its own answer."""
    running = info.get("statename") in ("STARTING", "RUNNING")
    state: Literal["ready", "starting", "silent", "down"] = "down"
    if running and (service.health is None or answers(service.health)):
        state = "ready"
    elif running:
        state = "starting" if info["statename"] == "STARTING" else "silent"
    elif info.get("statename") == "BACKOFF":
        state = "starting"
    since = datetime.fromtimestamp(info["start"], UTC) if running else None
    return Seen(service.name, state, info.get("pid") or None, since, service.page)


def answers(address: str) -> bool:
    """Whether a server is there; one that asks who we are is."""
    try:
        return httpx.get(address, timeout=_PATIENCE_S, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Queue:
    """Flow runs of a Prefect server; late: should have begun and wait."""

    running: int
    late: int


def queue(prefect: str) -> Queue | None:
    """Ask Prefect's API what is to do; None if it does not answer."""
    now = datetime.now(UTC).isoformat()
    running = {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}
    late = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": now}}
    try:
        with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as client:
            counts = [
                int(
                    client.post(f"{prefect}/flow_runs/count", json={"flow_runs": wanted})
                    .raise_for_status()
                    .json()
                )
                for wanted in (running, late)
            ]
    except httpx.HTTPError:
        return None
    return Queue(*counts)


@dataclass(frozen=True)
class Disk:
    """Where data and logs lie."""

    free_gb: float
    size_gb: float


def disk(root: Path) -> Disk:
    """Of the disk that holds the checkout."""
    usage = shutil.disk_usage(root)
    return Disk(usage.free / 1e9, usage.total / 1e9)
