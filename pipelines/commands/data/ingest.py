"""`avis ingest …`: what became of the videos of the manifest, and a run that fetches what is missing."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.flow import Repository, Revision, run_flow
from pipelines.commands.options import Split

if TYPE_CHECKING:
    from components.ingest.params import IngestParams
    from components.tools.attrition import Attrition, Loss

ingest = typer.Typer(no_args_is_help=True, help="What became of the videos of the manifest.")


@ingest.command()
def status(
    status: Annotated[
        str | None, typer.Option("--list", metavar="STATUS", help="Show the entries with this status.")
    ] = None,
    uploader: Annotated[str | None, typer.Option(help="Show the entries of this uploader.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the entries to this file instead.")] = None,
) -> None:
    """Count the entries by status, split and category, and say what to do."""
    from components.core.run.files import write_csv
    from components.core.run.params import read_block
    from components.core.run.paths import Paths
    from components.ingest.params import IngestParams
    from components.tools.attrition import COLUMNS, read_attrition

    params = read_block("ingest", IngestParams, optional=True)
    attrition = read_attrition(params, Paths().raw)
    if status is None and uploader is None and csv is None:
        _print_overview(attrition, params)
        return
    rows = attrition.chosen(status=status, uploader=uploader).to_pylist()
    if csv is not None:
        if csv.exists():
            raise AvisError("the file is there already", where=str(csv), fix="Name a new one.")
        write_csv(csv, COLUMNS, rows)
        print(f"{csv}: {len(rows)} entries")
        return
    for row in rows:
        who = f"  [{row['uploader']}]" if row["uploader"] else ""
        print(f"{row['video_id']}  {row['status']}  {row['source']}{who}  {row['message'] or ''}".rstrip())
    print(f"{len(rows)} entries", file=sys.stderr)


@ingest.command(context_settings={"ignore_unknown_options": True})  # a YouTube id may begin with a dash
def run(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="YouTube ids or addresses to add.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="That the new ones belong to.")] = None,
    revision: Revision = "main",
    repository: Repository = None,
) -> None:
    """Add videos and fetch what is missing, in a clone; report what could not be had; commit and push."""
    from components.core.run.git import IN_MANIFEST, refuse_password
    from pipelines.dvc.graph import find_root

    for address in ids or []:  # before Prefect knows of it
        refuse_password(address, IN_MANIFEST)
    root = find_root(Path.cwd())
    from pipelines.flows.ingest import ingest as flow

    part = split and split.value
    run_flow(lambda: flow(ids, revision, repository, split=part, root=root, return_state=True))


def _print_overview(attrition: "Attrition", params: "IngestParams") -> None:
    from components.annotate.params import AnnotateParams
    from components.core.run.params import read_block
    from components.core.text.terminal import print_table
    from components.tools.attrition import annotated_categories

    entries = len(attrition.rows)
    print(f"{params.manifest}: {entries} entries")
    if attrition.running:
        print(f"A run is going on, or was stopped: it has finished {attrition.running}.")
    counts = [(name, str(count), f"{count / entries:.1%}") for name, count in attrition.counts().items()]
    print_table(("status", "entries", "share"), counts, numbers=("entries", "share"))
    _print_losses("split", attrition.by_split())
    # Where the annotations come from: those that are written hold only what is there.
    categories = annotated_categories(Path(read_block("annotate", AnnotateParams, optional=True).source))
    if categories:
        _print_losses("category", attrition.by_category(categories))
    advice = attrition.advice(params)
    if advice:
        print("\nWhat to do")
        for name, text in advice.items():
            print(f"  {name}: {text}")
        print("  Which ones: avis ingest status --list STATUS")


def _print_losses(what: str, losses: "dict[str, Loss]") -> None:
    from components.core.text.terminal import print_table

    rows = [
        (name or "(none)", str(loss.entries), str(loss.ok), f"{loss.lost_share:.1%}")
        for name, loss in losses.items()
    ]
    print()
    print_table((what, "entries", "there", "lost"), rows, numbers=("entries", "there", "lost"))
