"""supervisord of this checkout: it starts the servers, starts anew what died, and keeps their logs."""

import http.client
import os
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

import psutil

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from pipelines.servers.services import Service
from pipelines.servers.setup import FOLDER, HOST, LOGS, Setup

CONFIG = FOLDER / "supervisor.conf"
_PYTHON = "AVIS_SERVERS_PYTHON"
_ENDING_S = 300
# Names are relative to the checkout, whose own may hold signs that mean something here.
_HEAD = """\
[supervisord]
identifier=avis
logfile={logs}/supervisor.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={folder}/supervisor.pid
childlogdir={logs}
[inet_http_server]
port={host}:{port}
username=avis
password={password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
# What ends within its first half minute is started again after 1, 2, 3, … seconds.
_PROGRAM = """\
[program:{name}]
command="%(ENV_{python})s" -m pipelines.servers.start {name}
autostart=false
autorestart=true
startsecs=30
startretries=1000
stopsignal={stop}
stopwaitsecs=15
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""


def start_supervisor(root: Path, setup: Setup, services: list[Service]) -> None:
    """Start supervisord in the background, with nothing running yet.

    Raises:
        AvisError: it does not start.
    """
    head = _HEAD.format(
        logs=LOGS, folder=FOLDER, host=HOST, port=setup.ports["supervisor"], password=setup.password
    )
    programs = [
        _PROGRAM.format(name=one.name, python=_PYTHON, stop=one.stop.name.removeprefix("SIG"), logs=LOGS)
        for one in services
    ]
    write_text(root / CONFIG, head + "".join(programs))
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(CONFIG)],
        cwd=root,
        env={**os.environ, _PYTHON: sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AvisError(
            f"supervisord does not start: {(done.stderr or done.stdout).strip()}", where=str(CONFIG)
        )
    deadline_s = time.monotonic() + 60
    while supervisor(setup) is None:
        if time.monotonic() > deadline_s:
            raise AvisError("supervisord does not answer", where=str(root / LOGS / "supervisor.log"))
        time.sleep(0.1)


def supervisor(setup: Setup | None) -> Any:
    """Return the calls that supervisord answers; None if it does not run, or another program has its port."""
    if setup is None:
        return None
    address = f"http://avis:{setup.password}@{HOST}:{setup.ports['supervisor']}/RPC2"
    calls: Any = xmlrpc.client.ServerProxy(address).supervisor
    try:
        calls.getIdentification()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError):
        return None
    return calls


def stop_supervisor(root: Path, calls: Any) -> None:
    """Let supervisord end all servers, the last first, and then itself; returns when it is gone.

    Raises:
        AvisError: it is still there after minutes.
    """
    process = psutil.Process(calls.getPID())
    calls.shutdown()
    try:
        process.wait(_ENDING_S)
    except psutil.TimeoutExpired:
        raise AvisError(
            f"supervisord (process {process.pid}) did not end within {_ENDING_S} s",
            where=str(root / LOGS / "supervisor.log"),
            fix="Its log says what it waits for.",
        ) from None
