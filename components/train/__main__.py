"""`python -m components.train --variant NAME`: run from the repository root, reads params.yaml there."""

from typing import Annotated

import typer

from components.core.stage import run_stage


def main(variant: Annotated[str, typer.Option(help="A name under `variants` in params.yaml.")]) -> None:
    """Train one variant of the AVIS model."""

    def work() -> None:
        from components.core.params import read_variant
        from components.train.params import TrainParams

        params = read_variant(variant, TrainParams)  # a wrong parameter is said before torch is loaded
        from components.train.stage import train

        train(variant, params)

    run_stage("train", work)


if __name__ == "__main__":
    typer.run(main)
