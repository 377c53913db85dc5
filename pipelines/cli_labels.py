"""Commands of `avis` about annotations: checks, drafts, corrections, agreement, formats."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_words import Split

qa_app = typer.Typer(help="Check annotations and media, as the qa stage does.")


@qa_app.callback(invoke_without_command=True)
def qa(
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


@qa_app.command()
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
    from pipelines.commands.qa import fix

    fix(source, out, also or [])


def preannotate(
    out: Annotated[Path, typer.Argument(help="A new folder for the drafts.")],
    to: Annotated[list[str] | None, typer.Option(help="Formats, by default cvat and label_studio.")] = None,
    video: Annotated[
        list[str] | None, typer.Option(help="A clip; by default those without annotations.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All clips with media.")] = False,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score drafted.")] = None,
    sam: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A SAM 2 or SAM 3 model of transformers: draws the masks."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A CSV of boxes and points, which --sam follows; docs/preannotation.md."),
    ] = None,
    image_root: Annotated[
        str, typer.Option(metavar="URL", help="Where Label Studio finds the folders of the clips' frames.")
    ] = "/data/local-files/?d=",
) -> None:
    """Write drafts of masks, so that people correct instead of draw."""
    from pipelines.commands.preannotate import preannotate

    preannotate(
        out,
        formats=to or ["cvat", "label_studio"],
        names=video or [],
        every=every,
        model=model,
        threshold=threshold,
        sam=sam,
        prompts=prompts,
        image_root=image_root,
    )


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
    from pipelines.commands.preannotate import corrections

    corrections(draft, corrected, report, categories)


def agree(
    second: Annotated[
        Path, typer.Argument(help="AVISeg JSON: some clips annotated again, a file or folder.")
    ],
    out: Annotated[Path, typer.Option(help="For qa.agreements in params.yaml.")] = Path(
        "data/agreements.csv"
    ),
) -> None:
    """Show how well people agree, and write it for the qa stage to show."""
    from pipelines.commands.agree import agree

    agree(second, out)


def suspect(
    split: Annotated[list[Split] | None, typer.Option(help="By default train, val and test.")] = None,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    out: Annotated[Path, typer.Option(help="For qa.suspicions in params.yaml.")] = Path(
        "data/suspicions.csv"
    ),
) -> None:
    """Write which labels a trained model doubts, for the qa stage to show."""
    from pipelines.commands.suspect import suspect

    suspect(model, [chosen.value for chosen in split or list(Split)], out)


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
    show_formats: Annotated[
        bool, typer.Option("--list", help="Show the formats, what each holds and what not.")
    ] = False,
) -> None:
    """Convert annotations between formats, and say what the target cannot hold."""
    from pipelines.commands.convert import convert, list_formats

    if show_formats:
        list_formats()
        return
    if source is None or target is None or to is None:
        raise typer.BadParameter("give SOURCE, TARGET and --to FORMAT, or --list")
    convert(source, target, to, from_, categories=categories, frame_rate_hz=frame_rate, sound=sound)
