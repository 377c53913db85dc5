"""`avis corrections`."""

from pathlib import Path
from typing import Annotated

import typer


def corrections(
    draft: Annotated[Path, typer.Argument(help="draft.json of avis preannotate, or any AVISeg JSON.")],
    corrected: Annotated[
        Path, typer.Argument(help="A file or folder of any format that avis convert reads.")
    ],
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="For a page and tables.")] = None,
    categories: Annotated[
        Path | None, typer.Option(help="YAML lines `name in the corrected ones: name in the draft`.")
    ] = None,
) -> None:
    """Show what people changed of a draft: the model's errors by category."""
    from pipelines.commands.preannotate import corrections

    corrections(draft, corrected, report, categories)
