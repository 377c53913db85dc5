"""Where a stage keeps its big files: a folder of this machine, or a prefix of an S3 bucket.

Both hold the same names (`frames/<video_id>/00000.jpg`), so a bucket can be mirrored to the folder and back
with any tool. With a bucket, the machine that runs the stage holds the index only: the workers bring the
files to the bucket and fetch them from it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import Field

from components.core.raw.frame_folder import sha256_folder
from components.core.run.errors import AvisError
from components.core.run.files import sha256_file
from components.core.run.params import Block, read_block

_S3_URL = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.=-]+)*/?"


class StorageParams(Block):
    """The `storage` block of params.yaml: where the big files of data/raw and data/media are.

    raw: s3://bucket/prefix for videos; None: data/raw itself.
    media: s3://bucket/prefix for frames, sound and features; None: data/media itself.
    """

    raw: str | None = Field(default=None, pattern=f"^{_S3_URL}$")
    media: str | None = Field(default=None, pattern=f"^{_S3_URL}$")


def read_storage() -> StorageParams:
    """The block of params.yaml; without one, everything is on this machine."""
    return read_block("storage", StorageParams, optional=True)


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored under a name: a file, or a folder of files."""

    files: int
    size_bytes: int
    changed_s: float  # time.time() of the latest change


class Store(Protocol):
    """A place for files under names such as `clip.mp4` or `frames/clip/00000.jpg`."""

    @property
    def is_local(self) -> bool:
        """Whether the files are in a folder of this machine."""

    def check(self) -> None:
        """Raise AvisError if the place cannot be reached; forget what killed writers left there."""

    def workspace(self) -> AbstractContextManager[Path]:
        """A folder of this machine to write into."""

    def put(self, workspace: Path, name: str) -> None:
        """Store the file or folder `name` that was written to the workspace."""

    def get(self, name: str, folder: Path) -> Path:
        """The file or folder `name` as a path of this machine; `folder` may receive a copy."""

    def listing(self, under: str = "") -> dict[str, Stored]:
        """What is stored below a folder (`frames`), by the names of its files and folders."""

    def finder(self, under: str = "") -> Callable[[str], Stored | None]:
        """Looks up names below a folder; for many of them quicker than one by one."""

    def sha256(self, name: str) -> str | None:
        """The hash of a file or folder (frame_folder.sha256_folder), None if it is not there."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files and whole folders; what is not there is no error."""


def open_store(url: str | None, folder: Path) -> Store:
    """The store of an s3:// URL, or of a folder of this machine where there is none."""
    if url is None:
        return FolderStore(folder)
    from components.core.storage.s3 import S3Store

    return S3Store(url.rstrip("/"))


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


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for files on their way, removed afterwards; those of killed processes go, too.

    Raises:
        AvisError: the folder for temporary files is somebody else's.
    """
    home = Path(tempfile.gettempdir()) / f"avis-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    state = home.lstat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022 or not home.is_dir() or home.is_symlink():
        raise AvisError(
            "others may write to the folder for temporary files", where=str(home), fix="Set TMPDIR."
        )
    for old in home.iterdir():
        process = old.name.split("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
