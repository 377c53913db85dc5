"""Targets that are folders: written completely or not at all, and never over somebody's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.run.errors import AvisError
from components.core.run.files import replace_folder


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`; raises AvisError where something lies there already."""
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise AvisError("There is something already", where=str(path), fix="Name a new folder.")
    with replace_folder(path) as folder:
        yield folder
