"""The annotation formats that can be read and written. Adding one is adding a module here with a `FORMAT`."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from components.annotate.clock import Clock
from components.annotate.effort import Effort
from components.core.records.annotations import AnnotationSet
from components.core.records.changes import Changes
from components.core.records.work_file import WorkFile
from components.core.run.errors import AvisError


@dataclass(frozen=True)
class Look:
    """What a format may recognise a source by.

    path: the file or folder.
    head: a file's first 64 KiB; nothing of a folder.
    keys: a JSON file's top names: of its object, or, after "[]", of its list's first row.
    names: what lies in a folder, relative to it, in order and at most some thousands; nothing for a file.
    """

    path: Path
    head: bytes = b""
    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hints:
    """What a reader may need and the source may not tell.

    name: what a video is called that has no name in the source: the file's or the archive's.
    sizes: height and width of frames, in pixels, by video name.
    lengths: how many pictures were extracted of it, by video name.
    why_lost: why a video has no media, by its name; None where it has some, or where nobody knows.
    work: where the masks lie that are read; None: in a file of the reader's own.
    effort: what the source may ask for, by its size; None: whatever it wants.
    """

    name: str = "video"
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    why_lost: Callable[[str], str | None] = lambda name: None
    work: WorkFile | None = None
    effort: Effort | None = None


NO_HINTS = Hints()


@dataclass(frozen=True)
class Part:
    """What a source has of a video of which other sources have other frames: a job of a task.

    keys: by track id, what the track is called in all parts; only of tracks that tell.
    """

    frames: range
    keys: dict[int, object]


@dataclass
class Reading:
    """What was read.

    changes: what differs from what the source says: frames filled in, shapes left out, objects united.
    clocks: by video name, where the source numbers the frames of the video itself.
    parts: by video name, where this is not all of it.
    lost: videos that are left out because they have no media: the reason by name.
    """

    annotations: AnnotationSet
    changes: Changes = field(default_factory=Changes)
    clocks: dict[str, Clock] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)


class Reader(Protocol):
    """Reads a file or folder; raises AvisError naming what is wrong and where."""

    def __call__(self, path: Path, hints: Hints = NO_HINTS) -> Reading: ...


@dataclass(frozen=True)
class Format:
    """One annotation format.

    recognise: says why a source looks like this format, or None.
    read: None where the format is only written.
    write: writes a file or folder, completely or not at all, and returns what was lost in ways that
        `cannot_hold` does not tell, a sentence each; None where the format is only read.
    in_zip: the path that a single file has in an archive of this format; "" for folders.
    holds: what of an AnnotationSet comes back, names of `capabilities.PARTS`; masks always do.
    one_object_a_pixel: of masks that overlap, one gets the pixels that they share.
    """

    name: str
    description: str
    recognise: Callable[[Look], str | None]
    read: Reader | None = None
    write: Callable[[Path, AnnotationSet], list[str]] | None = None
    in_zip: str = ""
    holds: frozenset[str] = frozenset()
    one_object_a_pixel: bool = False


def formats() -> dict[str, Format]:
    """Every format by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        entry: Format | None = getattr(importlib.import_module(f"{__name__}.{module.name}"), "FORMAT", None)
        if entry is not None:
            found[entry.name] = entry
    return found


def find_format(name: str, where: str = "annotate.format") -> Format:
    """The format called `name`; raises AvisError listing the known ones."""
    known = formats()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise AvisError(
            f"Unknown annotation format {name!r}",
            where=where,
            fix=f"{hint}Known: auto, {', '.join(sorted(known))}.",
        )
    return known[name]
