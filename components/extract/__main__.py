"""`python -m components.extract`: run from the repository root, reads params.yaml there."""

import typer


def main() -> None:
    """Take one frame per second and the sound that belongs to it out of every raw video."""
    from components.extract.stage import main as run

    run()


if __name__ == "__main__":
    typer.run(main)
