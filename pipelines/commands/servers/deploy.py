"""`avis deploy`."""

from enum import StrEnum
from typing import Annotated

import typer


class Pool(StrEnum):
    """Of workers."""

    cpu = "cpu"
    gpu = "gpu"


def deploy(
    pool: Annotated[
        Pool | None, typer.Option(help="Where events start retrain; by default gpu if there is one here.")
    ] = None,
    gpu_slots: Annotated[
        int | None, typer.Option(min=1, help="Stages that may use a GPU at the same time, over all runs.")
    ] = None,
) -> None:
    """Register the flows with a Prefect server: pools, limits, schedules."""
    from pipelines.flows.deployments import deploy

    deploy(pool and pool.value, gpu_slots)
