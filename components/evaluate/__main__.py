"""`python -m components.evaluate --variant NAME`: run from the repository root, reads params.yaml there."""

import typer


def main(
    variant: str = typer.Option(..., help="The trained model to score, a key of `variants` in params.yaml."),
) -> None:
    """Score data/predictions/NAME against the test annotations; write data/evaluation/NAME."""
    from components.core.run.process import run_stage

    run_stage("evaluate", lambda: _evaluate(variant), variant=variant)


def _evaluate(variant: str) -> None:
    from components.core.run.params import EngineParams, read_block, read_variant_names
    from components.core.run.paths import Paths
    from components.evaluate.params import EvaluateParams
    from components.evaluate.stage import evaluate

    evaluate(
        variant,
        known_variants=read_variant_names(),
        params=read_block("evaluate", EvaluateParams, optional=True),
        engine=read_block("engine", EngineParams, optional=True),
        paths=Paths(),
    )


if __name__ == "__main__":
    typer.run(main)
