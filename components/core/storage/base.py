"""What a place for a stage's big files can do: a folder of this machine, or a prefix of an S3 bucket.

Both hold the same names (`frames/<video_id>/00000.jpg`), so a bucket can be mirrored to the folder and back
with any tool. With a bucket, the machine that runs the stage holds the index only: the workers bring the
files to the bucket and fetch them from it.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
