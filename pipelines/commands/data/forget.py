"""`avis forget`."""

from typing import Annotated

import typer

CONTEXT_SETTINGS = {"ignore_unknown_options": True}  # a YouTube id may begin with a dash


def forget(
    video_ids: Annotated[list[str], typer.Argument(metavar="VIDEO_ID...", help="Or YouTube ids.")],
    reason: Annotated[str, typer.Option(help="Kept in data/forgotten.csv.")] = "",
    clip_only: Annotated[
        bool, typer.Option(help="Not the other clips that are cut from the same video.")
    ] = False,
    yes: Annotated[bool, typer.Option(help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Only show which clips they are.")] = False,
) -> None:
    """Remove a video and all that shows it, for good, and keep it from coming back."""
    from pipelines.commands.forget import forget

    forget(video_ids, reason=reason, clip_only=clip_only, yes=yes, dry_run=dry_run)
