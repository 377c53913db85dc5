"""The files of a data set's folder, without what systems put beside them."""

from collections.abc import Iterable
from pathlib import Path, PurePath

_OF_SYSTEMS = {"__MACOSX", "@eaDir"}  # of macOS' archives and of Synology's disks


def is_hidden(name: PurePath) -> bool:
    """Whether a system keeps it for itself: `.DS_Store`, `._00000.png`, all in `__MACOSX`.

    name: relative to the data set's folder.
    """
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in name.parts)


def files_below(folder: Path, endings: Iterable[str]) -> list[str]:
    """Names of the files with one of the endings, in either case, at any depth, relative to it, in order."""
    wanted = set(endings)
    names = (file.relative_to(folder) for file in sorted(folder.rglob("*")))
    return [
        name.as_posix()
        for name in names
        if name.suffix.lower() in wanted and not is_hidden(name) and (folder / name).is_file()
    ]
