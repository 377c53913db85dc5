"""`avis ingest status`: what became of the videos of the manifest."""

import csv
import io
import sys
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.params import read_block
from components.core.run.paths import Paths
from components.ingest.attrition import COLUMNS, Attrition, Loss, annotated_categories, read_attrition
from components.ingest.params import IngestParams


def show_status(
    *, status: str | None = None, uploader: str | None = None, to_csv: Path | None = None
) -> None:
    """Print counts, losses and advice; or, with a status or an uploader, the entries themselves.

    Raises:
        AvisError: the manifest cannot be read, there is no such status, or the file is there already.
    """
    params = read_block("ingest", IngestParams, optional=True)
    attrition = read_attrition(params, Paths().raw)
    if status is None and uploader is None and to_csv is None:
        _print_overview(attrition, params)
        return
    rows = attrition.chosen(status=status, uploader=uploader)
    if to_csv is not None:
        if to_csv.exists():
            raise AvisError("the file is there already", where=str(to_csv), fix="Name a new one.")
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.select(COLUMNS).to_pylist())
        write_text(to_csv, text.getvalue())
        print(f"{to_csv}: {len(rows)} entries")
        return
    for row in rows.to_pylist():
        who = f"  [{row['uploader']}]" if row["uploader"] else ""
        print(f"{row['video_id']}  {row['status']}  {row['source']}{who}  {row['message'] or ''}".rstrip())
    print(f"{len(rows)} entries", file=sys.stderr)


def _print_overview(attrition: Attrition, params: IngestParams) -> None:
    entries = len(attrition.rows)
    print(f"{params.manifest}: {entries} entries")
    if attrition.running:
        print(f"A run is going on, or was stopped: it has finished {attrition.running}.")
    counts = attrition.counts()
    width = max(map(len, counts))
    for name, count in counts.items():
        print(f"  {name:{width}}  {count:8d}  {count / entries:6.1%}")
    _print_losses("split", attrition.by_split())
    categories = annotated_categories(_annotations())
    if categories:
        _print_losses("category", attrition.by_category(categories))
    advice = attrition.advice(params)
    if advice:
        print("\nWhat to do")
        for name, text in advice.items():
            print(f"  {name}: {text}")
        print("  Which ones: avis ingest status --list STATUS")


def _print_losses(what: str, losses: dict[str, Loss]) -> None:
    names = {name: name or "(none)" for name in losses}
    width = max(len(what), *map(len, names.values()), 8)
    print(f"\n  {what:{width}}   entries     there      lost")
    for name, loss in losses.items():
        print(f"  {names[name]:{width}}  {loss.entries:8d}  {loss.ok:8d}  {loss.lost_share:8.1%}")


def _annotations() -> Path:
    """Where the annotations come from: those that are written hold only what is there."""
    from components.annotate.params import AnnotateParams

    return Path(read_block("annotate", AnnotateParams, optional=True).source)
