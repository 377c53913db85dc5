"""`avis manifest …`: write a manifest from what a user has."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from components.core.run.errors import AvisError
from pipelines.commands.options import Split

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.core.raw.manifest import ManifestEntry

manifest = typer.Typer(no_args_is_help=True, help="Write a manifest for ingest.")

_Local = Annotated[
    Path | None, typer.Option(help="Folder of media that are used before any download: NAME.mp4 or ID.mp4.")
]
_Whole = Annotated[
    bool, typer.Option(help="Take whole videos where a name does not tell which part the clip is.")
]
_Add = Annotated[bool, typer.Option(help="Add to a manifest that is there.")]
_Out = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A .csv or .parquet file.")]


@manifest.command()
def from_ids(
    file: Annotated[
        Path, typer.Argument(help="Ids or addresses, perhaps start and end; or a published list.")
    ],
    out: _Out,
    split: Annotated[Split | None, typer.Option(help="That all of them belong to.")] = None,
    add: _Add = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if anything is guessed, filled in or merged.")
    ] = False,
) -> None:
    """Write the manifest of a list; `-` reads it from standard input."""
    from components.tools.manifests.from_ids import list_text, read_list
    from components.tools.manifests.writing import add_entries

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except FileNotFoundError:
        raise AvisError("the list does not exist", where=str(file)) from None
    made = read_list(list_text(content, str(file)).splitlines(), str(file))
    made.changes.refuse({}, strict=strict, max_share=1, where=str(file), setting="")
    add_entries(_with_split(made.entries, split), out, add=add)
    print(f"The list was read as {made.name}.")
    for sentence in made.changes.sentences():
        print(f"{sentence}.")


@manifest.command()
def from_playlist(
    url: Annotated[str, typer.Argument(help="Of a playlist or a channel.")],
    out: _Out,
    split: Annotated[Split | None, typer.Option(help="That all of them belong to.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of videos, from the list's beginning.")] = None,
    add: _Add = False,
) -> None:
    """Write the manifest of a playlist or a channel; nothing is downloaded."""
    from components.core.run.params import read_block
    from components.ingest.params import IngestParams
    from components.tools.manifests.from_playlist import manifest_from_playlist
    from components.tools.manifests.writing import add_entries, refuse_existing

    refuse_existing(out, add=add)  # before a long list is fetched
    params = read_block("ingest", IngestParams, optional=True)
    add_entries(_with_split(manifest_from_playlist(url, params, limit=limit), split), out, add=add)


@manifest.command()
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
    from components.tools.manifests.from_names import manifest_from_names, read_names
    from components.tools.manifests.writing import write_named

    names = [name for file in files for name in read_names(file)]
    write_named(manifest_from_names(names, local=local, whole=whole), out, add=add)


@manifest.command()
def from_aviseg(
    folder: Annotated[Path, typer.Argument(help="The download: <split>.json, <split>/JPEGImages, …")],
    out: Annotated[Path | None, typer.Option(help="Instead of manifest.csv in that folder.")] = None,
    local: _Local = None,
    whole: _Whole = False,
    add: _Add = False,
    anew: Annotated[bool, typer.Option("--anew", help="Replace a manifest that is there.")] = False,
) -> None:
    """Write the manifest of an AVISeg download: what it has is used as it is, what it lacks is fetched."""
    from components.tools.manifests.from_aviseg import manifest_from_aviseg
    from components.tools.manifests.writing import write_named

    made = manifest_from_aviseg(folder, local=local, whole=whole)
    write_named(made, out or folder / "manifest.csv", add=add, anew=anew)


def _with_split(entries: "Iterable[ManifestEntry]", split: Split | None) -> "list[ManifestEntry]":
    from dataclasses import replace

    return [replace(entry, split=split.value if split else entry.split) for entry in entries]
