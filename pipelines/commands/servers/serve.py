"""`avis serve`: a model answers over HTTP."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    model: Annotated[
        str | None, typer.Option(help="As of avis predict; models:/avis@champion follows the champion.")
    ] = None,
    host: Annotated[str, typer.Option(help="Beyond 127.0.0.1 only with --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    keys: Annotated[
        Path | None, typer.Option(help="A file with an owner and a key a line; who has none is refused.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Videos at the same time, each with the model.")] = 1,
    most_waiting: Annotated[int, typer.Option(min=1, help="Videos in the queue.")] = 100,
    most_of_one: Annotated[int, typer.Option(min=1, help="Videos of one key, waiting or at work.")] = 20,
    most_mb: Annotated[int, typer.Option(min=1, metavar="MB", help="Of a video.")] = 2000,
    deadline: Annotated[float, typer.Option(min=1, metavar="S", help="Of the work on a video.")] = 3600,
    keep: Annotated[float, typer.Option(min=0.01, metavar="HOURS", help="Results stay so long.")] = 24,
    folder: Annotated[Path, typer.Option(help="Where videos and results lie.")] = Path(".avis/serve"),
) -> None:
    """Take videos over HTTP and answer with films, masks and events."""
    from components.core.run.errors import AvisError
    from pipelines.commands.options import model_path
    from pipelines.serving.jobs import Rules
    from pipelines.serving.run import LOOPBACK, follow, read_keys, run_server

    known = read_keys(keys) if keys else {}
    if host not in LOOPBACK and not known:
        raise AvisError(
            "without --keys anybody in the network may use this machine",
            where=f"--host {host}",
            fix="Name a file of keys, and put a proxy with TLS before it: keys travel in the open else.",
        )
    rules = Rules(most_waiting, most_of_one, deadline, keep * 3600, workers)
    moves = model is not None and model.startswith("models:/") and "@" in model
    wanted = follow(lambda: model_path(model), moves=moves)
    run_server(wanted, folder, rules, known, most_mb * 1_000_000, host, port)
