"""`avis up`: Prefect, MLflow, workers, and on demand S3 and PostgreSQL, on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Pool(StrEnum):
    """Of workers."""

    cpu = "cpu"
    gpu = "gpu"


def up(
    pool: Annotated[
        list[Pool] | None, typer.Option(help="Whose work is done here; may be given twice. At first cpu.")
    ] = None,
    s3: Annotated[bool | None, typer.Option(help="An S3 server for MLflow's files, and yours.")] = None,
    postgres: Annotated[
        bool | None, typer.Option(help="PostgreSQL in the place of SQLite, for Prefect and MLflow.")
    ] = None,
) -> None:
    """Start the servers of this checkout, as the last time, and keep them running."""
    from components.core.run.process import disable_telemetry
    from pipelines.commands.servers.status import show
    from pipelines.dvc.graph import find_root
    from pipelines.servers.run import up

    disable_telemetry()
    root = find_root(Path.cwd())
    changes: dict[str, Any] = {"s3": s3, "postgres": postgres, "pools": pool and tuple(map(str, pool))}
    show(up(root, {name: value for name, value in changes.items() if value is not None}))
    print("\nIn a shell that shall use them:  source .avis/environment")
