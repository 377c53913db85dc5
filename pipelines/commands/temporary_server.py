"""Prefect's temporary server, for commands without a server: it ends with them, neither before nor after."""

import signal
import subprocess

from prefect.server.api.server import SubprocessASGIServer

from components.core.run.process import end_with_us


class TemporaryServer(SubprocessASGIServer):
    """Once made, it is what Prefect starts when it needs a server and has none.

    Prefect ends its own at exit: after a SIGKILL it ran on, and Ctrl-C in a terminal ended it before the
    run had told it how it ended, which was then tried again for minutes.
    """

    def _run_uvicorn_command(self) -> subprocess.Popen[bytes]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # children inherit it
        try:
            server: subprocess.Popen[bytes] = super()._run_uvicorn_command()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end_with_us(server)
        return server
