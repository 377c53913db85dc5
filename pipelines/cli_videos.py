"""Commands of `avis` about videos: manifests, ingest, removal, export."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_flows import Repository, Revision, run_flow
from pipelines.cli_words import Split

manifest_app = typer.Typer(no_args_is_help=True, help="Write a manifest for ingest.")
export_app = typer.Typer(no_args_is_help=True, help="Write clips and annotations for other programs.")
IDS = {"ignore_unknown_options": True}  # a YouTube id may begin with a dash
ingest_app = typer.Typer(no_args_is_help=True, help="What became of the videos of the manifest.")

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
    from pipelines.commands.manifest import write_ids_manifest

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
    from pipelines.commands.manifest import write_playlist_manifest

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
    from pipelines.commands.manifest import write_names_manifest

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
    from pipelines.commands.manifest import write_aviseg_manifest

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
    from pipelines.commands.ingest_status import show_status

    show_status(status=status, uploader=uploader, to_csv=csv)


@ingest_app.command(context_settings=IDS)
def run(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="YouTube ids or addresses to add.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="That the new ones belong to.")] = None,
    revision: Revision = "main",
    repository: Repository = None,
) -> None:
    """Add videos and fetch what is missing, in a clone; report what could not be had; commit and push."""
    from pipelines.dvc.graph import find_root

    root = find_root(Path.cwd())
    from pipelines.flows.ingest import ingest as flow

    part = split and split.value
    run_flow(lambda: flow(ids, revision, repository, split=part, root=root, return_state=True))


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
    from pipelines.commands.forget import forget

    forget(video_ids, reason=reason, clip_only=clip_only, yes=yes, dry_run=dry_run)


@export_app.command()
def aviseg(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    features: Annotated[
        str | None, typer.Option(metavar="VARIANT", help="Whose audio encoder makes FEATAudios.")
    ] = None,
) -> None:
    """Write the pipeline's clips in the layout that AVISeg is published in."""
    from pipelines.commands.export import export_aviseg

    export_aviseg(folder, features)
