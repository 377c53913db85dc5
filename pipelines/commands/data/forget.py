"""`avis forget`: remove a video, all that shows it, and keep it from coming back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from components.tools.forgetting.models_that_saw import Seen

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
    from datetime import UTC, datetime

    from components.core.raw.clip_names import source_of
    from components.core.raw.forgotten import Forgotten, ForgottenVideos
    from components.core.run.paths import Paths
    from components.tools.forgetting.clips import find_clips
    from components.tools.forgetting.models_that_saw import models_that_saw
    from components.tools.forgetting.removal import remove
    from pipelines.dvc.cache import remove_objects
    from pipelines.flows.clones import remove_kept

    paths = Paths()
    forgotten = ForgottenVideos(paths.root / "forgotten.csv")
    clips = find_clips(video_ids, paths, forgotten, whole_source=not clip_only)
    for video_id, source in clips.items():
        print(f"{video_id}  {source or ''}".rstrip())
    if dry_run:
        print(f"{len(clips)} clips would be removed. Nothing was changed.")
        return
    if not yes:
        _ask(len(clips))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    forgotten.add(  # first: whatever happens now, it does not come back
        Forgotten(video_id, "" if clip_only else source_of(video_id, source), now, reason)
        for video_id, source in clips.items()
    )
    seen = models_that_saw(clips, paths)
    names = set(clips)
    removed = remove(names, paths)
    objects = remove_objects(names)
    print(f"Removed {len(names)} clips, {removed} derived files that show them, {objects}.")
    print(
        f"Recorded in {forgotten.path}: commit and push it, for runs that work on what was pushed."
        " `dvc repro` makes the pages anew, without them."
    )
    for clone in remove_kept(Path.cwd()):  # of unattended runs that failed: they may hold the videos
        print(f"A run works in the clone {clone}, which may hold them: forget again when it has ended.")
    _say_what_is_left(clips, seen)


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise AvisError("this cannot be undone", fix="Say so with --yes, or look at it with --dry-run.")
    if input(f"Remove these {count} clips, for good? [y/N] ").strip().lower() not in ("y", "yes"):
        raise AvisError("nothing was changed")


def _say_what_is_left(clips: dict[str, str | None], seen: "Seen") -> None:
    """What this command cannot reach, or must not decide."""
    from components.tools.forgetting.clips import annotation_sources_that_name

    print("\nModels that were trained with them (their weights are as they were):")
    for line in seen.lines() or ["none"]:
        print(f"  {line}")
    print("\nNot removed, look yourself:")
    for source in annotation_sources_that_name(clips):
        print(f"  {source} still names them: edit it")
    for origin in sorted({origin for origin in clips.values() if origin and Path(origin).exists()}):
        print(f"  {origin}: where it came from is still there")
    print("  older versions of pages in DVC's cache and remotes: dvc gc --workspace, perhaps with --cloud")
    print("  git's history, if a manifest or annotations with them were ever committed")
    print("  pages and films of earlier runs in MLflow (avis ui): delete the artifacts there")
