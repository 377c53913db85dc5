"""`avis corrections`: what people changed of a draft."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from components.core.records.annotations import AnnotationSet


def corrections(
    draft: Annotated[Path, typer.Argument(help="draft.json of avis preannotate, or any AVISeg JSON.")],
    corrected: Annotated[
        Path, typer.Argument(help="A file or folder of any format that avis convert reads.")
    ],
    report: Annotated[Path | None, typer.Option(metavar="DIR", help="For a page and tables.")] = None,
    categories: Annotated[
        Path | None, typer.Option(help="YAML lines `name in the corrected ones: name in the draft`.")
    ] = None,
) -> None:
    """Show what people changed of a draft: the model's errors by category."""
    from components.annotate.categories import map_categories, read_category_map
    from components.annotate.exports import read_sources
    from components.annotate.merge import unite_all
    from components.core.records.annotations import read_annotations
    from components.core.records.work_file import WorkFile
    from components.core.run.paths import Paths
    from components.core.text.terminal import print_table
    from components.tools.preannotate.corrections import KINDS, compare
    from components.tools.preannotate.report import write_report

    work_folder = None if report is None else report.parent
    before = read_annotations(draft, work_folder)
    sources = read_sources(corrected, work=WorkFile(work_folder), setting="the path")
    for source in sources:
        for note in source.reading.changes.sentences():
            print(f"{source.name}: {note}")
    after = unite_all([source.reading.annotations for source in sources], [source.name for source in sources])
    if categories is not None:
        after = map_categories(after, read_category_map(categories, "--categories"))
    found = compare(before, after)
    if not found.videos:
        raise AvisError(
            "The two have no video in common",
            where=f"{draft} and {corrected}",
            fix=f"The corrected ones are named {_first_names(after)}; the draft's {_first_names(before)}.",
        )
    rows = []
    for name, changes in found.by_category().items():
        overlap = "" if changes.overlap is None else f"{changes.overlap:.0%}"
        counts = (changes.frames_added, changes.frames_removed, changes.frames_redrawn)
        rows.append((name, *(str(changes.tracks[kind]) for kind in KINDS), *map(str, counts), overlap))
    numbers = (*KINDS, "+s", "-s", "~s", "overlap")
    print_table(("category", *numbers), rows, numbers=numbers)
    print("+s: seconds in which the draft was silent; -s: in which nothing sounds; ~s: with a redrawn mask.")
    print(f"{found.videos} videos compared, {len(found.pending)} of the draft not corrected yet.")
    if found.unknown:
        print(f"Not in the draft: {', '.join(found.unknown[:5])}{' …' if len(found.unknown) > 5 else ''}")
    if report is not None:
        write_report(report, found, before, after, Paths().media / "frames")
        print(f"Report: {report / 'report.html'}")


def _first_names(annotations: "AnnotationSet") -> str:
    return ", ".join(video.name for video in annotations.videos[:3]) or "nothing"
