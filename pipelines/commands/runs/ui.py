"""`avis ui`."""

from typing import Annotated

import typer


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Show the tracked runs (MLflow) in a browser."""
    from pipelines.commands.ui import serve

    serve(port)
