"""A store in a folder of this machine."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.core.raw.frame_folder import sha256_folder
from components.core.run.files import sha256_file
from components.core.storage.base import Stored


@dataclass(frozen=True)
class FolderStore:
    """A folder of this machine: what is written is in its place at once."""

    folder: Path

    @property
    def is_local(self) -> bool:
        return True

    def check(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        yield self.folder

    def put(self, workspace: Path, name: str) -> None:
        """It is in its place already."""

    def get(self, name: str, folder: Path) -> Path:
        return self.folder / name

    def listing(self, under: str = "") -> dict[str, Stored]:
        folder = self.folder / under
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        find = self.finder(under)
        return {name: stored for name in names if (stored := find(name)) is not None}

    def finder(self, under: str = "") -> Callable[[str], Stored | None]:
        folder = str(self.folder / under)
        return lambda name: _stored(f"{folder}/{name}")

    def sha256(self, name: str) -> str | None:
        path = self.folder / name
        if path.is_dir():
            return sha256_folder(path)
        return sha256_file(path) if path.is_file() else None

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _stored(path: str) -> Stored | None:  # text: a million Paths take seconds
    try:
        state = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(state.st_mode):
        return Stored(1, state.st_size, state.st_mtime)
    states = [entry.stat() for entry in os.scandir(path)]
    return Stored(
        len(states),
        sum(entry.st_size for entry in states),
        max((entry.st_mtime for entry in states), default=state.st_mtime),
    )
