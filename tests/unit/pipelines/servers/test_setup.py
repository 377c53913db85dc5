"""What `avis up` keeps between its runs."""

import socket
import threading
from pathlib import Path

import pytest

from components.core.run.errors import AvisError
from pipelines.servers.setup import (
    FOLDER,
    HOST,
    PORTS,
    new_setup,
    read_setup,
    setup_of,
    with_free_ports,
    write_setup,
)
from pipelines.servers.supervision import supervisor


def test_ports_in_use_are_left_out_and_chosen_ones_stay() -> None:
    first = with_free_ports(new_setup())
    assert sorted(first.ports) == sorted(PORTS) and len(set(first.ports.values())) == len(PORTS)
    with socket.socket() as other:
        other.bind((HOST, first.ports["mlflow"]))
        second = with_free_ports(first)
    changed = {name for name in PORTS if first.ports[name] != second.ports[name]}
    assert changed == {"mlflow"}


def test_it_is_read_as_it_was_written_and_by_its_owner_alone(tmp_path: Path) -> None:
    assert read_setup(tmp_path) is None
    with pytest.raises(AvisError, match=r"no servers were started here.*avis up"):
        setup_of(tmp_path)
    setup = new_setup().model_copy(update={"pools": ("cpu", "gpu"), "s3": True})
    write_setup(tmp_path, setup)
    assert setup_of(tmp_path) == setup
    assert (tmp_path / FOLDER).stat().st_mode & 0o077 == 0
    (tmp_path / FOLDER / "servers.json").write_text('{"pools": ["tpu"]}')
    with pytest.raises(AvisError, match=r"servers\.json.*Remove it"):
        read_setup(tmp_path)


def test_another_program_at_the_supervisors_port_is_no_supervisor() -> None:
    """As after a restart of the machine."""
    with socket.create_server((HOST, 0)) as other:
        setup = new_setup().model_copy(update={"ports": {**PORTS, "supervisor": other.getsockname()[1]}})
        other.settimeout(60)

        def refuse() -> None:
            with other.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-other\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        assert supervisor(setup) is None
        thread.join()
    assert supervisor(setup) is None
    assert supervisor(None) is None
