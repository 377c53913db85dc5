"""`avis agree`: how well people agree on clips that were annotated twice, for the qa stage."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.core.records.annotations import SPLITS, read_annotations
from components.core.run.params import EngineParams, read_block
from components.core.run.paths import Paths
from components.qa.tables.agreements import Agreement, write_agreements
from components.tools.agreement import agree as compare
from components.tools.agreement import read_second_opinions

_SHOWN = 10


def agree(second: Path, out: Path) -> None:
    """Compare second annotations of some clips with data/annotations, print and write HOTA and FSLA.

    Args:
        second: AVISeg JSON, a file or a folder.
        out: a CSV file.

    Raises:
        AvisError: a file is missing or malformed, or the two do not fit.
    """
    files = {split: Paths().annotations / f"{split}.json" for split in SPLITS}
    first = {split: read_annotations(file) for split, file in files.items()}
    again = read_second_opinions(second)
    found = compare(first, again, read_block("engine", EngineParams, optional=True))
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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("clip", "HOTA", "FSLA"):
        table.add_column(column, justify="left" if column == "clip" else "right")
    clips = sorted(found[:-1], key=lambda one: 101.0 if one.hota is None else one.hota)
    for agreement in (*clips[:_SHOWN], found[-1]):
        table.add_row(_name(agreement), _percent(agreement.hota), _percent(agreement.fsla))
    Console().print(table)
    if len(clips) > _SHOWN:
        print(f"The {_SHOWN} clips with the least agreement; all {len(clips)} are in {out}.")
    print(f"Set qa.agreements in params.yaml to {out}, then `dvc repro qa` shows them in the report.")


def _name(agreement: Agreement) -> str:
    return f"{agreement.split}/{agreement.video}" if agreement.video else "all"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
