"""The annotation formats that can be imported. Adding one is adding a module here with a `FORMAT`."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import AvisError
from components.core.records import AnnotationSet

HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Format:
    """One annotation format.

    recognise: gets a file's first 64 KiB and says why it looks like this format, or None.
    read: reads a file; raises AvisError naming what is wrong and where.
    write: writes a file and returns what the format could not hold, a sentence each; None where the
        format is only read.
    """

    name: str
    description: str
    recognise: Callable[[bytes], str | None]
    read: Callable[[Path], AnnotationSet]
    write: Callable[[Path, AnnotationSet], list[str]] | None = None


def formats() -> dict[str, Format]:
    """Every format by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        entry: Format = importlib.import_module(f"{__name__}.{module.name}").FORMAT
        found[entry.name] = entry
    return found


def find_format(name: str) -> Format:
    """The format called `name`; raises AvisError listing the known ones."""
    known = formats()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise AvisError(
            f"Unknown annotation format {name!r}",
            where="annotate.format",
            fix=f"{hint}Known: auto, {', '.join(sorted(known))}.",
        )
    return known[name]


def detect_format(path: Path) -> tuple[Format, str]:
    """The format of the file at `path` and why it was taken for that; raises AvisError."""
    if not path.is_file():
        raise AvisError(
            "There is no such annotation file",
            where=str(path),
            fix="Correct annotate.source in params.yaml.",
        )
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise AvisError("The annotation file is empty", where=str(path), fix="Export the annotations again.")
    for entry in formats().values():
        reason = entry.recognise(head)
        if reason is not None:
            return entry, reason
    raise AvisError(
        "The annotation format was not recognised",
        where=str(path),
        fix=f"Set annotate.format to one of {', '.join(sorted(formats()))}.",
    )
