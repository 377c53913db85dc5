"""`avis agree`: how well people agree on clips that were annotated twice."""

from pathlib import Path
from typing import Annotated

import typer

_SHOWN = 10


def agree(
    second: Annotated[
        Path, typer.Argument(help="AVISeg JSON: some clips annotated again, a file or folder.")
    ],
    out: Annotated[Path, typer.Option(help="For qa.agreements in params.yaml.")] = Path(
        "data/agreements.csv"
    ),
) -> None:
    """Show how well people agree, and write it for the qa stage to show."""
    from components.core.records.annotations import SPLITS, read_annotations
    from components.core.run.params import EngineParams, read_block
    from components.core.run.paths import Paths
    from components.core.text.terminal import print_table
    from components.qa.tables.agreements import write_agreements
    from components.tools import agreement

    files = {split: Paths().annotations / f"{split}.json" for split in SPLITS}
    first = {split: read_annotations(file) for split, file in files.items()}
    again = agreement.read_second_opinions(second)
    found = agreement.agree(first, again, read_block("engine", EngineParams, optional=True))
    known = {video.name for part in first.values() for video in part.videos}
    unknown = [video.name for video in again.videos if video.name not in known]
    if unknown:
        print(
            f"Not in data/annotations, left out: {', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}"
        )
    names = {name for part in first.values() for name in part.categories.values()}
    new = sorted(set(again.categories.values()) - names)
    if new:
        print(
            f"Categories that only the second has: {', '.join(new[:8])}; `avis convert --categories` renames."
        )
    write_agreements(out, found)
    *clips, over_all = found
    clips.sort(key=lambda one: 101.0 if one.hota is None else one.hota)  # worst first, unknown last
    print_table(
        ("clip", "HOTA", "FSLA"),
        [
            (f"{one.split}/{one.video}" if one.video else "all", _percent(one.hota), _percent(one.fsla))
            for one in (*clips[:_SHOWN], over_all)
        ],
        numbers=("HOTA", "FSLA"),
    )
    if len(clips) > _SHOWN:
        print(f"The {_SHOWN} clips with the least agreement; all {len(clips)} are in {out}.")
    print(f"Set qa.agreements in params.yaml to {out}, then `dvc repro qa` shows them in the report.")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
