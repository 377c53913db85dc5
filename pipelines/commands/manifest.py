"""`avis manifest …`: write a manifest from what a user has."""

import csv
import io
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.run.errors import AvisError
from components.core.run.files import write_text
from components.core.run.params import read_block
from components.ingest.params import IngestParams
from components.tools.manifests.from_aviseg import manifest_from_aviseg
from components.tools.manifests.from_ids import manifest_from_ids
from components.tools.manifests.from_names import Named, manifest_from_names, read_names

_SHOWN = 10


def write_aviseg_manifest(
    folder: Path,
    manifest: Path,
    *,
    local: Path | None = None,
    whole: bool = False,
    anew: bool = False,
    add: bool = False,
) -> None:
    """Write the manifest of an AVISeg download and say how many videos it has.

    Raises:
        AvisError: the folder is no AVISeg download, or none of its videos can be had.
    """
    _write_named(manifest_from_aviseg(folder, local=local, whole=whole), manifest, replace_it=anew, add=add)


def write_names_manifest(
    files: list[Path], manifest: Path, *, local: Path | None, whole: bool, add: bool
) -> None:
    """Write the manifest of clips of which the names are known.

    Raises:
        AvisError: a file cannot be read, the manifest is there already, or no video can be had.
    """
    names = [name for file in files for name in read_names(file)]
    _write_named(manifest_from_names(names, local=local, whole=whole), manifest, replace_it=False, add=add)


def write_ids_manifest(file: Path, manifest: Path, *, split: str | None, add: bool) -> None:
    """Write the manifest of a list of ids and addresses; `-` reads standard input.

    Raises:
        AvisError: a line is wrong, or the manifest is there already.
    """
    try:
        lines = sys.stdin.readlines() if str(file) == "-" else file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise AvisError("the list does not exist", where=str(file)) from None
    except UnicodeDecodeError as error:
        raise AvisError(f"the list is not UTF-8 text: {error.reason}", where=str(file)) from None
    _write(_with_split(manifest_from_ids(lines, str(file)), split), manifest, add=add)


def write_playlist_manifest(
    url: str, manifest: Path, *, split: str | None, limit: int | None, add: bool
) -> None:
    """Write the manifest of a playlist or a channel.

    Raises:
        AvisError: there is no such list, or the manifest is there already.
    """
    from components.tools.manifests.from_playlist import manifest_from_playlist  # yt-dlp is slow to import

    _refuse_existing(manifest, add=add)
    params = read_block("ingest", IngestParams, optional=True)
    _write(_with_split(manifest_from_playlist(url, params, limit=limit), split), manifest, add=add)


def _with_split(entries: Iterable[ManifestEntry], split: str | None) -> list[ManifestEntry]:
    return [replace(entry, split=split) for entry in entries]


def _write_named(made: Named, manifest: Path, *, replace_it: bool, add: bool) -> None:
    if made.left_out:
        for name, reason in list(made.left_out.items())[:_SHOWN]:
            print(f"left out: {name!r}: {reason}.", file=sys.stderr)
    if not made.entries:
        raise AvisError("none of these videos can be had", where=str(manifest))
    if replace_it:
        write_manifest(manifest, made.entries)
        print(f"{manifest}: {made}")
    else:
        _write(made.entries, manifest, add=add)
        print(made)
    reasons = manifest.with_name(f"{manifest.stem}.left-out.csv")
    reasons.unlink(missing_ok=True)
    if made.left_out:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "reason"])
        writer.writerows(made.left_out.items())
        write_text(reasons, text.getvalue())
        print(f"{len(made.left_out)} videos are left out; all of them: {reasons}", file=sys.stderr)


def _write(entries: list[ManifestEntry], manifest: Path, *, add: bool) -> None:
    """Write a new manifest, or add to one what it does not hold yet."""
    _refuse_existing(manifest, add=add)
    before = read_manifest(manifest) if add and manifest.exists() else []
    known = {entry.video_id: entry for entry in before}
    new = []
    for entry in entries:
        old = known.get(entry.video_id)
        if old is None:
            new.append(entry)
        elif (old.source, old.start_s, old.end_s) != (entry.source, entry.start_s, entry.end_s):
            raise AvisError(
                f"{entry.video_id!r} is already there, from {old.source!r}",
                where=str(manifest),
                fix="Give the new one another id.",
            )
    write_manifest(manifest, [*before, *new])
    added = f", {len(new)} of them new" if before else ""
    print(f"{manifest}: {len(before) + len(new)} videos{added}")


def _refuse_existing(manifest: Path, *, add: bool) -> None:
    if manifest.exists() and not add:
        raise AvisError(
            "the manifest is there already", where=str(manifest), fix="Add to it with --add, or name another."
        )
