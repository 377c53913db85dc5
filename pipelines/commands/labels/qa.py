"""`avis qa`: the checks by hand, their list, and the repairs that need no judgement."""

from pathlib import Path
from typing import Annotated

import typer

from components.core.run.errors import AvisError

qa = typer.Typer(help="Check annotations and media, as the qa stage does.")


@qa.callback(invoke_without_command=True)
def check(
    context: typer.Context,
    list_checks: Annotated[
        bool, typer.Option("--list", help="List the checks with their thresholds, and end.")
    ] = False,
) -> None:
    """Check annotations and media, as the qa stage does, and write data/qa/report.html."""
    if context.invoked_subcommand is not None:
        return
    from components.qa.stage import list_all_checks
    from components.qa.stage import main as run

    if list_checks:
        list_all_checks()
    else:
        run()


@qa.command()
def fix(
    source: Annotated[
        Path | None, typer.Argument(help="AVISeg JSON, or a folder of it; else annotate.source.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The repaired file or folder; else beside the source.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="specks, pinholes: repairs that change what is labelled.")
    ] = None,
) -> None:
    """Apply the repairs that need no judgement, and write what was done."""
    from collections import Counter

    from components.annotate.params import AnnotateParams
    from components.core.run.params import read_block
    from components.core.text.terminal import print_table
    from components.tools.label_repair import ON_REQUEST, fix_file, fix_folder

    for name in also or []:
        if name not in ON_REQUEST:
            raise AvisError(
                f"There is no repair {name!r}", where="--also", fix=f"Known: {', '.join(ON_REQUEST)}."
            )
    source = source or Path(read_block("annotate", AnnotateParams).source)
    if not source.exists():
        raise AvisError("There is no such file or folder", where=str(source))
    target = out or (
        source.with_name(f"{source.name}-fixed")
        if source.is_dir()
        else source.with_name(f"{source.stem}.fixed.json")
    )
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise AvisError(
            "There is something already",
            where=str(target),
            fix="Remove it, or name another target with --out.",
        )
    repairs = (fix_folder if source.is_dir() else fix_file)(source, target, also or [])
    if not repairs:
        print(f"Nothing to repair in {source}.")
        return
    counts = Counter(repair.fix for repair in repairs)
    print_table(("repair", "number"), [(name, str(n)) for name, n in counts.items()], numbers=("number",))
    print(f"Written to {target}; what was done: {target}{'/**/*' if source.is_dir() else ''}.repairs.csv")
    print(f"To use it, set annotate.source in params.yaml to {target}.")
