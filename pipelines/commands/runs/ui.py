"""`avis ui`: become MLflow's server on this machine; of a remote one, say where it is."""

import os
import sys
from typing import Annotated

import typer

from components.core.run.errors import AvisError

HOST = "127.0.0.1"


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Show the tracked runs (MLflow) in a browser."""
    import socket
    from importlib.metadata import entry_points

    from components.core.run.process import disable_telemetry
    from components.core.tracking.address import server_of, tracking_params
    from components.core.tracking.moved import follow_move
    from components.core.tracking.pages import APP, START
    from components.core.tracking.run import send_pending
    from components.tools.runs.views import first_page

    tracking = tracking_params()
    uri, server = tracking.uri, server_of(tracking.uri)
    if server is not None:
        print(f"Runs are tracked at {server}; avis runs searches prints addresses that open there.")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise AvisError(
                f"port {port} is in use",
                fix=f"Is it open already (http://{HOST}:{port})? Or: avis ui --port 5001",
            ) from None
    disable_telemetry()
    follow_move(uri)
    send_pending()  # what earlier commands could not log
    # Without this MLflow starts seven more processes, for jobs that nothing here has.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    print(f"Runs: http://{HOST}:{port}   (Ctrl-C ends it)", flush=True)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri  # with its password: other users see words of a command
    command = ["-m", "mlflow", "ui", "--host", HOST, "--port", str(port)]
    if entry_points(group="mlflow.app", name=APP):  # not where the packages were installed before it was
        os.environ[START] = first_page(uri, tracking.experiment)
        command += ["--app-name", APP]
    os.execv(sys.executable, [sys.executable, *command, "--workers", "1"])  # noqa: S606 (fixed arguments, no shell)
