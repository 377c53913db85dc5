"""`avis profile`."""

from typing import Annotated

import typer


def profile(
    name: Annotated[str | None, typer.Argument(help="A file of params/, without .yaml.")] = None,
) -> None:
    """Write a profile into params.yaml, or list them."""
    from pipelines.commands.profile import apply_profile, list_profiles

    if name is None:
        list_profiles()
    else:
        apply_profile(name)
