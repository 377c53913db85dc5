"""The servers and workers of one machine: each one's command, surroundings and sign of health."""

import platform
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from components.core.run.params import PARAMS, read_block
from components.core.run.process import NO_TELEMETRY
from components.core.tracking.address import NO_TRACKING, TrackingParams, server_of, with_whole_path
from pipelines.servers.postgres import programs
from pipelines.servers.setup import FOLDER, HOST, SECOND_PORT, Setup

BUCKET = "avis"


@dataclass(frozen=True)
class Service:
    """One process that is kept running.

    health: an address that answers when it is ready; None: it is as long as its process is there.
    page: what people open.
    turn: when it starts, each turn after the one before is ready.
    stop: what ends it in an orderly way; orphaned: what it gets when the supervisor is killed.
    """

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    health: str | None = None
    page: str | None = None
    turn: Literal["stores", "servers", "workers"] = "servers"
    stop: signal.Signals = signal.SIGTERM
    orphaned: signal.Signals = signal.SIGTERM


def shared_environment(root: Path, setup: Setup) -> dict[str, str]:
    """What programs need to find the servers: workers, and the shell that reads .avis/environment."""
    found = {"PREFECT_API_URL": f"{_url(setup, 'prefect')}/api"}
    if runs_mlflow(root):
        found["MLFLOW_TRACKING_URI"] = _url(setup, "mlflow")
    if setup.s3:
        found |= {
            "AWS_ENDPOINT_URL_S3": _url(setup, "s3"),
            "AWS_ACCESS_KEY_ID": setup.s3_key,
            "AWS_SECRET_ACCESS_KEY": setup.s3_secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    return found


def runs_mlflow(root: Path) -> bool:
    """Whether MLflow is to run here: not where params.yaml names a server elsewhere, or none."""
    uri = _tracking(root).uri
    return uri != NO_TRACKING and server_of(uri) is None


def own_database(root: Path) -> str:
    """Return what params.yaml says of where runs are: the environment may name the server that we start."""
    return with_whole_path(_tracking(root).uri, root)


def _tracking(root: Path) -> TrackingParams:
    return read_block("tracking", TrackingParams, path=root / PARAMS, optional=True)


def services(root: Path, setup: Setup) -> list[Service]:
    """All of them."""
    shared = {**NO_TELEMETRY, **shared_environment(root, setup)}
    stores = [_postgres(root, setup)] if setup.postgres else []
    stores += [_s3(root, setup)] if setup.s3 else []
    servers = [_prefect(root, setup)]
    servers += [_mlflow(root, setup)] if runs_mlflow(root) else []
    workers = [_worker(pool, shared, setup) for pool in setup.pools]
    return [*stores, *servers, *workers, _page(setup)]


def _url(setup: Setup, name: str) -> str:
    return f"http://{HOST}:{setup.ports[name]}"


def _database(setup: Setup, name: str, driver: str) -> str:
    return f"postgresql+{driver}://avis:{setup.password}@{HOST}:{setup.ports['postgres']}/{name}"


def _postgres(root: Path, setup: Setup) -> Service:
    settings = {"listen_addresses": HOST, "port": setup.ports["postgres"], "unix_socket_directories": ""}
    return Service(
        "postgres",
        [
            *(str(programs() / "postgres"), "-D", str(root / FOLDER / "postgres")),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        ],
        turn="stores",
        stop=signal.SIGINT,  # "fast": else it waits for whoever is connected
        orphaned=signal.SIGINT,
    )


def _s3(root: Path, setup: Setup) -> Service:
    folder = root / FOLDER / "s3"
    ports = {role: setup.ports["s3" if role == "s3" else f"s3-{role}"] for role in _ROLES}
    return Service(
        "s3",
        [
            *(str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}", "-filer", "-s3"),
            *(f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.config={folder / 's3.json'}"),
            *(f"-{role}.port={port}" for role, port in ports.items()),
            *(f"-{role}.port.grpc={port + SECOND_PORT}" for role, port in ports.items()),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=1024", "-volume.max=0"),
        ],
        health=_url(setup, "s3"),
        turn="stores",
    )


_ROLES = ("master", "volume", "filer", "s3")


def _prefect(root: Path, setup: Setup) -> Service:
    environment = {
        **NO_TELEMETRY,
        "PREFECT_HOME": str(root / FOLDER / "prefect"),
        "PREFECT_API_URL": f"{_url(setup, 'prefect')}/api",
        # Who holds the GPU is kept on disk: a server that is started again would never give the slot back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    if setup.postgres:
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = _database(setup, "prefect", "asyncpg")
    port = str(setup.ports["prefect"])
    return Service(
        "prefect",
        [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", port],
        environment,
        health=f"{_url(setup, 'prefect')}/api/health",
        page=_url(setup, "prefect"),
    )


def _mlflow(root: Path, setup: Setup) -> Service:
    from components.core.tracking.pages import APP, START
    from components.tools.runs.views import first_page

    uri = _database(setup, "mlflow", "psycopg2") if setup.postgres else own_database(root)
    files = f"s3://{BUCKET}/mlflow" if setup.s3 else str(root / "mlartifacts")
    return Service(
        "mlflow",
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(setup.ports["mlflow"])),
            *("--artifacts-destination", files, "--workers", "1", "--app-name", APP),
        ],
        {
            **NO_TELEMETRY,
            **shared_environment(root, setup),
            "MLFLOW_BACKEND_STORE_URI": uri,  # not in the command: other users see its words
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # no workers for chat models
            START: first_page(uri, _tracking(root).experiment),
        },
        health=f"{_url(setup, 'mlflow')}/health",
        page=_url(setup, "mlflow"),
    )


def _worker(pool: str, environment: dict[str, str], setup: Setup) -> Service:
    name = f"worker-{pool}"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--with-healthcheck"]
    return Service(
        name,
        [*command, "--name", f"{platform.node()}-{pool}"],
        {
            **environment,
            "PREFECT_CLI_PROMPT": "false",
            "PREFECT_WORKER_WEBSERVER_HOST": HOST,
            "PREFECT_WORKER_WEBSERVER_PORT": str(setup.ports[name]),
        },
        health=f"{_url(setup, name)}/health",
        turn="workers",
        orphaned=signal.SIGKILL,  # asked to end it would wait for its runs; killed it takes none with it
    )


def _page(setup: Setup) -> Service:
    port = str(setup.ports["page"])
    return Service(
        "page",
        [sys.executable, "-m", "uvicorn", "pipelines.servers.page:app", "--host", HOST, "--port", port],
        health=f"{_url(setup, 'page')}/health",
        page=_url(setup, "page"),
        turn="workers",
    )
