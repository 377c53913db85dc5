"""`python -m components.annotate`: run from the repository root, reads params.yaml there."""

import typer


def main() -> None:
    """Import annotations to AVISeg JSON and split them by source video."""
    from components.annotate.stage import main as run

    run()


if __name__ == "__main__":
    typer.run(main)
