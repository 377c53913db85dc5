"""A real Prefect server on a free port of this machine, and its API."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx


class Server:
    """A running server.

    url: its API. environment: for processes that shall use it. home: PREFECT_HOME of all of them.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PREFECT")},
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
        }

    def request(self, method: str, path: str, **json: Any) -> Any:
        """Ask the API; returns what its answer holds."""
        deadline_s = time.monotonic() + 600
        while True:
            answer = httpx.request(method, f"{self.url}{path}", json=json or None, timeout=30)
            # The database was locked, and nothing has happened: Prefect's own client asks again, too.
            if answer.status_code != 503 or time.monotonic() > deadline_s:
                break
            time.sleep(0.2)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def prefect_server(home: Path) -> Iterator[Server]:
    """Start a server and end it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    home.mkdir(parents=True, exist_ok=True)
    server = Server(home, port)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, server, home.parent, "server.log") as process:
        wait_until(lambda: _answers(server), 300, f"no server, see {home.parent}/server.log", process)
        yield server


@contextmanager
def started(
    command: list[str], server: Server, folder: Path, log: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program that uses the server; on leaving it is asked to end, then made to."""
    with (
        (folder / log).open("ab") as file,
        subprocess.Popen(command, cwd=folder, env=server.environment, stdout=file, stderr=file) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _answers(server: Server) -> bool:
    try:
        return bool(server.request("GET", "/health"))
    except httpx.HTTPError:
        return False


def wait_until(
    true: Callable[[], object],
    within_s: float,
    else_say: str,
    process: "subprocess.Popen[bytes] | None" = None,
) -> None:
    """Wait until something holds; fail when it takes too long, or the process that brings it has ended."""
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, else_say
        assert process is None or process.poll() is None, else_say
        time.sleep(0.1)
