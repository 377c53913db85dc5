"""`python -m components.qa`: run from the repository root, reads params.yaml there."""

import typer


def main(
    list_checks: bool = typer.Option(False, "--list", help="List the checks with their thresholds, and end."),
) -> None:
    """Check annotations and media, write data/qa/report.html, and fail on blocking findings."""
    from components.qa.stage import list_all_checks
    from components.qa.stage import main as run

    if list_checks:
        list_all_checks()
    else:
        run()


if __name__ == "__main__":
    typer.run(main)
