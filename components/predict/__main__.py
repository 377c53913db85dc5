"""`python -m components.predict --variant NAME`: run from the repository root, reads params.yaml there."""

from typing import Annotated

import typer

from components.core.run.process import run_stage


def main(variant: Annotated[str, typer.Option(help="A name under `variants` in params.yaml.")]) -> None:
    """Find the sounding objects of the test clips with a trained variant."""

    def work() -> None:
        from components.core.inference.params import PredictParams
        from components.core.run.params import read_block

        params = read_block("predict", PredictParams)
        from components.predict.stage import predict

        predict(variant, params)

    run_stage("predict", work, variant=variant)


if __name__ == "__main__":
    typer.run(main)
