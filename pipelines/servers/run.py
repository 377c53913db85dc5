"""What `avis up`, `down` and `status` do."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.run.disk import make_sure_of_room
from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.output_folder import alone_in
from components.core.tracking.moved import follow_move
from pipelines.servers.health import Seen, examine, look_at
from pipelines.servers.postgres import make_databases
from pipelines.servers.services import BUCKET, Service, own_database, services, shared_environment
from pipelines.servers.setup import FOLDER, LOGS, Setup, new_setup, read_setup, with_free_ports, write_setup
from pipelines.servers.supervision import start_supervisor, stop_supervisor, supervisor

_ROOM_BYTES = 500_000_000
_READY_S = 600
# What a server's last words mean, and what to do.
_CAUSES = (
    (
        "can't locate revision",
        "its database was written by a newer version",
        "Use the packages of the checkout that wrote it (make install), or move the database away.",
    ),
    (
        "out-of-date database schema",
        "its database was written by an older version",
        "Copy the database, then: .venv/bin/mlflow db upgrade ADDRESS",
    ),
    ("no space left on device", "the disk is full", "Make room."),
    ("address already in use", "another program took its port meanwhile", "avis down, then avis up."),
)


def up(root: Path, changes: dict[str, Any]) -> list[Seen]:
    """Bring all servers up; those that run stay, unless they are to be others.

    Args:
        root: the checkout.
        changes: of the setup, by name; what is not named stays as the last `avis up` had it.

    Raises:
        AvisError: one of them does not come up; the message has the end of its log.
    """
    with _alone(root):
        before = read_setup(root)
        setup = (before or new_setup()).model_copy(update=changes)
        calls = supervisor(before)
        if calls is not None and before != setup:
            stop_supervisor(root, calls)
            calls = None
        if calls is None:
            make_sure_of_room(root, "what servers keep and log", _ROOM_BYTES)
            setup = with_free_ports(setup)
            write_setup(root, setup)
            _prepare(root, setup)
            start_supervisor(root, setup, services(root, setup))
            calls = supervisor(setup)
        _bring_up(root, setup, calls)
        return examine(root, setup)


def down(root: Path) -> bool:
    """End all servers; False if none ran."""
    calls = supervisor(read_setup(root))
    if calls is None:
        return False
    with _alone(root):
        stop_supervisor(root, calls)
    return True


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    with alone_in(folder, "avis up or avis down"):
        yield


def _prepare(root: Path, setup: Setup) -> None:
    """What must lie there before the servers start: databases, who may use the buckets, a file for shells."""
    follow_move(own_database(root))
    if setup.postgres:
        make_databases(root, setup)
    if setup.s3:
        folder = root / FOLDER / "s3"
        folder.mkdir(exist_ok=True)
        keys = [{"accessKey": setup.s3_key, "secretKey": setup.s3_secret}]
        identity = {"name": "avis", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}
        write_text(folder / "s3.json", json.dumps({"identities": [identity]}))
    lines = [f"export {name}={value}\n" for name, value in shared_environment(root, setup).items()]
    write_text(root / FOLDER / "environment", "".join(lines))


def _bring_up(root: Path, setup: Setup, calls: Any) -> None:
    """Start what does not run: stores, then servers, then who works for them."""
    all_of_them = services(root, setup)
    for turn in ("stores", "servers", "workers"):
        started = _start([one for one in all_of_them if one.turn == turn], root, calls)
        if turn == "stores" and setup.s3:
            _make_bucket(setup, shared_environment(root, setup))
        if turn == "servers" and "prefect" in started:
            _deploy(root, setup)


def _start(services: list[Service], root: Path, calls: Any) -> set[str]:
    """Start those of these that do not run, wait until all answer; returns which were started."""
    started = set()
    for one in services:
        if calls.getProcessInfo(one.name)["statename"] in ("STOPPED", "EXITED", "FATAL"):
            calls.startProcess(one.name, False)
            started.add(one.name)
    deadline_s = time.monotonic() + _READY_S
    while services:
        known = {info["name"]: info for info in calls.getAllProcessInfo()}
        services = [one for one in services if look_at(one, known[one.name]).state != "ready"]
        for one in services:
            ended = known[one.name]["statename"] in ("BACKOFF", "FATAL") and one.name in started
            if ended:
                calls.stopProcess(one.name)
            if ended or time.monotonic() > deadline_s:
                raise _not_ready(one.name, root / LOGS / f"{one.name}.log", ended=ended)
        time.sleep(0.2)
    return started


def _not_ready(name: str, log: Path, *, ended: bool) -> AvisError:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for sign, cause, fix in _CAUSES:
        if any(sign in line.lower() for line in lines[-50:]):
            return AvisError(f"{name} does not start: {cause}", where=str(log), fix=fix)
    what = "ends as soon as it starts" if ended else f"does not answer within {_READY_S} s"
    return AvisError(f"{name} {what}. Its last words: {lines[-1] if lines else 'none'}", where=str(log))


def _make_bucket(setup: Setup, environment: dict[str, str]) -> None:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=setup.s3_key,
        aws_secret_access_key=setup.s3_secret,
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    deadline_s = time.monotonic() + _READY_S
    while True:  # it answers before it has room for objects
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=".ready", Body=b"")
            return
        except ClientError as error:
            if error.response["Error"]["Code"].startswith("BucketAlready"):
                return
            if time.monotonic() > deadline_s:
                raise AvisError(f"S3 takes no objects: {error}", where=str(LOGS / "s3.log")) from None
            time.sleep(0.2)


def _deploy(root: Path, setup: Setup) -> None:
    pool = "gpu" if "gpu" in setup.pools else "cpu"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "deploy", "--pool", pool],
        cwd=root,
        env={**os.environ, **shared_environment(root, setup)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AvisError(f"the flows cannot be deployed: {done.stderr.strip().removeprefix('avis: ')}")
