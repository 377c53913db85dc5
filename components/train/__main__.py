"""`python -m components.train --variant NAME`: run from the repository root, reads params.yaml there.

`torchrun --nproc-per-node=N -m components.train --variant NAME` runs it in N processes.
"""

import os
import sys
from typing import Annotated

import typer

from components.core.run.process import end_with_parent, run_stage


def main(variant: Annotated[str, typer.Option(help="A name under `variants` in params.yaml.")]) -> None:
    """Train one variant of the AVIS model."""

    def work() -> None:
        from components.core.run.errors import AvisError
        from components.core.run.params import EngineParams, read_block, read_variant
        from components.train.params import TrainParams
        from components.train.processes.launch import (
            launch,
            let_the_first_speak,
            processes_here,
            started_by_torchrun,
        )

        together = started_by_torchrun()
        if together:
            end_with_parent()  # killed with -9, torchrun cannot end its processes
        try:
            params = read_variant(variant, TrainParams)  # a wrong parameter is said before torch is loaded
            engine = read_block("engine", EngineParams, optional=True)
        except AvisError:
            if together and os.environ.get("LOCAL_RANK", "0") != "0":
                let_the_first_speak()
                raise SystemExit(1) from None  # the first process of this machine says it
            raise
        if params.checkpoint is not None:
            if together and os.environ["RANK"] != "0":
                return  # nothing is trained: the first process does it all
            from components.train.released import say_what_is_ignored
            from components.train.stage import take_released

            say_what_is_ignored(variant, params)
            take_released(variant, params)
            return
        if engine.kind == "ray" and not together:
            from components.train.ray_launch import train_on_ray

            train_on_ray(variant, params, engine)
            return
        if not together:
            import torch

            gpus = 0 if params.device == "cpu" else torch.cuda.device_count()
            cores = len(os.sched_getaffinity(0))
            processes = processes_here(params, gpus, cores)
            if processes > 1 or gpus > 1:
                here = f"{gpus} GPUs" if gpus else f"{cores} cores"
                print(f"train {variant}: {processes} processes, {here} here", file=sys.stderr)
            if processes > 1:
                launch(["-m", "components.train", "--variant", variant], processes, params)
                return
        from components.train.processes.distributed import Stopped
        from components.train.stage import train

        try:
            train(variant, params)
        except Stopped:
            let_the_first_speak()
            raise

    run_stage("train", work, variant=variant)


if __name__ == "__main__":
    typer.run(main)
