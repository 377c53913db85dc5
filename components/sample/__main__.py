"""`python -m components.sample`: run from the repository root, reads params.yaml there."""

import typer


def main() -> None:
    """Compose clips with exact masks and sound from the kit."""
    from components.sample.stage import main as run

    run()


if __name__ == "__main__":
    typer.run(main)
