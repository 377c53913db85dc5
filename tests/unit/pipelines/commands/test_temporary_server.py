"""Prefect's temporary server ends with the command that needed it, also if that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux watches processes"),
    pytest.mark.timeout(900),
]

COMMAND = """
import signal, subprocess, sys, threading
from prefect.server.api.server import SubprocessASGIServer
from pipelines.commands.temporary_server import TemporaryServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # what else the command started is not ours to end
SubprocessASGIServer._run_uvicorn_command = lambda self: subprocess.Popen(
    ["sh", "-c", "trap '' TERM; exec 3<>$0; echo serves; read l <&3; echo $l; read l <&3", sys.argv[1]])
TemporaryServer()
as_prefect_does = lambda: SubprocessASGIServer()._run_uvicorn_command()
thread = threading.Thread(target=as_prefect_does)
thread.start()
thread.join()
try:  # from here on Ctrl-C is expected
    print("watched", flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_command(number: signal.Signals, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "asked")
    server_lives, end = os.pipe()
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path / "asked")],
        cwd=Path(__file__).parents[4], stdin=subprocess.PIPE, stdout=end, start_new_session=True,
    )  # fmt: skip
    os.close(end)
    with os.fdopen(server_lives) as said:
        assert {said.readline(), said.readline()} == {"serves\n", "watched\n"}
        os.killpg(command.pid, signal.SIGINT)  # as Ctrl-C does
        assert said.readline() == "interrupted\n"
        with (tmp_path / "asked").open("r+b", buffering=0) as pipe:
            pipe.write(b"still serves\n")
            assert said.readline() == "still serves\n"
        assert command.poll() is None
        command.send_signal(number)
        command.wait()
        assert said.read() == ""  # ends when neither the server nor the command holds the pipe
