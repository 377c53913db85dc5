"""`python -m components.compare`: data/comparison/report.html and table.csv over all variants."""

import typer


def main() -> None:
    """Put all models side by side: scores, differences, curves, and frames with masks."""
    from components.core.run.process import run_stage

    def stage() -> None:
        from components.compare.params import CompareParams
        from components.compare.stage import compare
        from components.core.run.params import read_block, read_dataset, read_variant_names
        from components.core.run.paths import Paths

        compare(
            read_block("compare", CompareParams),
            dataset=read_dataset(),
            variants=read_variant_names(),
            paths=Paths(),
        )

    run_stage("compare", stage)


if __name__ == "__main__":
    typer.run(main)
