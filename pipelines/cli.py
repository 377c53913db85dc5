"""The command `avis`. Each command imports what it needs when it runs, so that `avis --help` is quick."""

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines import cli_flows, cli_labels, cli_runs, cli_videos

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich for the help alone takes three times as long as all the rest
    pretty_exceptions_enable=False,
    help="Audio-visual instance segmentation: from a list of videos to a scored, compared, tracked model.",
)


@app.command()
def predict(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="An mp4, mkv, webm or mov file.")],
    out: Annotated[Path, typer.Option(help="Folder for the overlay video and the JSON.")] = Path(
        "predictions"
    ),
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    threshold: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Lowest score shown.")] = None,
) -> None:
    """Find what sounds in a video, when and where."""
    from pipelines.commands.predict import predict

    predict(video, out, model, threshold)


class Protocol(StrEnum):
    """Whose numbers."""

    official = "official"
    corrected = "corrected"
    both = "both"


@app.command()
def evaluate(
    ground_truth: Annotated[Path, typer.Option(help="AVISeg JSON.")],
    results: Annotated[Path, typer.Option(help="Results in the official format.")],
    protocol: Annotated[Protocol, typer.Option(help="docs/results.md tells them apart.")] = Protocol.both,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Other results for the same videos: which are better, or is it noise?")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for a page of what goes wrong, with tables and plots.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option(help="Folder with JPEGImages and WAVAudios, for the report's films.")
    ] = None,
    lenient: Annotated[bool, typer.Option(help="Leave wrong rows out and count them.")] = False,
) -> None:
    """Score a results file against annotations."""
    from pipelines.commands.evaluate import evaluate

    evaluate(
        ground_truth,
        results,
        protocol.value,
        out=json,
        against=against,
        report=report,
        media=media,
        lenient=lenient,
    )


class AvsLayout(StrEnum):
    """Of a download of AVSBench."""

    s4 = "s4"
    ms3 = "ms3"
    avss = "avss"


class AvsSplit(StrEnum):
    """Of AVSBench; in train not every frame has a mask."""

    val = "val"
    test = "test"


@app.command()
def avsbench(
    folder: Annotated[Path, typer.Argument(help="The download; docs/avsbench.md shows its layouts.")],
    layout: Annotated[AvsLayout, typer.Option(help="Which of the three data sets it is.")],
    split: Annotated[AvsSplit, typer.Option()] = AvsSplit.test,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score the masks (PNG) in this folder, not a model.")
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="avss: YAML lines `category of the model: class of AVSBench`.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every number to this file, too.")] = None,
) -> None:
    """Score a model, or masks, on AVSBench."""
    from pipelines.commands.avsbench import evaluate_avsbench

    evaluate_avsbench(folder, layout.value, split.value, model, predictions, categories, json)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the settings' own.")] = None,
) -> None:
    """Make weights to start from, on composed clips."""
    from components.tools.pretraining.pretrain import pretrain

    pretrain(out, steps=steps)


@app.command()
def weights(
    published: Annotated[
        Path, typer.Argument(help="A .pth or .pkl of AVISM, ACVIS, VITA or Mask2Former, or of a backbone.")
    ],
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
) -> None:
    """Convert published weights to start from."""
    from pipelines.commands.weights import convert_weights

    convert_weights(published, out)


@app.command()
def card(
    out: Annotated[Path, typer.Option(help="Folder for data.md and a file per model.")] = Path("cards"),
) -> None:
    """Write the data card and the models' cards."""
    from components.core.run.params import read_variant_names
    from components.core.run.paths import Paths
    from components.tools.cards import write_data_card, write_model_card

    write_data_card(out / "data.md")
    print(out / "data.md")
    for variant in read_variant_names():
        if (Paths().model(variant) / "run.json").is_file():
            write_model_card(variant, out / f"{variant}.md")
            print(out / f"{variant}.md")


@app.command()
def profile(
    name: Annotated[str | None, typer.Argument(help="A file of params/, without .yaml.")] = None,
) -> None:
    """Write a profile into params.yaml, or list them."""
    from pipelines.commands.profile import apply_profile, list_profiles

    if name is None:
        list_profiles()
    else:
        apply_profile(name)


@app.command()
def doctor() -> None:
    """Say what is missing here and how to get it."""
    from pipelines.commands.doctor import examine

    raise typer.Exit(0 if examine() else 1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Show the tracked runs (MLflow) in a browser."""
    from pipelines.commands.ui import serve

    serve(port)


@app.command()
def results() -> None:
    """Show the scores and say where to look."""
    from pipelines.commands.results import show

    show()


app.command()(cli_flows.rebuild)
app.command()(cli_flows.retrain)
app.add_typer(cli_flows.champion_app, name="champion")
app.command()(cli_flows.deploy)
app.add_typer(cli_runs.runs_app, name="runs")
app.add_typer(cli_videos.manifest_app, name="manifest")
app.add_typer(cli_videos.ingest_app, name="ingest")
app.command(context_settings=cli_videos.IDS)(cli_videos.forget)
app.add_typer(cli_videos.export_app, name="export")
app.add_typer(cli_labels.qa_app, name="qa")
app.command()(cli_labels.convert)
app.command()(cli_labels.preannotate)
app.command()(cli_labels.corrections)
app.command()(cli_labels.agree)
app.command()(cli_labels.suspect)


def main() -> None:
    """Run the command line: an AvisError becomes one message and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be no UTF-8
    try:
        from components.core.run.errors import AvisError

        app()
    except AvisError as error:
        print(f"avis: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        from components.core.run.process import said_to_user

        message = said_to_user(error)
        if message is None:
            raise
        print(f"avis: {message}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
