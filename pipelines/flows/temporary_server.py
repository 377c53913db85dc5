"""Prefect's temporary server, for commands without a server: it does not outlive them."""

import subprocess

from prefect.server.api.server import SubprocessASGIServer

from components.core.run.process import end_with_us


class TemporaryServer(SubprocessASGIServer):
    """Once made, it is what Prefect starts when it needs a server and has none.

    Prefect ends its own at exit: after a SIGKILL it ran on.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[bytes]:
        server: subprocess.Popen[bytes] = super()._run_uvicorn_command()
        end_with_us(server)
        return server
