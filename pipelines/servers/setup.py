"""What `avis up` was told, and what it chose: ports and passwords, kept in .avis/ of the checkout."""

import json
import secrets
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.core.run.errors import AvisError
from components.core.run.files import write_text

FOLDER = Path(".avis")
LOGS = FOLDER / "logs"
HOST = "127.0.0.1"
# Where each is looked for first; SeaweedFS is four servers, each with a second port for the others.
PORTS = {
    "supervisor": 4279,
    "page": 4280,
    "prefect": 4200,
    "mlflow": 5000,
    "worker-cpu": 4290,
    "worker-gpu": 4291,
    "postgres": 5433,
    "s3": 8333,
    "s3-master": 9333,
    "s3-volume": 9340,
    "s3-filer": 8888,
}
_OF_S3 = ("s3", "s3-master", "s3-volume", "s3-filer")
SECOND_PORT = 10_000  # of SeaweedFS's servers: the first and this
_MOST_TRIED = 200


class Setup(BaseModel):
    """Of the servers of one checkout. Passwords never leave this machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pools: tuple[Literal["cpu", "gpu"], ...] = ("cpu",)
    s3: bool = False
    postgres: bool = False
    ports: dict[str, int] = Field(default=PORTS)
    password: str
    s3_key: str
    s3_secret: str

    @field_validator("ports")
    @classmethod
    def _of_all(cls, ports: dict[str, int]) -> dict[str, int]:
        return {**PORTS, **ports}  # of a version that had fewer servers


def read_setup(root: Path) -> Setup | None:
    """Return what an earlier `avis up` wrote; None if there was none.

    Raises:
        AvisError: the file is damaged, or of another version.
    """
    file = root / FOLDER / "servers.json"
    try:
        return Setup.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise AvisError(
            f"it cannot be read: {error.errors()[0]['msg']}",
            where=str(file),
            fix="Remove it; `avis up` writes it anew, and asks for --s3 and --postgres again.",
        ) from None


def setup_of(root: Path) -> Setup:
    """As `read_setup`, where servers must have been started.

    Raises:
        AvisError: they were not.
    """
    setup = read_setup(root)
    if setup is None:
        raise AvisError("no servers were started here", where=str(root), fix="avis up")
    return setup


def new_setup() -> Setup:
    """Return the setup of a checkout that had none."""
    return Setup(password=secrets.token_hex(24), s3_key=secrets.token_hex(8), s3_secret=secrets.token_hex(24))


def write_setup(root: Path, setup: Setup) -> None:
    """Keep it where only this user reads."""
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    (root / LOGS).mkdir(exist_ok=True)
    write_text(folder / "servers.json", json.dumps(setup.model_dump(mode="json"), indent=1) + "\n")


def with_free_ports(setup: Setup) -> Setup:
    """Return the setup with ports that nobody listens at; those it had are kept where they are free.

    Raises:
        AvisError: none is free near the usual one.
    """
    chosen: dict[str, int] = {}
    for name, usual in PORTS.items():
        wanted = [setup.ports[name], *range(usual, usual + _MOST_TRIED)]
        second = SECOND_PORT if name in _OF_S3 else None
        taken = set(chosen.values())
        free = (port for port in wanted if port not in taken and _is_free(port, second))
        port = next(free, None)
        if port is None:
            raise AvisError(
                f"the {_MOST_TRIED} ports from {usual} on are in use", where=name, fix="Free one of them."
            )
        chosen[name] = port
    return setup.model_copy(update={"ports": chosen})


def _is_free(port: int, second: int | None) -> bool:
    try:
        for number in (port, port + second) if second else (port,):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, number))
    except OSError:
        return False
    return True
