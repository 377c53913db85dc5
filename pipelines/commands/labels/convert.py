"""`avis convert`: annotations from one format to another."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path | None, typer.Argument(help="An annotation file, a folder of them, or a .zip.")
    ] = None,
    target: Annotated[Path | None, typer.Argument(help="A file, a new folder or a .zip.")] = None,
    to: Annotated[str | None, typer.Option(metavar="FORMAT", help="The target's format.")] = None,
    from_: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="The source's format, instead of guessing it.")
    ] = "auto",
    categories: Annotated[
        Path | None,
        typer.Option(help="YAML lines `name in the source: name in the target`; null drops a category."),
    ] = None,
    frame_rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Annotated frames a second of the source: one a second is kept."),
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(help="Sound labels of Audacity, ELAN or Label Studio: a file per video, or a folder."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if anything is dropped, merged, guessed or filled in.")
    ] = False,
    max_changed_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the masks that may be dropped or moved on reading.")
    ] = 0.01,
    check: Annotated[
        bool, typer.Option("--check", help="Read back what was written and compare it pixel by pixel.")
    ] = False,
    show_formats: Annotated[
        bool, typer.Option("--list", help="Show the formats, what each holds and what not.")
    ] = False,
) -> None:
    """Convert annotations between formats, and say what the target cannot hold."""
    from components.annotate.capabilities import count
    from components.annotate.exports import count_masks
    from components.tools import convert as conversion

    if show_formats:
        print(conversion.describe_formats())
        return
    if source is None or target is None or to is None:
        raise typer.BadParameter("give SOURCE, TARGET and --to FORMAT, or --list")
    done = conversion.convert(
        source,
        target,
        target_format=to,
        source_format=from_,
        category_map=categories,
        frame_rate_hz=frame_rate,
        sound=sound,
        strict=strict,
        max_changed_share=max_changed_share,
        check=check,
    )
    for one in done.sources:
        print(f"{one.name}: {one.format.name} ({one.reason})")
    print(*done.changes.report(), sep="\n")
    for note in done.notes:
        print(f"  {note}")
    annotations = done.annotations
    masks = count_masks([annotations])
    counts = (
        count(len(annotations.videos), "video"),
        count(len(annotations.tracks), "track"),
        count(masks, "mask"),
        count(len(annotations.categories), "category", "categories"),
    )
    print(f"{target}: {to}, {', '.join(counts)}")
    for sentence in done.lost:
        print(f"  {to} cannot hold all: {sentence}")
    if done.check is not None:
        print(*done.check.report(), sep="\n")
        done.check.refuse(target)
