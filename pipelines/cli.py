"""The command `avis`. Each command imports what it needs when it runs, so that `avis --help` is quick."""

import io
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from prefect.client.schemas.objects import State

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing rich for the help alone takes three times as long as all the rest
    pretty_exceptions_enable=False,
    help="Audio-visual instance segmentation: from a list of videos to a scored, compared, tracked model.",
)

manifest_app = typer.Typer(no_args_is_help=True, help="Write a manifest for ingest.")
export_app = typer.Typer(no_args_is_help=True, help="Write clips and annotations for other programs.")
ingest_app = typer.Typer(no_args_is_help=True, help="What became of the videos of the manifest.")
app.add_typer(manifest_app, name="manifest")
app.add_typer(ingest_app, name="ingest")
app.add_typer(export_app, name="export")
champion_app = typer.Typer(help="The registered versions of the model, and which of them is the champion.")
app.add_typer(champion_app, name="champion")
qa_app = typer.Typer(help="Check annotations and media, as the qa stage does.")
app.add_typer(qa_app, name="qa")
runs_app = typer.Typer(help="The tracked runs as a table, and what two of them differ in.")
app.add_typer(runs_app, name="runs")


_Repository = Annotated[
    str | None, typer.Option(help="What to clone and push to; else where this checkout comes from.")
]
_Revision = Annotated[str, typer.Option(help="A branch, tag or commit that was pushed.")]


@app.command()
def rebuild(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE]...", help="Stages, or groups such as train; by default all."),
    ] = None,
    train_jobs: Annotated[int, typer.Option(min=1, help="Trainings that run at the same time.")] = 1,
    retries: Annotated[
        int, typer.Option(min=0, help="Further tries of a stage that fails for a reason that may pass.")
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="While another run works here, or say who it is.")
    ] = True,
    revision: Annotated[
        str | None, typer.Option(help="Work on this branch, tag or commit in a clone; commit and push.")
    ] = None,
    repository: _Repository = None,
) -> None:
    """Do what `dvc repro` does, as Prefect tasks."""
    from pipelines.graph import find_root, read_graph, select, unchanged

    root = find_root(Path.cwd())
    if (
        "PREFECT_API_URL" not in os.environ and revision is None
    ):  # nobody watches: a server need not be started for nothing
        stages = select(read_graph(root), targets)
        if len(unchanged(root, stages)) == len(stages):
            print(f"0 of {len(stages)} stages ran, the others were up to date")
            return
    from pipelines.rebuild import rebuild as flow

    _run(
        lambda: flow(
            train_jobs=train_jobs,
            retries=retries,
            root=root,
            targets=targets,
            wait=wait,
            revision=revision,
            repository=repository,
            return_state=True,
        )
    )


@app.command()
def retrain(
    revision: _Revision = "main",
    repository: _Repository = None,
    force: Annotated[bool, typer.Option(help="Compare anew although nothing changed.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="Further tries where a second one may help.")] = 1,
) -> None:
    """Train a challenger in a clone of its own, and promote it if it is better than the champion."""
    from pipelines.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.retrain import retrain as flow

    _run(lambda: flow(revision, repository, force=force, retries=retries, root=root, return_state=True))


def _run(flow: "Callable[[], State[Any]]") -> None:
    """Run a flow and print its message, or raise it."""
    from components.core.errors import AvisError

    try:
        state = flow()
    except RuntimeError as error:  # no server to report to: nothing has run
        raise AvisError(f"Prefect did not start: {error}", fix="Try again.") from None
    if not state.is_completed():
        raise AvisError(state.message or "the run was stopped")
    print(state.message)


@champion_app.callback(invoke_without_command=True)
def champion(context: typer.Context) -> None:
    """Show all registered versions: scores, what was decided about each, and its commit."""
    if context.invoked_subcommand is None:
        from pipelines.versions import show_versions

        show_versions()


@champion_app.command("evaluate")
def evaluate_champion(revision: _Revision = "main", repository: _Repository = None) -> None:
    """Score the champion on the test clips of a revision: does it do worse on fresh ones?"""
    from pipelines.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.champion import evaluate_champion as flow

    _run(lambda: flow(revision, repository, root=root, return_state=True))


@champion_app.command()
def rollback(
    to: Annotated[int | None, typer.Argument(metavar="VERSION", help="Else the previous champion.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make the previous champion, or a given version, the champion again."""
    from pipelines.versions import rollback

    rollback(to, reason)


@champion_app.command()
def promote(
    version: Annotated[int, typer.Argument(help="As `avis champion` shows it.")],
    reason: Annotated[str, typer.Option(help="Kept with the version.")] = "",
) -> None:
    """Make a version the champion by hand, whatever was measured."""
    from pipelines.versions import promote

    promote(version, reason)


@champion_app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(help="A new folder for the model.")],
    version: Annotated[int | None, typer.Option(help="Else the champion.")] = None,
) -> None:
    """Get a version's model from DVC, for `avis predict --model`."""
    from pipelines.versions import fetch

    fetch(folder, version)


class Pool(StrEnum):
    """Of workers."""

    cpu = "cpu"
    gpu = "gpu"


@app.command()
def deploy(
    pool: Annotated[
        Pool | None, typer.Option(help="Where events start retrain; by default gpu if there is one here.")
    ] = None,
    gpu_slots: Annotated[
        int | None, typer.Option(min=1, help="Stages that may use a GPU at the same time, over all runs.")
    ] = None,
) -> None:
    """Register the flows with a Prefect server: pools, limits, schedules."""
    from pipelines.deploy import deploy

    deploy(pool and pool.value, gpu_slots)


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
    from pipelines.prediction import predict

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
    from pipelines.evaluation import evaluate

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


class Split(StrEnum):
    """Of the data set."""

    train = "train"
    val = "val"
    test = "test"


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
    from pipelines.avsbench import evaluate_avsbench

    evaluate_avsbench(folder, layout.value, split.value, model, predictions, categories, json)


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
    from pipelines.qa import fix

    fix(source, out, also or [])


@app.command()
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
    from pipelines.preannotate import preannotate

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


@app.command()
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
    from pipelines.preannotate import corrections

    corrections(draft, corrected, report, categories)


@app.command()
def agree(
    second: Annotated[
        Path, typer.Argument(help="AVISeg JSON: some clips annotated again, a file or folder.")
    ],
    out: Annotated[Path, typer.Option(help="For qa.agreements in params.yaml.")] = Path(
        "data/agreements.csv"
    ),
) -> None:
    """Show how well people agree, and write it for the qa stage to show."""
    from pipelines.agree import agree

    agree(second, out)


@app.command()
def suspect(
    split: Annotated[list[Split] | None, typer.Option(help="By default train, val and test.")] = None,
    model: Annotated[str | None, typer.Option(help="A variant or a model's folder; else the first.")] = None,
    out: Annotated[Path, typer.Option(help="For qa.suspicions in params.yaml.")] = Path(
        "data/suspicions.csv"
    ),
) -> None:
    """Write which labels a trained model doubts, for the qa stage to show."""
    from pipelines.suspect import suspect

    suspect(model, [chosen.value for chosen in split or list(Split)], out)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the settings' own.")] = None,
) -> None:
    """Make weights to start from, on composed clips."""
    from pipelines.pretrain import pretrain

    pretrain(out, steps=steps)


@app.command()
def card(
    out: Annotated[Path, typer.Option(help="Folder for data.md and a file per model.")] = Path("cards"),
) -> None:
    """Write the data card and the models' cards."""
    from components.core.params import read_variant_names
    from components.core.paths import Paths
    from pipelines.card import write_data_card, write_model_card

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
    from pipelines.profile import apply_profile, list_profiles

    if name is None:
        list_profiles()
    else:
        apply_profile(name)


@app.command()
def doctor() -> None:
    """Say what is missing here and how to get it."""
    from pipelines.doctor import examine

    raise typer.Exit(0 if examine() else 1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Show the tracked runs (MLflow) in a browser."""
    from pipelines.ui import serve

    serve(port)


@runs_app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Runs shown.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="Show all runs.")] = False,
    experiment: Annotated[str | None, typer.Option(help="avis-data has the data stages.")] = None,
    search: Annotated[
        str | None, typer.Option(help="A saved search (avis runs searches), or a filter as MLflow has them.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write all that MLflow knows of the runs to this file instead.")
    ] = None,
) -> None:
    """Show the tracked runs, the newest first, with scores (protocol corrected, percent), commit and data."""
    if context.invoked_subcommand is not None:
        return
    from pipelines.runs import show_runs

    show_runs(experiment=experiment, search=search, limit=None if all_ else limit, to_csv=csv)


_Which = Annotated[
    str, typer.Argument(help="A run id or its beginning, a variant, champion, challenger, or NAME@VERSION.")
]


@runs_app.command()
def diff(
    first: _Which,
    second: _Which,
    experiment: Annotated[str | None, typer.Option(help="Where to look for them.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the differences of all clips to this file.")] = None,
) -> None:
    """Show what two runs differ in: parameters, data, code, environment, scores, and on which clips."""
    from pipelines.runs_diff_table import show_diff

    show_diff(first, second, experiment=experiment, to_csv=csv)


@runs_app.command()
def searches() -> None:
    """List the saved searches, and put them into MLflow as views with plots, each with its address."""
    from pipelines.searches_views import show_searches

    show_searches()


@app.command()
def results() -> None:
    """Show the scores and say where to look."""
    from pipelines.results import show

    show()


_Local = Annotated[
    Path | None, typer.Option(help="Folder of media that are used before any download: NAME.mp4 or ID.mp4.")
]
_Whole = Annotated[
    bool, typer.Option(help="Take whole videos where a name does not tell which part the clip is.")
]
_Add = Annotated[bool, typer.Option(help="Add to a manifest that is there.")]
_Out = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A .csv or .parquet file.")]


@manifest_app.command("from-ids")
def from_ids(
    file: Annotated[Path, typer.Argument(help="A YouTube id or an address per line, perhaps start and end.")],
    out: _Out,
    split: Annotated[Split | None, typer.Option(help="That all of them belong to.")] = None,
    add: _Add = False,
) -> None:
    """Write the manifest of a list; `-` reads it from standard input."""
    from pipelines.manifest import write_ids_manifest

    write_ids_manifest(file, out, split=split and split.value, add=add)


@manifest_app.command("from-playlist")
def from_playlist(
    url: Annotated[str, typer.Argument(help="Of a playlist or a channel.")],
    out: _Out,
    split: Annotated[Split | None, typer.Option(help="That all of them belong to.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of videos, from the list's beginning.")] = None,
    add: _Add = False,
) -> None:
    """Write the manifest of a playlist or a channel; nothing is downloaded."""
    from pipelines.manifest import write_playlist_manifest

    write_playlist_manifest(url, out, split=split and split.value, limit=limit, add=add)


@manifest_app.command("from-names")
def from_names(
    files: Annotated[
        list[Path], typer.Argument(help="AVISeg JSON (train.json, …), or texts with a clip's name per line.")
    ],
    out: Annotated[Path, typer.Option(metavar="MANIFEST", help="A .csv or .parquet file.")],
    local: _Local = None,
    whole: _Whole = False,
    add: _Add = False,
) -> None:
    """Write the manifest of AVISeg clips of which you have the names."""
    from pipelines.manifest import write_names_manifest

    write_names_manifest(files, out, local=local, whole=whole, add=add)


@manifest_app.command("from-aviseg")
def from_aviseg(
    folder: Annotated[Path, typer.Argument(help="The download: <split>.json, <split>/JPEGImages, …")],
    out: Annotated[Path | None, typer.Option(help="Instead of manifest.csv in that folder.")] = None,
    local: _Local = None,
    whole: _Whole = False,
    add: _Add = False,
    anew: Annotated[bool, typer.Option("--anew", help="Replace a manifest that is there.")] = False,
) -> None:
    """Write the manifest of an AVISeg download: what it has is used as it is, what it lacks is fetched."""
    from pipelines.manifest import write_aviseg_manifest

    manifest = out or folder / "manifest.csv"
    write_aviseg_manifest(folder, manifest, local=local, whole=whole, anew=anew, add=add)


@ingest_app.command()
def status(
    status: Annotated[
        str | None, typer.Option("--list", metavar="STATUS", help="Show the entries with this status.")
    ] = None,
    uploader: Annotated[str | None, typer.Option(help="Show the entries of this uploader.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the entries to this file instead.")] = None,
) -> None:
    """Count the entries by status, split and category, and say what to do."""
    from pipelines.ingest_status import show_status

    show_status(status=status, uploader=uploader, to_csv=csv)


@ingest_app.command(context_settings={"ignore_unknown_options": True})  # a YouTube id may begin with a dash
def run(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="YouTube ids or addresses to add.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="That the new ones belong to.")] = None,
    revision: _Revision = "main",
    repository: _Repository = None,
) -> None:
    """Add videos and fetch what is missing, in a clone; report what could not be had; commit and push."""
    from pipelines.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.ingest_flow import ingest as flow

    part = split and split.value
    _run(lambda: flow(ids, revision, repository, split=part, root=root, return_state=True))


@app.command(context_settings={"ignore_unknown_options": True})  # a YouTube id may begin with a dash
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
    from pipelines.forget import forget

    forget(video_ids, reason=reason, clip_only=clip_only, yes=yes, dry_run=dry_run)


@export_app.command()
def aviseg(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    features: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Whose audio encoder makes FEATAudios.")
    ] = None,
) -> None:
    """Write the pipeline's clips in the layout that AVISeg is published in."""
    from pipelines.aviseg import export_aviseg

    export_aviseg(folder, features)


@app.command()
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
    from pipelines.convert import convert, list_formats

    if show_formats:
        list_formats()
        return
    if source is None or target is None or to is None:
        raise typer.BadParameter("give SOURCE, TARGET and --to FORMAT, or --list")
    convert(source, target, to, from_, categories=categories, frame_rate_hz=frame_rate, sound=sound)


@app.command()
def weights(
    published: Annotated[
        Path, typer.Argument(help="A .pth or .pkl of AVISM, ACVIS, VITA or Mask2Former, or of a backbone.")
    ],
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
) -> None:
    """Convert published weights to start from."""
    from pipelines.weights import convert_weights

    convert_weights(published, out)


def main() -> None:
    """Run the command line: an AvisError becomes one message and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may be no UTF-8
    try:
        from components.core.errors import AvisError

        app()
    except AvisError as error:
        print(f"avis: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        from components.core.stage import said_to_user

        message = said_to_user(error)
        if message is None:
            raise
        print(f"avis: {message}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
