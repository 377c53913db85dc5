"""A manifest that was made becomes a file: a new one, or more rows of one that is there."""

import sys
from collections.abc import Sequence
from pathlib import Path

from components.core.raw.manifest import ManifestEntry, read_manifest, write_manifest
from components.core.run.errors import AvisError
from components.core.run.files import write_csv
from components.tools.manifests.from_names import Named

_SHOWN = 10


def refuse_existing(manifest: Path, *, add: bool) -> None:
    """Raise AvisError if the manifest is there and is not to be added to."""
    if manifest.exists() and not add:
        raise AvisError(
            "the manifest is there already", where=str(manifest), fix="Add to it with --add, or name another."
        )


def add_entries(entries: Sequence[ManifestEntry], manifest: Path, *, add: bool) -> None:
    """Write a new manifest, or add to one what it does not hold yet, and print how many videos it has.

    Raises:
        AvisError: the manifest is there already, or names another source for one of the videos.
    """
    refuse_existing(manifest, add=add)
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


def write_named(made: Named, manifest: Path, *, add: bool = False, anew: bool = False) -> None:
    """Write the manifest of clips of which the names are known, and beside it which were left out, and why.

    Args:
        anew: replace a manifest that is there.

    Raises:
        AvisError: the manifest is there already, or none of the videos can be had.
    """
    for name, reason in list(made.left_out.items())[:_SHOWN]:
        print(f"left out: {name!r}: {reason}.", file=sys.stderr)
    if not made.entries:
        raise AvisError("none of these videos can be had", where=str(manifest))
    if anew:
        write_manifest(manifest, made.entries)
        print(f"{manifest}: {made}")
    else:
        add_entries(made.entries, manifest, add=add)
        print(made)
    reasons = manifest.with_name(f"{manifest.stem}.left-out.csv")
    reasons.unlink(missing_ok=True)
    if made.left_out:
        rows = ({"name": name, "reason": reason} for name, reason in made.left_out.items())
        write_csv(reasons, ("name", "reason"), rows)
        print(f"{len(made.left_out)} videos are left out; all of them: {reasons}", file=sys.stderr)
