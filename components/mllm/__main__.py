"""`python -m components.mllm`: ask the configured models, score them and the AVIS variants alike."""

import typer


def main() -> None:
    """Ask multi-modal models who sounds, when and where in the test clips, and score them.

    The models stand in params.yaml under mllm.models; without any, only the AVIS variants are scored,
    through the same functions.
    """
    from components.core.run.process import run_stage

    def stage() -> None:
        from components.core.run.params import read_block, read_variant_names
        from components.core.run.paths import Paths
        from components.mllm.params import MllmParams
        from components.mllm.stage import mllm

        mllm(
            read_block("mllm", MllmParams),
            variants=read_variant_names(),
            paths=Paths(),
        )

    run_stage("mllm", stage)


if __name__ == "__main__":
    typer.run(main)
