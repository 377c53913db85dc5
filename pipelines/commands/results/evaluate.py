"""`avis evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Protocol(StrEnum):
    """Whose numbers."""

    official = "official"
    corrected = "corrected"
    both = "both"


def evaluate(
    ground_truth: Annotated[Path, typer.Option(help="AVISeg JSON.")],
    results: Annotated[Path, typer.Option(help="Results in the official format.")],
    protocol: Annotated[Protocol, typer.Option(help="docs/results.md tells them apart.")] = Protocol.both,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Other results for the same videos: which are better, or is it noise?")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page of what goes wrong, with tables and plots.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder with JPEGImages and WAVAudios, for the report's films.")
    ] = None,
    lenient: Annotated[bool, typer.Option(help="Leave wrong rows out and count them.")] = False,
) -> None:
    """Score a results file against annotations."""
    from pipelines.commands.evaluate import evaluate

    evaluate(
        ground_truth,
        results,
        protocol.value,
        out=json,
        against=against,
        report=report,
        media=media,
        lenient=lenient,
    )
