"""`avis manifest …`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import Split

manifest = typer.Typer(no_args_is_help=True, help="Write a manifest for ingest.")


_Local = Annotated[
    Path | None, typer.Option(help="Folder of media that are used before any download: NAME.mp4 or ID.mp4.")
]


_Whole = Annotated[
    bool, typer.Option(help="Take whole videos where a name does not tell which part the clip is.")
]


_Add = Annotated[bool, typer.Option(help="Add to a manifest that is there.")]


_Out = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A .csv or .parquet file.")]


@manifest.command("from-ids")
def from_ids(
    file: Annotated[Path, typer.Argument(help="A YouTube id or an address per line, perhaps start and end.")],
    out: _Out,
    split: Annotated[Split | None, typer.Option(help="That all of them belong to.")] = None,
    add: _Add = False,
) -> None:
    """Write the manifest of a list; `-` reads it from standard input."""
    from pipelines.commands.manifest import write_ids_manifest

    write_ids_manifest(file, out, split=split and split.value, add=add)


@manifest.command("from-playlist")
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


@manifest.command("from-names")
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


@manifest.command("from-aviseg")
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
