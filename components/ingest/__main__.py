"""`python -m components.ingest`: run from the repository root, reads params.yaml there."""

import typer


def main() -> None:
    """Download, cut and verify the videos of the manifest."""
    from components.ingest.stage import main as run

    run()


if __name__ == "__main__":
    typer.run(main)
