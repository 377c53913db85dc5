"""What can be written of a predicted video. Adding a kind is adding a module here with a `SAVER`."""

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.run.errors import AvisError

if TYPE_CHECKING:
    from components.core.video.tracks import VideoTracks

ALWAYS = "objects"  # objects.json: what the next run and other programs read
USUAL = ("film", ALWAYS)


@dataclass(frozen=True)
class Saver:
    """One kind of output.

    name: of --save, and for --help what it is.
    write: writes it into the video's folder. What it imports, it imports when it is called: of twelve kinds a
        user wants two.
    after: savers whose output it needs.
    """

    name: str
    description: str
    write: "Callable[[Path, VideoTracks], None]"
    after: tuple[str, ...] = ()


def savers() -> dict[str, Saver]:
    """Every kind by name."""
    found: dict[str, Saver] = {}
    for module in pkgutil.iter_modules(__path__):
        entries = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SAVERS", ())
        found |= {entry.name: entry for entry in entries}
    return dict(sorted(found.items()))


def chosen_savers(names: Sequence[str]) -> list[Saver]:
    """The kinds of --save, in the order in which they need each other; objects.json is always among them.

    Raises:
        AvisError: an unknown name; the known ones are listed.
    """
    known = savers()
    wanted = [name.strip() for given in names for name in given.split(",") if name.strip()] or [*USUAL]
    if "all" in wanted:
        wanted = [*known]
    for name in wanted:
        if name not in known:
            raise AvisError(
                f"there is no output {name!r}", where="--save", fix=f"There are: {', '.join(known)}, all."
            )
    ordered: list[str] = []
    for name in (ALWAYS, *wanted):
        ordered += [need for need in (*known[name].after, name) if need not in ordered]
    return [known[name] for name in ordered]
