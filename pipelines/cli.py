"""The command `avis`. Each command imports what it needs when it runs, so that `avis --help` is quick."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Audio-visual instance segmentation: from a list of videos to a scored, compared, tracked model.",
)

manifest_app = typer.Typer(no_args_is_help=True, help="Write a manifest for ingest.")
export_app = typer.Typer(no_args_is_help=True, help="Write clips and annotations for other programs.")
app.add_typer(manifest_app, name="manifest")
app.add_typer(export_app, name="export")


@app.command()
def rebuild(
    train_jobs: Annotated[int, typer.Option(min=1, help="Trainings that run at the same time.")] = 1,
    retries: Annotated[int, typer.Option(min=0, help="Further tries of a stage that fails.")] = 0,
) -> None:
    """Do what `dvc repro` does as Prefect tasks: siblings side by side, seen in its UI."""
    from components.core.errors import AvisError
    from pipelines.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.rebuild import rebuild as flow

    state = flow(train_jobs=train_jobs, retries=retries, root=root, return_state=True)
    if not state.is_completed():
        raise AvisError(state.message or "the run was stopped")
    print(state.message)


@app.command()
def profile(
    name: Annotated[str | None, typer.Argument(help="A file of params/, without .yaml.")] = None,
) -> None:
    """Write a set of parameters into params.yaml, or list the sets there are."""
    from pipelines.profile import apply_profile, list_profiles

    if name is None:
        list_profiles()
    else:
        apply_profile(name)


@app.command()
def doctor() -> None:
    """Say what is missing on this machine and how to get it."""
    from pipelines.doctor import examine

    raise typer.Exit(0 if examine() else 1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Open the tracked runs (MLflow) on this machine's http://127.0.0.1:5000."""
    from pipelines.ui import serve

    serve(port)


@app.command()
def results() -> None:
    """Say what the last run made and where to look at it."""
    from pipelines.results import show

    show()


@manifest_app.command("from-aviseg")
def from_aviseg(
    folder: Annotated[Path, typer.Argument(help="The download: <split>.json, <split>/JPEGImages, …")],
    out: Annotated[Path | None, typer.Option(help="Instead of manifest.csv in that folder.")] = None,
) -> None:
    """Write the manifest of an AVISeg download: its frames and sound are used as they are."""
    from pipelines.aviseg import write_aviseg_manifest

    write_aviseg_manifest(folder, out or folder / "manifest.csv")


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
def weights(
    published: Annotated[Path, typer.Argument(help="A .pth of AVISM, VITA or Mask2Former.")],
    out: Annotated[Path, typer.Argument(help="A .safetensors file, for start_from in params.yaml.")],
) -> None:
    """Convert published weights to a file that training can start from."""
    from pipelines.weights import convert_weights

    convert_weights(published, out)


def main() -> None:
    """Run the command line: an AvisError becomes one message and exit code 1."""
    try:
        from components.core.errors import AvisError

        app()
    except AvisError as error:
        print(f"avis: {error}", file=sys.stderr)
        raise SystemExit(1) from None
